"""Counting a model's variables for a report."""

from collections.abc import Mapping

import numpy as np

from keras_admm import errors, hints, macs, weights
from keras_admm.constraints import Pattern
from keras_admm.reporting import file, packed_bits
from keras_admm.reporting.channels import channels
from keras_admm.reporting.row import ReportRow
from keras_admm.reporting.structures import Structured
from keras_admm.reporting.table import Report

BINS = 50


def report(
    model: hints.Model,
    layers: hints.Weights = None,
    exclude: hints.Weights = None,
    input_shape: tuple | Mapping[str, tuple] | list[tuple] | None = None,
    structure: str | Pattern | None = None,
) -> Report:
    """Counts what each kernel of a model kept, pruned or not, frozen or not, and the bytes that it takes.

    MACs (multiplications with an addition) are those of the weights for one sample: how often a weight is used,
    which the shapes of a symbolic run of the model tell, times the weights. Products of two activations, as in
    attention, have no weight and are not in it. They are `None`, and printed as `-`, where they cannot be known: in
    custom layers that hold weights, and where an input's shape is open.

    Bytes are those of the file that `keras_admm.save` would write: the model is packed in memory. Of each variable the
    numbers alone (`data`), with their indices (`+index`), and its whole share (`packed bytes`), each with how many
    times the float32 numbers are as large (`data x`, `+index x`, `ratio`); `bits` are those of the numbers alone for
    each weight that is kept. The whole file has biases, statistics and the model's description as well: `Report.file`.
    All of them are `None`, and a note says why, for a model of tf_keras and for one whose layers cannot describe
    themselves in a file.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        layers: which variables, as in `keras_admm.ADMMPrune`.
        exclude: which to leave out.
        input_shape: of the model's inputs, the batch first, to count MACs where they leave a size open, such as the
            length of a sequence: a tuple, or a list or dict of tuples for several inputs.
        structure: a structure of `keras_admm.constraints.Sparse`, such as `"filter"` or `"2:4"`: the note then says
            what of it each kernel has left, or whether it holds, and which kernels it does not fit. `"channel"`: how
            many of the channels that `ADMMPrune(structure="channel")` prunes are left, and which layers it cannot take.

    Returns:
        A `Report`, with `rows`, `total` and `file`; `print` it for a table of the eight figures that most readers want,
        `to_text(details=True)` is one of all.

    Raises:
        ValueError: for an unbuilt model, or an unknown structure.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(10, name="head")], name="m")
    >>> model.set_weights([np.resize([0, 0, 0, 0, 1, 0, 0, 0, -2], (100, 10)), np.zeros(10)])
    >>> found = report(model)
    >>> head, *rows = found.cells(details=True)
    >>> print(dict(zip(head, rows[0])))
    {'variable': 'm/head/kernel', 'shape': '100x10', 'weights': '1,000', 'kept': '222', 'sparsity': '0.7780',
     'distinct': '3', 'bits': '1.09', 'MACs': '1k', 'MACs left': '222', 'dense': '4k', 'data': '30.3',
     '+index': '123', 'packed bytes': '125', 'data x': '132x', '+index x': '32.6x', 'ratio': '31.9x'}
    >>> found.file.rows < found.file.weights_bytes < found.file.bytes
    True
    """
    chosen = weights.choose(model, layers, exclude, training=False)
    unpacked = packed_bits.unpacked(model)
    uses, macs_note = macs.uses(model, input_shape)
    parts, packed_file, bytes_note = file.pack(model, chosen.values())
    whole = isinstance(structure, str) and structure == "channel"
    said = channels(model, layers, exclude) if whole else ""
    seen = None if structure is None or whole else Structured(structure, weights.axes(model, chosen))
    rows, values, negative, lost = [], [], 0, {}
    for name, variable in chosen.items():
        array = unpacked[id(variable)] if id(variable) in unpacked else weights.read(variable)
        values.append(_distinct(array))
        lost[name] = array.size - np.count_nonzero(np.isfinite(array))
        negative += np.count_nonzero(np.signbit(array) & (array == 0))
        if seen is not None:
            seen.see(name, array)
        rows.append(_row(name, array, values[-1].size, uses.get(id(variable)), parts.get(id(variable), ())))
    unknown = [row.name for row in rows if row.macs is None]
    if unknown and not macs_note:
        macs_note = f"The MACs of {len(unknown)} of {len(rows)} variables cannot be known, such as {unknown[0]}."
    empty = "" if rows else "There is no kernel to count."
    left_out = _left_out(model, chosen) if layers is None else ""
    signed = _signed(negative) if packed_file and negative else ""
    note = " ".join(filter(None, (empty, _lost(lost), bytes_note, signed, macs_note, left_out, said, str(seen or ""))))
    return Report(tuple(rows), note, _distinct(np.concatenate([[], *values])).size, packed_file, model.name)


def _signed(zeros):
    return (
        f"{zeros:,} of the zeros are -0.0, which a product of weights with a mask leaves, and which the packed file "
        "stores as other weights, bit for bit: keras_admm.strip(keras_admm.mask(model)) has 0.0 there."
    )


def _lost(counts):
    """What is said of weights that are not finite, a dict of their numbers by the names of the variables."""
    told = [f"{count:,} in {name.removesuffix(':0')}" for name, count in counts.items() if count]
    return f"NaN or infinity, counted as kept and in no histogram: {errors.named_few(told)}." if told else ""


def _left_out(model, chosen):
    names = weights.left_out(model, chosen)
    return f"No kernels by their names, so not in this table: {', '.join(names)}." if names else ""


def _row(name, array, distinct, uses, parts):
    kept = int(np.count_nonzero(array))
    return ReportRow(
        name.removesuffix(":0"),
        array.shape,
        array.size,
        kept,
        distinct,
        None if uses is None else uses * array.size,
        None if uses is None else uses * kept,
        _histogram(array[array != 0]),
        *parts,
    )


def _distinct(array):
    """The different values, in order. Sorted in place: np.unique would copy twice."""
    values = np.sort(array, axis=None)
    first = np.ones(values.size, bool)
    first[1:] = values[1:] != values[:-1]
    return values[first]


def _histogram(values):
    values = values[np.isfinite(values)].astype("float64")
    if not values.size:
        return (0,), (-1.0, 1.0)
    low, high = values.min(), values.max()
    if (np.diff(np.linspace(low, high, BINS + 1)) <= 0).any():  # all but equal: no number is between the edges
        low, high = low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2
    counts, edges = np.histogram(values, BINS, (low, high))
    return tuple(counts.tolist()), tuple(edges.tolist())
