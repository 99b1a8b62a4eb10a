"""Where a small tensor's non-zeros are: living rows and columns first, then each cell that they leave open.

A tensor is seen as (rows, columns, places): its last axis but one, its last, and all before them. A kernel's rows
are what comes in and its columns what goes out, so a column that died is, in the next kernel, a row that died.
"""

import numpy as np

from .probability import BitModel, Mixer

LIVE_WEIGHTS = (21845,) * 3
CELL_WEIGHTS = (13107,) * 5
RATE = 10
FRESH = 2  # how many bits a new context's first guess, that of the whole tensor, is worth


class Memory:
    """What the tensors before tell of the next one: which columns of the last kernel live.

    Attributes:
        columns: bools.
    """

    def __init__(self):
        self.columns = np.ones(1, bool)


def positions(coder, shape, memory, mask=None):
    """Codes a mask.

    Args:
        coder: `Encoder` or `Decoder`.
        shape: tuple of sizes.
        memory: `Memory`, brought up to date for the next tensor.
        mask: bools of that shape, where the coder encodes.

    Returns:
        The mask.
    """
    rows, columns, places = view(shape)
    cells = None if mask is None else np.moveaxis(mask.reshape(places, rows, columns), 0, 2)
    live_rows = _live(coder, "rows", rows, memory.columns, None if mask is None else cells.any((1, 2)))
    before = memory.columns if rows == places == 1 else np.ones(1, bool)
    live_columns = _live(coder, "columns", columns, before, None if mask is None else cells.any((0, 2)))
    out = np.zeros((rows, columns, places), bool)
    inside = None if mask is None else cells[live_rows][:, live_columns]
    out[np.ix_(live_rows, live_columns)] = _cells(coder, live_rows, live_columns, places, memory, inside)
    if rows * places > 1:
        memory.columns = live_columns
    return np.moveaxis(out, 2, 0).reshape(shape)


def view(shape):
    """Rows, columns and places of a tensor of some shape."""
    rows, columns = (1, 1, *shape)[-2:]
    return rows, columns, int(np.prod(shape[:-2], dtype=np.int64))


def _live(coder, axis, count, before, live=None):
    """Which rows or columns have a non-zero."""
    if count == 1:
        return np.ones(1, bool)
    coder.afford(count)
    period = len(before) if count % len(before) == 0 else 1
    hints = np.tile(before[:period], count // period).tolist()
    bits = [None] * count if live is None else live.tolist()
    mixer, out, last, groups = Mixer(LIVE_WEIGHTS, RATE), [], 1, {}
    for i, (hint, bit) in enumerate(zip(hints, bits, strict=True)):
        alone = coder.context("live", axis, period > 1, hint)
        group = groups.setdefault(i % period, BitModel(alone.p, FRESH)) if 1 < period < count else alone
        models = alone, coder.context("live", axis, period > 1, hint, last), group
        last = coder.mixed(mixer, models, bit)
        out.append(last)
    return np.array(out, bool)


def _cells(coder, live_rows, live_columns, places, memory, inside):
    """The bits of the living rows and columns."""
    width = int(live_columns.sum())
    if len(live_rows) * places == 1:
        return np.ones((1, width, 1), bool)
    numbers = np.flatnonzero(live_rows).tolist()
    coder.afford(len(numbers) * width * places)
    field = Field(coder, len(live_rows), width, places, memory)
    wanted = [None] * len(numbers)
    if inside is not None:
        wanted = inside.reshape(len(numbers), width * places).astype(int).tolist()
    coded = [field.row(number, cells) for number, cells in zip(numbers, wanted, strict=True)]
    return np.array(coded, bool).reshape(len(numbers), width, places)


class Field:
    """The contexts in which a cell is judged: the whole tensor, its row, its column, its row's period, its neighbours.

    Args:
        coder: `Encoder` or `Decoder`.
        rows: how many the tensor has, dead ones too.
        width: how many living columns.
        places: how many cells in each row and column.
        memory: `Memory`.
    """

    def __init__(self, coder, rows, width, places, memory):
        self._coder = coder
        self._mixer = Mixer(CELL_WEIGHTS, RATE)
        self._all = BitModel()
        self._models = {}
        # The rows of a flattened image come in periods, one for each of its pixels.
        self._period = len(memory.columns) if rows % len(memory.columns) == 0 else rows
        self._width, self._places = width, places
        self._past = {}

    def row(self, number, wanted=None):
        """Codes one living row: a list of cells, the places of each column together."""
        row = self._model("row", number)
        period = self._model("period", number % self._period)
        above = self._past.get(number - self._period, [0] * (self._width * self._places))
        out = [0] * self._places
        for i in range(self._width * self._places):
            column = self._model("column", i // self._places)
            near = self._model("near", out[-1], out[i], above[i])
            models = self._all, row, column, period, near
            out.append(self._coder.mixed(self._mixer, models, None if wanted is None else wanted[i]))
        self._past[number] = out[self._places :]
        return self._past[number]

    def _model(self, *key):
        if key not in self._models:
            self._models[key] = BitModel(self._all.p, FRESH)
        return self._models[key]
