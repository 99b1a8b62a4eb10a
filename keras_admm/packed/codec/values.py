"""The numbers of a small tensor: as they are, by a list of the distinct ones, or by a step and multiples of it."""

from typing import NamedTuple

import numpy as np

from .dtype import KINDS
from .errors import malformed

MOST_ENTRIES = 1 << 12
MOST_STEPS = 1 << 10
RAW, BOOK, GRID = range(3)


class Book(NamedTuple):
    """The distinct numbers of a tensor.

    Attributes:
        way: BOOK or GRID.
        below: patterns with the sign bit, by growing magnitude.
        above: patterns without, by growing magnitude.
        step: of a grid, its pattern.
    """

    way: int
    below: np.ndarray
    above: np.ndarray
    step: int = 0


def values(coder, name, dtype, count, patterns=None):
    """Codes numbers in order.

    Args:
        coder: `Encoder` or `Decoder`.
        name: of the contexts that are this tensor's own.
        dtype: name of it.
        count: how many.
        patterns: their bits, unsigned, where the coder encodes.

    Returns:
        Their bits.
    """
    kind = KINDS[dtype]
    coder.label = "side"
    book = None if patterns is None else cheapest_book(kind, patterns)
    way = coder.tree(("way", dtype), 2, None if patterns is None else (book.way if book else RAW))
    if way == RAW:
        coder.label = "data"
        return _raw(coder, kind, count, patterns)
    if way == BOOK:
        book = _listed(coder, kind, book)
    elif way == GRID and kind.float:
        book = _stepped(coder, kind, book)
    else:
        raise malformed("values of a kind that there is not")
    coder.label = "data"
    return _symbols(coder, name, book, count, patterns)


def cheapest_book(kind, patterns):
    """The cheapest book for some numbers, or None where they are cheaper as they are."""
    distinct, counts = np.unique(patterns, return_counts=True)
    if len(distinct) > min(MOST_ENTRIES, len(patterns)):
        return None
    sign = kind.word.type(1 << (kind.bits - 1))
    below, above = distinct[distinct >= sign], distinct[distinct < sign]
    symbols = float(-(counts * np.log2(counts / len(patterns))).sum())
    one = kind.bits - zeros_at_end(distinct)
    grid = _grid(kind, below, above)
    if grid is not None and len(distinct) > 1:
        return grid
    if symbols + len(distinct) * (one + 1) + 8 < len(patterns) * (one - min(4, kind.head / 2)):
        return Book(BOOK, below, above)
    return None


def _grid(kind, below, above):
    """The book of a step whose multiples, rounded as the dtype rounds, are all the numbers; or None."""
    if not kind.float:
        return None
    sizes = np.concatenate([below, above]).view(kind.float)
    sizes = np.abs(sizes)
    if not np.isfinite(sizes).all() or (sizes == 0).any():
        return None
    for step in _steps(kind, sizes):
        most = int(np.rint(float(sizes.max()) / float(step)))
        if most > MOST_STEPS:
            break
        book = _multiples(kind, step, most)
        if np.isin(below, book.below).all() and np.isin(above, book.above).all():
            return book
    return None


def _steps(kind, sizes):
    """Steps worth trying: the smallest number and its parts, and their neighbours."""
    for part in range(1, 9):
        step = sizes.min() / sizes.dtype.type(part)
        if step == 0:
            return
        yield step
        largest = sizes.max() / np.rint(sizes.max() / step)
        for near in (
            largest,
            np.nextafter(largest, 0, dtype=kind.float),
            np.nextafter(largest, np.inf, dtype=kind.float),
        ):
            if near > 0:
                yield sizes.dtype.type(near)


def _multiples(kind, step, most):
    with np.errstate(all="ignore"):
        above = np.arange(1, most + 1).astype(kind.float) * np.dtype(kind.float).type(step)
    pattern = int(np.array(step, kind.float).view(kind.word))
    return Book(GRID, (-above).view(kind.word), above.view(kind.word), pattern)


def _stepped(coder, kind, book):
    most = coder.count("steps", MOST_STEPS, None if book is None else len(book.above))
    step = None if book is None else np.array([book.step], kind.word)
    return _multiples(kind, _raw(coder, kind, 1, step).view(kind.float)[0], most)


def _listed(coder, kind, book):
    entries = None if book is None else np.concatenate([book.below, book.above])
    size = coder.count("entries", MOST_ENTRIES, None if book is None else len(entries))
    entries = _raw(coder, kind, size, entries)
    sign = kind.word.type(1 << (kind.bits - 1))
    return Book(BOOK, entries[entries >= sign], entries[entries < sign])


def _symbols(coder, name, book, count, patterns=None):
    """Each number's sign, where there are both, and its place among the numbers of that sign."""
    sides = (book.above.tolist(), book.below.tolist())
    if not any(sides) and count:
        raise malformed("values of an empty book")
    widths = [max(len(side) - 1, 0).bit_length() for side in sides]
    if sum(map(len, sides)) == 1:
        return np.full(count, (*sides[0], *sides[1])[0], book.above.dtype)
    coder.afford(count)
    places = None if patterns is None else [{p: i for i, p in enumerate(side)} for side in sides]
    out, last = [], 0
    for i in range(count):
        negative = place = None
        if patterns is not None:
            pattern = int(patterns[i])
            negative = int(pattern in places[1])
            place = places[negative][pattern]
        if all(sides):
            negative = coder.bit(coder.context(name, "sign", last), negative)
        else:
            negative = int(not sides[0])
        place = coder.tree((name, book.way == GRID or negative), widths[negative], place)
        if place >= len(sides[negative]):
            raise malformed("a value that the book does not hold")
        out.append(sides[negative][place])
        last = negative
    return np.array(out, book.above.dtype)


def _raw(coder, kind, count, patterns=None):
    """Patterns in full: how many zeros all of them end in, their heads by context, the bits between as they are."""
    width = (kind.bits - kind.head).bit_length()
    zeros = None if patterns is None else min(zeros_at_end(patterns), kind.bits - kind.head)
    zeros = coder.tree(("zeros", kind), width, zeros)
    rest = kind.bits - kind.head - zeros
    if rest < 0:
        raise malformed("more zeros than bits")
    coder.afford(count * kind.head)
    heads = [None] * count
    between = None
    if patterns is not None:
        wide = patterns.astype(np.uint64)
        heads = (wide >> np.uint64(kind.bits - kind.head)).tolist()
        between = wide >> np.uint64(zeros) & np.uint64((1 << rest) - 1)
    heads = np.array([coder.tree(("head", kind), kind.head, head) for head in heads], np.uint64)
    between = coder.words(count, rest, between)
    return (heads << np.uint64(kind.bits - kind.head) | between << np.uint64(zeros)).astype(kind.word)


def zeros_at_end(patterns):
    union = int(np.bitwise_or.reduce(patterns)) if len(patterns) else 0
    return (union & -union).bit_length() - 1 if union else 64
