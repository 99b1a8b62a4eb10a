"""A large tensor, with whole arrays at a time: a section of the file by itself."""

import math

import numpy as np

from . import table
from .dtype import KINDS
from .errors import malformed
from .source import Source, little, number

ALL, GAPS = range(2)
RAW, BOOK = range(2)
MOST_ENTRIES = 1 << 12
SAMPLE = 1 << 14
MOST_WORDS = 1 << 40


def encode(shape, dtype, patterns):
    """The section of a tensor.

    Args:
        shape: tuple of sizes.
        dtype: name of it.
        patterns: its bits, unsigned, of that shape.

    Returns:
        The section, and its bits by what they are spent on.
    """
    mask = patterns != 0
    gaps = not mask.all()
    index = _positions(shape, mask) if gaps else b""
    side, data = _values(patterns[mask] if gaps else patterns.reshape(-1))
    head = bytes([GAPS if gaps else ALL])
    return head + index + side + data, {"index": 8 * len(index), "side": 8 * len(head + side), "data": 8 * len(data)}


def decode(section, shape, dtype):
    """The bits of a tensor, of its shape, and the section's bits by what they are spent on."""
    source = Source(section)
    word, size = KINDS[dtype].word, math.prod(shape)
    way = source.take(1)[0]
    if way not in (ALL, GAPS):
        raise malformed("positions of a kind that there is not")
    start = source.left
    mask = _read_positions(source, shape) if way == GAPS else None
    index = start - source.left
    numbers, side, data = _read_values(source, word, size if mask is None else np.count_nonzero(mask))
    if source.left:
        raise malformed("a section longer than its tensor")
    out = _placed(numbers, mask, np.zeros(size, word))
    return out.reshape(shape), {"index": 8 * index, "side": 8 * (side + 1), "data": 8 * data}


def _placed(numbers, mask, out):
    """Fills `out`, where the mask says if there is one, with arrays of numbers, one after the other."""
    at = 0
    for part in numbers:
        if mask is None:
            out[at : at + len(part)] = part
            at += len(part)
            continue
        while len(part):
            inside = np.flatnonzero(mask[at : at + table.CHUNK])
            now = inside[: len(part)]
            out[at + now] = part[: len(now)]
            part = part[len(now) :]
            at += table.CHUNK if len(now) == len(inside) else int(now[-1]) + 1
    return out


def _matrix(shape):
    return math.prod(shape[:-1]), (1, *shape)[-1]


