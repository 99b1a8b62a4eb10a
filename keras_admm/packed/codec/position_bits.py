"""About how many bits it takes to tell where small tensors' non-zeros are, of all tensors at once; see `positions`.

A row, a column or a cell costs what the models of its contexts say of it that know all others. Of cells a sample is
looked at, and a mixer weighs their models that has learned.
"""

import math

import numpy as np

from .positions import CELL_WEIGHTS, FRESH, view

SAMPLE = 1 << 10  # non-zeros that are looked at, and about as many zeros
LEARNED = 1.0  # bits that it takes to know a row or a column
HELD = 200.0  # how much a change of the mixer's weights by 1 costs, in nats twice: it learns slowly
NEWTON = 2  # steps of Newton's method to the weights


def position_bits(shapes, masks):
    """Bits of each of some tensors, one after the other in a file.

    Args:
        shapes: list of tuples.
        masks: list of booleans of these shapes.

    Returns:
        A float array.

    Example:

    >>> position_bits([(64, 64)], [np.random.default_rng(0).random((64, 64)) < 0.1]).round(-2)
    array([2100.])
    """
    bits = np.zeros(len(shapes))
    chosen = [i for i, mask in enumerate(masks) if mask.size]
    if chosen:
        field = Field([shapes[i] for i in chosen], [masks[i] for i in chosen])
        zeros = field.counts < field.rows * field.columns * field.places
        bits[chosen] = np.where(zeros, field.live_bits() + Cells(field).bits(), 0.0)
    return bits


class Field:
    """Tensors one after the other, their rows, columns and cells numbered through all of them.

    Attributes:
        rows, columns, places: int arrays, how many each tensor has.
        counts: int array, of its non-zeros.
        cell, row, column: int arrays, its first one.
        matrix: booleans, whether it has more than one row.
        before: int array, the last matrix before it, or -1.
        flat: booleans of all cells.
        ones: int array of four rows: the tensor, the row, the column and the place of each non-zero.
        of_row, of_column: int arrays, non-zeros of each.
    """

    def __init__(self, shapes, masks):
        self.rows, self.columns, self.places = np.array([view(shape) for shape in shapes]).T
        self.counts = np.array([np.count_nonzero(mask) for mask in masks])
        self.flat = np.concatenate([mask.reshape(-1) for mask in masks])
        sizes = self.rows * self.columns * self.places
        self.cell, self.row, self.column = map(starts, (sizes, self.rows, self.columns))
        self.matrix = self.rows * self.places > 1
        self.before = np.append(-1, np.maximum.accumulate(np.where(self.matrix, np.arange(len(shapes)), -1))[:-1])
        tensor = np.repeat(np.arange(len(shapes)), self.counts)
        rest, column = np.divmod(np.flatnonzero(self.flat) - self.cell[tensor], self.columns[tensor])
        place, row = np.divmod(rest, self.rows[tensor])
        self.ones = np.stack([tensor, row + self.row[tensor], column + self.column[tensor], place])
        self.of_row = np.bincount(self.ones[1], minlength=self.rows.sum())
        self.of_column = np.bincount(self.ones[2], minlength=self.columns.sum())

    def at(self, tensor, row, column, place):
        """The cells there."""
        planes = place * self.rows[tensor] + row - self.row[tensor]
        return self.cell[tensor] + planes * self.columns[tensor] + column - self.column[tensor]

    def told_by(self, before):
        """How many columns of the tensors before tell of the rows or columns of these."""
        return np.where(before < 0, 1, self.columns[before])

    def live_bits(self):
        """Bits of each tensor for which rows and columns live, told by which columns of the last matrix do."""
        live = np.append(self.of_row, self.of_column) > 0
        count = np.append(self.rows, self.columns)
        before = np.append(self.before, np.where(self.matrix, -1, self.before))
        told = self.told_by(before)
        period = np.where(count % told, 1, told)
        side, first = np.repeat(np.arange(len(count)), count), starts(count)
        phase = (np.arange(len(live)) - first[side]) % period[side]
        teller = np.where(before < 0, len(live), len(self.of_row) + self.column[before])
        hint = np.append(live, True)[teller[side] + phase]
        last = np.append(True, live[:-1])
        last[first] = True
        alone, two = _in(2 * side + hint, live, 0.5, 1), _in(4 * side + 2 * hint + last, live, 0.5, 1)
        grouped = (1 < period) & (period < count)
        share = np.add.reduceat(live, first, dtype=int) / count
        group = np.where(grouped[side], _in(first[side] + phase, live, share[side]), alone)
        bits = np.bincount(side, _bits((alone + two + group) / 3, live)) * (count > 1)
        return bits.reshape(2, -1).sum(0)


