"""What each layer of a model kept: numbers first, printing last."""

from typing import NamedTuple

import numpy as np

from keras_admm import weights


class Row(NamedTuple):
    """One compressible variable.

    Attributes:
        name: the variable's path.
        shape: its shape.
        weights: how many weights it has.
        kept: how many of them are not zero.
    """

    name: str
    shape: tuple
    weights: int
    kept: int

    @property
    def sparsity(self):
        return 1 - self.kept / self.weights


class Report(NamedTuple):
    """The rows of a model; printing it gives an aligned table with a total."""

    rows: tuple

    @property
    def total(self):
        return Row("total", (), sum(r.weights for r in self.rows), sum(r.kept for r in self.rows))

    def __str__(self):
        cells = [("variable", "shape", "weights", "kept", "sparsity", "rate")]
        for row in (*self.rows, self.total):
            shape = "x".join(map(str, row.shape))
            rate = f"{row.weights / row.kept:.1f}x" if row.kept else "-"
            cells.append((row.name, shape, f"{row.weights:,}", f"{row.kept:,}", f"{row.sparsity:.4f}", rate))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in cells
        )


def report(model, layers=None, exclude=None):
    """Counts what each compressible variable of a model kept; any model, pruned or not.

    Args:
        model: a built `keras.Model`.
        layers: which variables, as in `keras_admm.ADMMPrune`.
        exclude: which to leave out.

    Returns:
        A `Report`, with `rows` and `total`; `print` it for a table.

    Raises:
        ValueError: for an unbuilt model.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
    >>> print(report(model))
    variable              shape  weights  kept  sparsity  rate
    sequential/head/kernel  4x2        8     8    0.0000  1.0x
    total                              8     8    0.0000  1.0x
    """
    chosen = weights.select(model, layers, exclude)
    arrays = {name: weights.read(v) for name, v in chosen.items()}
    return Report(tuple(Row(n, a.shape, a.size, int(np.count_nonzero(a))) for n, a in arrays.items()))