def _positions(shape, mask):
    """Living rows and columns, then the zeros before each non-zero of what they leave open."""
    mask = mask.reshape(_matrix(shape))
    rows, columns = mask.any(1), mask.any(0)
    inside = mask
    if not rows.all():
        inside = inside[rows]
    if not columns.all():
        inside = inside[:, columns]
    found = np.flatnonzero(inside.reshape(-1))
    zeros = np.diff(found, prepend=-1) - 1
    density = min(max(65536 * len(found) // max(inside.size, 1), 1), 65535)
    symbols = _symbols(zeros)
    words = table.encode(symbols, table.of_gaps(density))
    numbers = b"".join(number(n) for n in (len(symbols), density, len(words)))
    return _live(rows) + _live(columns) + numbers + little(words)


def _symbols(zeros):
    """A number of zeros as so many symbols of 255 zeros, and one of the rest."""
    runs = zeros // (table.SYMBOLS - 1)
    if not runs.any():
        return zeros
    symbols = np.full(len(zeros) + int(runs.sum()), table.SYMBOLS - 1, np.int32)
    symbols[np.cumsum(runs + 1) - 1] = zeros % (table.SYMBOLS - 1)
    return symbols


def _live(bits):
    return b"\1" if bits.all() else b"\0" + np.packbits(bits, bitorder="little").tobytes()


def _read_live(source, count):
    """Which rows or columns live."""
    if source.take(1)[0] == 1:
        return _Live(count)
    packed = np.frombuffer(source.take(-(-count // 8)), np.uint8)
    return _Live(count, np.unpackbits(packed, count=count, bitorder="little").astype(bool))


class _Live:
    """The rows or columns that live, without an index of them: that would be larger than a tensor of one column.

    Args:
        all: how many there are.
        mask: bools, or None where all live.
    """

    def __init__(self, all, mask=None):
        self._mask = mask
        if mask is not None:
            blocks = range(0, all, table.CHUNK)
            ends = np.cumsum([np.count_nonzero(mask[at : at + table.CHUNK]) for at in blocks], dtype=np.int64)
            self._starts = np.concatenate([np.zeros(1, np.int64), ends])
        self.count = all if mask is None else int(self._starts[-1])

    def places(self, numbers):
        """Where the ones of these numbers among the living are, of all."""
        if self._mask is None:
            return numbers
        blocks = np.searchsorted(self._starts, numbers, side="right") - 1
        out = np.empty_like(numbers)
        for block in np.unique(blocks):
            at, chosen = block * table.CHUNK, blocks == block
            inside = np.flatnonzero(self._mask[at : at + table.CHUNK])
            out[chosen] = at + inside[numbers[chosen] - self._starts[block]]
        return out


def _read_positions(source, shape):
    """Where the non-zeros are: a flat mask."""
    rows, columns = _matrix(shape)
    live_rows, live_columns = _read_live(source, rows), _read_live(source, columns)
    mask = np.zeros(rows * columns, bool)
    for found in _read_gaps(source, live_rows.count * live_columns.count):
        row, column = np.divmod(found, max(live_columns.count, 1))
        mask[live_rows.places(row) * columns + live_columns.places(column)] = True
    return mask


def _read_gaps(source, cells):
    """The places of the non-zeros among the cells that live rows and columns leave, some at a time."""
    count = source.number(cells)  # each symbol is for one cell or more
    density = source.number(65535)
    words = source.array(np.uint32, source.number(MOST_WORDS))
    last = -1
    for symbols in table.decode(words, table.of_gaps(max(density, 1)), count):
        ends = symbols < table.SYMBOLS - 1
        places = last + np.cumsum(symbols + ends, dtype=np.int64)
        last = int(places[-1])
        if last >= cells:
            raise malformed("a non-zero beyond the end of its tensor")
        yield places[ends]


def _values(numbers):
    """Side information, and the numbers: as they are, or by the list of the distinct ones."""
    entries = _distinct(numbers)
    if entries is None:
        return bytes([RAW]), little(numbers)
    symbols = np.searchsorted(entries, numbers)
    counts = np.bincount(symbols, minlength=len(entries))
    words = table.encode(symbols, table.from_counts(counts)) if len(entries) > 1 else np.zeros(0, np.uint32)
    sizes = b"".join(number(int(n)) for n in counts) + number(len(words))
    return bytes([BOOK]) + number(len(entries)) + little(entries) + sizes, little(words)


def _distinct(numbers):
    """The distinct numbers, or None where they are so many that a list of them does not pay."""
    few = min(MOST_ENTRIES, len(numbers) // 2)
    step = max(len(numbers) // SAMPLE, 1)
    if len(np.unique(numbers[::step])) > few:
        return None
    entries = np.unique(numbers)
    return entries if 0 < len(entries) <= few else None


def _read_values(source, word, count):
    """Arrays of numbers, one after the other, and the bytes of side information and of data."""
    start = source.left
    way = source.take(1)[0]
    if way == RAW:
        return [source.array(word, count)], 1, count * word.itemsize
    if way != BOOK:
        raise malformed("values of a kind that there is not")
    size = source.number(min(MOST_ENTRIES, count))
    entries = source.array(word, size)
    counts = [source.number(count) for _ in range(size)]
    if sum(counts) != count or not size:
        raise malformed("a list of values whose counts do not add up")
    words = source.number(MOST_WORDS)
    side = start - source.left
    words = source.array(np.uint32, words)
    if size == 1:
        numbers = (np.full(min(table.CHUNK, count - at), entries[0], word) for at in range(0, count, table.CHUNK))
        return numbers, side, 0
    symbols = table.decode(words, table.from_counts(counts), count)
    return (entries[each] for each in symbols), side, start - source.left - side
