"""About how many bytes a packed file has, a hundred times faster: its writer's choices, entropies for its coder.

Large tensors are coded as they are, which is fast. Of a small one a sample of cells is looked at: each costs what the
models of its contexts say of it that know all others, weighed by a mixer that has learned.
"""

import math

import numpy as np

from . import bulk
from .dtype import KINDS
from .file import LARGE, LESS_PATIENCE, PATIENCE, STEPS
from .positions import CELL_WEIGHTS, FRESH
from .probability import MEMORY
from .source import number
from .values import BOOK, cheapest_book, zeros_at_end

SAMPLE = 1 << 11  # non-zeros of a tensor that are looked at, and as many zeros
LEARNED = 1.0  # bits that it takes to know a row or a column
HELD = 200.0  # how much a change of the mixer's weights by 1 costs, in nats twice: it learns slowly
PRIOR = 0.5  # of each value of leading bits that comes
NEWTON = 2  # steps of Newton's method to the weights


def size(described, specs, tensors, known=None):
    """About how many bytes a file has.

    Args:
        described: int, bytes of the architecture in it.
        specs, tensors: see `codec.write`.
        known: dict of numbers of small tensors to their bits, which are not counted again then; see `bits_of`.

    Returns:
        A float, within 3% of what `codec.write` gives.

    Example:

    >>> from keras_admm.packed.codec import Spec
    >>> tensor = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    >>> tensor[np.abs(tensor) < 1.6] = 0
    >>> round(size(100, [Spec((64, 64), "float32")], [tensor.view("uint32")]), -2)
    1800.0
    """
    stream, sections, known = Stream(), [], known or {}
    left = LESS_PATIENCE if sum(spec.size for spec in specs) > LARGE else PATIENCE
    for i, (spec, tensor) in enumerate(zip(specs, tensors, strict=True)):
        steps = spec.size + STEPS * np.count_nonzero(tensor)
        if steps > left:
            sections.append(len(bulk.encode(*spec, tensor)[0]))
            continue
        left -= steps
        if i in known:
            stream.bits += known[i]
        else:
            stream.add(spec, tensor)
    counts = (sum(spec.bytes for spec in specs), described, len(sections), *sections)
    return float(8 + sum(len(number(n)) for n in counts) + described + sum(sections) + stream.bits / 8)


def bits_of(specs, tensors):
    """What each of some tensors takes, a float: if small, and alone with the others."""
    stream, found = Stream(), []
    for spec, tensor in zip(specs, tensors, strict=True):
        before = stream.bits
        stream.add(spec, tensor)
        found.append(stream.bits - before)
    return found


class Stream:
    """What small tensors take, one after the other.

    Attributes:
        bits: float, of all that were added.
    """

    def __init__(self):
        self.bits = 0.0
        self._columns = np.ones(1, bool)  # which of the last kernel live
        self._heads = {}

    def add(self, spec, tensor):
        """Count a tensor, of its bits as unsigned integers."""
        if not spec.size:
            return
        mask = tensor != 0
        if mask.all():
            self._columns = np.ones(spec.shape[-1], bool) if len(spec.shape) > 1 else self._columns
            self._add_values(KINDS[spec.dtype], tensor.reshape(-1))
            return
        self._add_positions(mask, *(1, 1, *spec.shape)[-2:])
        self._add_values(KINDS[spec.dtype], tensor[mask])

    def _add_positions(self, mask, rows, columns):
        cells = mask.reshape(-1, rows, columns)
        live_rows, live_columns = cells.any((0, 2)), cells.any((0, 1))
        vector = rows == len(cells) == 1
        self.bits += _live(live_rows, self._columns)
        self.bits += _live(live_columns, self._columns if vector else np.ones(1, bool))
        if not vector:
            inside = np.moveaxis(cells, 0, 2)[live_rows][:, live_columns]
            period = len(self._columns) if rows % len(self._columns) == 0 else rows
            self.bits += _cells(inside, np.flatnonzero(live_rows), period)
            self._columns = live_columns

    def _add_values(self, kind, patterns):
        if not len(patterns):
            return
        distinct, counts = np.unique(patterns, return_counts=True)
        # Of numbers that are nearly all distinct a book would have to be searched for in vain.
        book = cheapest_book(kind, patterns) if 2 * len(distinct) <= len(patterns) else None
        if book is None:
            self._add_raw(kind, patterns)
            return
        entries = [book.below, book.above] if book.way == BOOK else [np.array([book.step], kind.word)]
        self._add_raw(kind, np.concatenate(entries))
        self.bits += float(-(counts * np.log2(counts / len(patterns))).sum())

    def _add_raw(self, kind, patterns):
        plain = kind.bits - kind.head - min(zeros_at_end(patterns), kind.bits - kind.head)
        heads = (patterns >> kind.word.type(kind.bits - kind.head)).astype(np.int64)
        self.bits += len(patterns) * plain + self._of_heads(kind, np.bincount(heads, minlength=1 << kind.head))

    def _of_heads(self, kind, counts):
        """Bits of leading bits that come so often, for one who learns them and remembers those of tensors before."""
        known = self._heads.get(kind, np.zeros(len(counts)))
        before = known * min(1.0, MEMORY / max(known.sum(), 1)) + PRIOR * ((known > 0) | (counts > 0))
        met, total = counts > 0, before.sum() + PRIOR
        nats = _log_gamma(total + counts.sum()) - _log_gamma(total)
        nats -= (_log_gamma(before[met] + counts[met]) - _log_gamma(before[met])).sum()
        self._heads[kind] = known + counts
        return nats / math.log(2)