class Cells:
    """A sample of the cells that living rows and columns leave open.

    Args:
        field: `Field`.
    """

    def __init__(self, field):
        self._field, live_rows, live_columns = field, field.of_row > 0, field.of_column > 0
        self._rows, self._columns = np.flatnonzero(live_rows), np.flatnonzero(live_columns)
        self._rank = np.cumsum(live_columns) - 1
        told = field.told_by(field.before)
        self._period = np.where(field.rows % told, field.rows, told)  # after so many rows their contexts come again
        self._height = np.add.reduceat(live_rows, field.row, dtype=int)
        self._width = np.add.reduceat(live_columns, field.column, dtype=int)
        self._size = self._height * self._width * field.places
        self._open = field.matrix & (0 < field.counts) & (field.counts < self._size)

    def bits(self):
        """Bits of each tensor."""
        bits = LEARNED * self._open * (self._height + self._width)
        if self._open.any():
            sample, ones = self._sample(np.random.default_rng(0))
            zeros = self._size - self._field.counts
            weights = np.where(ones, worth(sample[0], ones, self._field.counts), worth(sample[0], ~ones, zeros))
            first = np.flatnonzero(np.diff(sample[0], prepend=-1))
            bits[sample[0, first]] += mixed(self._odds(*sample, ones, weights), ones, weights, first)
        return bits

    def _sample(self, rng):
        """Some cells, tensor by tensor, each as in `Field.ones`, and which of them are non-zeros."""
        ones = self._field.ones[:, self._open[self._field.ones[0]]]
        if ones.shape[1] > SAMPLE:
            ones = ones[:, ((np.arange(SAMPLE) + rng.random(SAMPLE)) * (ones.shape[1] / SAMPLE)).astype(int)]
        cells = np.append(ones, self._zeros(ones[0].repeat(max(SAMPLE // ones.shape[1], 1)), rng), axis=1)
        order = np.argsort(cells[0], kind="stable")
        return cells[:, order], order < ones.shape[1]

    def _zeros(self, tensor, rng):
        """Zeros of these tensors: cells by chance, but for those that are non-zeros."""
        sizes = np.stack([self._height, self._width, self._field.places])[:, tensor]
        row, column, place = (rng.random(sizes.shape) * sizes).astype(int)
        row = self._rows[starts(self._height)[tensor] + row]
        column = self._columns[starts(self._width)[tensor] + column]
        cells = np.stack([tensor, row, column, place])
        return cells[:, ~self._field.flat[self._field.at(*cells)]]

    def _odds(self, tensor, row, column, place, ones, weights):
        """Log-odds of a non-zero by the whole tensor, its row, its column, its row's period and its neighbours."""
        field, share = self._field, (self._field.counts / np.maximum(self._size, 1))[tensor]
        broad, tall = (self._width * field.places)[tensor], (self._height * field.places)[tensor]
        owner = np.repeat(np.arange(len(field.rows)), field.rows)
        phase = starts(self._period)[owner] + (np.arange(len(owner)) - field.row[owner]) % self._period[owner]
        of_phase, in_phase = np.bincount(phase, field.of_row), np.bincount(phase, field.of_row > 0)
        near = self._near(tensor, row, column, place)
        return np.stack(
            [
                _log_odds(0, 0, share),
                _log_odds(field.of_row[row] - ones, broad - 1, share),
                _log_odds(field.of_column[column] - ones, tall - 1, share),
                _log_odds(of_phase[phase[row]] - ones, broad * in_phase[phase[row]] - 1, share),
                _log_odds(np.bincount(near, weights * ones)[near], np.bincount(near, weights)[near], share),
            ]
        )

    def _near(self, tensor, row, column, place):
        """The bits before each cell: in its row, a place count before it, and one period up; eight for each tensor."""
        field, rank = self._field, self._rank[column]
        past, here = self._columns[np.maximum(rank - 1, 0)], field.at(tensor, row, column, place)
        begun = rank > starts(self._width)[tensor]
        same = begun & field.flat[field.at(tensor, row, past, place)]
        first = begun & field.flat[field.at(tensor, row, past, field.places[tensor] - 1)]
        last = np.where(place > 0, field.flat[here - (field.rows * field.columns)[tensor]], first)
        above = row - field.row[tensor] >= self._period[tensor]
        above &= field.flat[here - (self._period * field.columns)[tensor]]
        return 8 * tensor + 4 * last + 2 * same + above


def mixed(odds, ones, weights, first):
    """Bits of each run of cells by a mixer whose weights are as good as they come, held back as it learns slowly."""
    lengths, kinds = np.diff(first, append=len(ones)), np.eye(len(odds))
    start = np.full((len(first), len(odds)), CELL_WEIGHTS[0] / 65536)
    squares = (odds[:, None] * odds).reshape(-1, len(ones))

    def sums(each):
        return np.add.reduceat(each, first, axis=-1).T

    def by(mixer):
        return (mixer.repeat(lengths, 0).T * odds).sum(0)

    mixer = start
    for _ in range(NEWTON):
        p = 1 / (1 + np.exp(-by(mixer)))
        slope = sums(odds * (weights * (p - ones))) + HELD * (mixer - start)
        bend = sums(squares * (weights * p * (1 - p))).reshape(-1, *kinds.shape) + HELD * kinds
        mixer = mixer - np.linalg.solve(bend, slope[..., None])[..., 0]
    learning = HELD / 2 * ((mixer - start) ** 2).sum(1) / math.log(2)
    held, free = (sums(weights * _bits(by(each), ones)) for each in (start, mixer))
    return np.minimum(held, free + learning)


def worth(tensor, chosen, counts):
    """How many cells each one that was chosen stands for."""
    return (counts / np.maximum(np.bincount(tensor, chosen, len(counts)), 1))[tensor]


def starts(counts):
    """Where each of some runs begins, one after the other."""
    return np.cumsum(counts) - counts


def _in(context, ones, prior, worth=FRESH):
    """Log-odds of a one by all others in the same context."""
    return _log_odds(np.bincount(context, ones)[context] - ones, np.bincount(context)[context] - 1, prior, worth)


def _log_odds(ones, count, prior, worth=FRESH):
    ones = ones + worth * np.clip(prior, 1e-4, 1 - 1e-4)
    return np.log(ones / (count + worth - ones))


def _bits(odds, ones):
    return np.log2(1 + np.exp(np.where(ones, -odds, odds)))
