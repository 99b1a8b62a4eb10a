"""The counting: a model's variables -> the rows of a report."""

import numpy as np

from keras_admm import weights
from keras_admm.report import macs
from keras_admm.report.table import Report, Row


def report(model, layers=None, exclude=None):
    """Counts what each compressible variable of a model kept, pruned or not.

    MACs (multiplications with an addition) are those of the weights for one sample: how often a weight is used,
    which the shapes of a symbolic run of the model tell, times the weights. Products of two activations, as in
    attention, have no weight and are not in it. They are `None`, and printed as `-`, where they cannot be known: in
    custom layers that hold weights, and where an input's shape is open.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        layers: which variables, as in `keras_admm.ADMMPrune`.
        exclude: which to leave out.

    Returns:
        A `Report`, with `rows` and `total`; `print` it for a table.

    Raises:
        ValueError: for an unbuilt model.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="ones", name="head")])
    >>> print(report(model))
    variable                shape  weights  kept  sparsity  rate  distinct  MACs  MACs left  bytes
    sequential/head/kernel    4x2        8     8    0.0000  1.0x         1     8          8     32
    total                                8     8    0.0000  1.0x         -     8          8     32
    """
    chosen = weights.select(model, layers, exclude)
    uses, note = macs.uses(model)
    rows = tuple(_row(name, weights.read(v), uses.get(id(v))) for name, v in chosen.items())
    unknown = [row.name for row in rows if row.macs is None]
    if unknown and not note:
        note = f"The MACs of {len(unknown)} of {len(rows)} variables cannot be known, such as {unknown[0]}."
    return Report(rows, note)


def _row(name, array, uses):
    kept = int(np.count_nonzero(array))
    return Row(
        name=name.removesuffix(":0"),
        shape=array.shape,
        weights=array.size,
        kept=kept,
        distinct=_distinct(array),
        macs=None if uses is None else uses * array.size,
        macs_left=None if uses is None else uses * kept,
        histogram=_histogram(array[array != 0]),
    )


def _distinct(array):
    # Sorted in place: np.unique would copy twice.
    values = np.sort(array, axis=None)
    return int(np.count_nonzero(values[1:] != values[:-1])) + bool(values.size)


def _histogram(values):
    counts, edges = np.histogram(values, bins=50) if values.size else (np.zeros(1, int), np.array([-1.0, 1.0]))
    return tuple(counts.tolist()), tuple(edges.tolist())