def _log_gamma(x):
    """Stirling's, for numbers from `PRIOR` on."""
    return (x - 0.5) * np.log(x) - x + 1 / (12 * x)  # and a constant


def _live(live, before):
    """Bits of which rows or columns live, told by which columns of the last kernel do."""
    count = len(live)
    if count == 1:
        return 0.0
    period = len(before) if count % len(before) == 0 else 1
    hint = np.tile(before[:period], count // period).astype(int)
    group = np.arange(count) % period if 1 < period < count else hint
    two = 2 * hint + np.append(1, live[:-1])
    odds = _in(hint, live, 0.5, 1), _in(two, live, 0.5, 1), _in(group, live, live.mean())
    return _bits(sum(odds) / 3, live)


def _in(context, ones, prior, worth=FRESH):
    """Log-odds of a one by all others in the same context."""
    return _log_odds(np.bincount(context, ones)[context] - ones, np.bincount(context)[context] - 1, prior, worth)


def _log_odds(ones, count, prior, worth=FRESH):
    ones = ones + worth * min(max(prior, 1e-4), 1 - 1e-4)
    return np.log(ones / (count + worth - ones))


def _bits(odds, ones, weights=1.0):
    return float((np.logaddexp(0, np.where(ones, -odds, odds)) * weights).sum()) / math.log(2)


def _cells(inside, numbers, period):
    """Bits of the cells that living rows and columns leave open.

    Args:
        inside: booleans of the shape (living rows, living columns, places).
        numbers: which rows of the tensor these are.
        period: int, after how many rows the contexts of rows come again.
    """
    height, _, places = inside.shape
    if not inside.size:
        return 0.0
    flat = inside.reshape(height, -1)
    width, share, phase = flat.shape[1], flat.mean(), numbers % period
    at, weights = _sample(flat.reshape(-1))
    row, cell = np.divmod(at, width)
    ones, near = flat.reshape(-1)[at], _near(flat, numbers, period, places, at)
    of_row, of_column, of_phase = flat.sum(1), inside.sum((0, 2)), np.bincount(phase, flat.sum(1), period)
    in_phase = width * np.bincount(phase, minlength=period)
    odds = (
        np.full(len(at), _log_odds(0, 0, share)),
        _log_odds(of_row[row] - ones, width - 1, share),
        _log_odds(of_column[cell // places] - ones, height * places - 1, share),
        _log_odds(of_phase[phase[row]] - ones, in_phase[phase[row]] - 1, share),
        _log_odds(np.bincount(near, weights * ones)[near], np.bincount(near, weights)[near], share),
    )
    return _mixed(np.stack(odds), ones, weights) + LEARNED * (height + len(of_column))


def _sample(flat):
    """Places of non-zeros and of zeros, some of each where there are many, and how many each of them stands for."""
    rng, chosen = np.random.default_rng(0), []
    for found in (np.flatnonzero(flat), np.flatnonzero(~flat)):
        some = found if len(found) <= SAMPLE else found[rng.integers(len(found), size=SAMPLE)]
        chosen.append((some, np.full(len(some), len(found) / max(len(some), 1))))
    return (np.concatenate(each) for each in zip(*chosen, strict=True))


def _near(flat, numbers, period, places, at):
    """The bits before each cell: in its row, a place count before it, and one period up; 0 to 7."""
    row, cell = np.divmod(at, flat.shape[1])
    last, same = (np.where(cell >= back, flat.reshape(-1)[at - back], False) for back in (1, places))
    past = np.searchsorted(numbers, numbers - period)
    above = flat[past[row], cell] & (numbers[past] == numbers - period)[row]
    return 4 * last.astype(int) + 2 * same + above


def _mixed(odds, ones, weights):
    """Bits by a mixer whose weights are as good as they come, held back as far as it learns slowly."""
    start = np.full(len(odds), CELL_WEIGHTS[0] / 65536)
    mixer = start
    for _ in range(NEWTON):
        p = 1 / (1 + np.exp(-(mixer @ odds)))
        slope = odds @ (weights * (p - ones)) + HELD * (mixer - start)
        bend = (odds * (weights * p * (1 - p))) @ odds.T + HELD * np.eye(len(odds))
        mixer = mixer - np.linalg.solve(bend, slope)
    learning = HELD / 2 * ((mixer - start) ** 2).sum() / math.log(2)
    return min(_bits(start @ odds, ones, weights), _bits(mixer @ odds, ones, weights) + learning)
