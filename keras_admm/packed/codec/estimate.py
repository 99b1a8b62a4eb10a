"""About how many bytes a packed file has, a hundred times faster: its writer's choices, entropies for its coder."""

import math
from typing import NamedTuple

import numpy as np

from .dtype import KINDS, Kind
from .file import LARGE, LESS_PATIENCE, PATIENCE, STEPS
from .position_bits import position_bits
from .probability import MEMORY
from .source import number
from .values import BOOK, MOST_ENTRIES, cheapest_book, zeros_at_end

PRIOR = 0.5  # of each value of leading bits that comes


class Part(NamedTuple):
    """What a small tensor takes.

    Attributes:
        bits: float, without those for the leading bits of its numbers.
        kind: `Kind`.
        heads: int array, how often each pattern of leading bits comes.
    """

    bits: float
    kind: Kind
    heads: np.ndarray


def size(described, specs, tensors, known=None):
    """About how many bytes a file has.

    Args:
        described: int, bytes of the architecture in it.
        specs, tensors: see `codec.write`.
        known: dict of numbers of tensors to their `Part`, where they were looked at before; see `parts`.

    Returns:
        A float, within 3% of what `codec.write` gives.

    Example:

    >>> from keras_admm.packed.codec import Spec
    >>> tensor = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    >>> tensor[np.abs(tensor) < 1.6] = 0
    >>> round(size(100, [Spec((64, 64), "float32")], [tensor.view("uint32")]), -2)
    1800.0
    """
    small, sections, known = [], [], known or {}
    left = LESS_PATIENCE if sum(spec.size for spec in specs) > LARGE else PATIENCE
    for i, (spec, tensor) in enumerate(zip(specs, tensors, strict=True)):
        steps = spec.size + STEPS * np.count_nonzero(tensor)
        if steps > left:
            sections.append(round(_section(spec, tensor)))
        else:
            left -= steps
            small.append(i)
    new = [i for i in small if i not in known]
    found = known | dict(zip(new, parts([specs[i] for i in new], [tensors[i] for i in new]), strict=True))
    counts = (sum(spec.bytes for spec in specs), described, len(sections), *sections)
    head = 8 + sum(len(number(n)) for n in counts)
    return float(head + described + sum(sections) + _stream_bits([found[i] for i in small]) / 8)


def parts(specs, tensors):
    """The `Part` of each of some small tensors that follow one another."""
    masks = [tensor != 0 for tensor in tensors]
    index = position_bits([spec.shape for spec in specs], masks)
    return [_part(KINDS[s.dtype], t[m], bits) for s, t, m, bits in zip(specs, tensors, masks, index, strict=True)]


def _part(kind, patterns, index):
    """The part of a tensor's non-zeros, of their bits as unsigned integers, that it takes so many to place."""
    symbols = 0.0
    book = cheapest_book(kind, patterns) if _few(patterns, len(patterns)) else None
    if book is not None:
        symbols = _learned(np.unique(patterns, return_counts=True)[1])
        entries = [book.below, book.above] if book.way == BOOK else [np.array([book.step], kind.word)]
        patterns = np.concatenate(entries)
    tail = kind.bits - kind.head
    plain = len(patterns) * (tail - min(zeros_at_end(patterns), tail))
    heads = np.bincount((patterns >> kind.word.type(tail)).astype(np.int64), minlength=1 << kind.head)
    return Part(index + symbols + plain, kind, heads)


def _stream_bits(found):
    """Bits of parts one after the other."""
    bits = sum(part.bits for part in found)
    for kind in {part.kind for part in found}:
        bits += _heads_bits(np.stack([part.heads for part in found if part.kind == kind]))
    return bits


def _heads_bits(counts):
    """Bits of leading bits that come so often in each tensor, for one who learns them, and forgets what is long ago."""
    counts = counts[counts.any(1)][:, counts.any(0)]
    number = counts.sum(1, keepdims=True)
    ends = np.cumsum(number)
    begun = ends[:, None] - number
    fresh = counts * (-np.expm1(-number / MEMORY) * MEMORY / number)
    past = np.where(begun < ends, 0.0, np.exp(np.minimum(ends - begun, 0) / MEMORY)) @ fresh
    past *= np.minimum(begun, MEMORY) / np.maximum(past.sum(1, keepdims=True), 1)
    before = past + PRIOR * ((past > 0) | (counts > 0))
    met, total = counts > 0, before.sum(1) + PRIOR
    nats = (_log_gamma(total + number[:, 0]) - _log_gamma(total)).sum()
    return (nats - (_log_gamma(before[met] + counts[met]) - _log_gamma(before[met])).sum()) / math.log(2)


def _section(spec, tensor):
    """About how many bytes the section of a large tensor has; see `bulk.encode`."""
    mask = tensor.reshape(-1, (1, *spec.shape)[-1]) != 0
    rows, columns, count = mask.any(1), mask.any(0), np.count_nonzero(mask)
    cells = np.count_nonzero(rows) * np.count_nonzero(columns)
    index = 0.0 if count == spec.size else _entropy([count, cells - count]) / 8 + (len(rows) + len(columns)) / 8
    if _few(tensor.reshape(-1), count):
        entries, counts = np.unique(tensor.reshape(mask.shape)[mask], return_counts=True)
        if len(entries) <= min(MOST_ENTRIES, count // 2):
            return index + _entropy(counts) / 8 + len(entries) * (tensor.itemsize + 2)
    return index + count * tensor.itemsize


def _few(patterns, count):
    """Whether the non-zeros may be few enough that a list of the distinct ones pays: a sample has no more of these."""
    some = patterns[:: max(count // (2 * MOST_ENTRIES), 1)]
    some = np.sort(some[some != 0])
    return 1 + np.count_nonzero(some[1:] != some[:-1]) <= min(MOST_ENTRIES, count // 2)


def _entropy(counts):
    """Bits of symbols that come so often, by the shares that they have."""
    counts = np.array(counts)[np.array(counts) > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def _learned(counts):
    """The same for one who learns the shares, by a guess of `PRIOR` of each symbol."""
    prior = PRIOR * len(counts)
    nats = _log_gamma(prior + counts.sum()) - _log_gamma(prior) - (_log_gamma(PRIOR + counts) - _log_gamma(PRIOR)).sum()
    return float(nats) / math.log(2)


def _log_gamma(x):
    """Stirling's, for numbers from `PRIOR` on."""
    return (x - 0.5) * np.log(x) - x + 1 / (12 * x)  # and a constant
