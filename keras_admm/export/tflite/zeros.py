"""Whether the zeros of a .tflite file are stored in it or left out."""

from pathlib import Path
from typing import NamedTuple

from keras_admm.errors import reason
from keras_admm.export.tflite.check import Difference
from keras_admm.export.tflite.flatbuffer import tensors

WORTH = 0.3  # share of zeros from which the converter leaves them out


class Form(NamedTuple):
    """The form in which a file was written.

    Attributes:
        difference: the `Difference` between its outputs and the model's.
        sizes: bytes of the forms that were tried, `"dense"` and `"sparse"`.
        sparse: a sentence: whether the zeros are left out of the file, and why.
    """

    difference: Difference
    sizes: dict
    sparse: str


def written(path, options, make, put):
    """Writes a file with its zeros or without them, as asked for or whichever is smaller, and returns its `Form`.

    Args:
        path: of the file.
        options: an `Options`.
        make: function of `sparse` that returns the bytes of the file.
        put: function of such bytes that writes them and returns the `Difference`.

    Raises:
        ValueError: for zeros that cannot be left out although that was asked for, or outputs that differ too much.
    """
    dense = make(sparse=False)
    stored = _kept(path, dense, options)
    if stored:
        return Form(put(dense), {"dense": len(dense)}, f"stored{stored}")
    try:
        coded = _coded(path, make)
        form = Form(put(coded), {"dense": len(dense), "sparse": len(coded)}, "left out of the file")
    except ValueError as error:
        if options.sparse is True:
            raise
        why = f"stored, as they cannot be left out here: {reason(error)}"
        return Form(put(dense), {"dense": len(dense)}, why)
    saved = f"{len(coded):,} bytes without them, {len(dense):,} with"
    if options.sparse is True or len(coded) < len(dense):
        return form._replace(sparse=f"{form.sparse}: {saved}")
    return form._replace(difference=put(dense), sparse=f"stored, which takes less: {saved}")


def _kept(path, dense, options):
    """Why the zeros of a dense file stay in it, or nothing."""
    if options.scheme:
        return "; leaving them out of a quantized file would make it compute wrongly"
    if options.sparse is False:
        return ", as asked for"
    Path(path).write_bytes(dense)
    if any(t.zeros >= WORTH * t.size and len(t.shape) in (2, 4) for t in tensors(path)):
        return ""
    if options.sparse is True:
        raise ValueError(
            "litert: to leave zeros out, a tensor must have at least 30% of them. Received: sparse=True and a "
            "model without such. Prune it first, or leave `sparse` at 'auto'."
        )
    return "; no tensor has 30% of them, from which on they can be left out"


def _coded(path, make):
    """The bytes without the zeros; at the path lies the file with them."""
    stored, coded = tensors(path), make(sparse=True)
    Path(path).write_bytes(coded)
    _check_none_lost(stored, tensors(path))
    return coded


def _check_none_lost(stored, coded):
    """Raises where the converter, which codes whole runs of 4 inputs alone, left out the weights of the last ones."""
    zeros = {shape: sum(t.zeros for t in stored if t.shape == shape) for shape in {t.shape for t in stored}}
    lost = [s for s, count in zeros.items() if sum(t.zeros for t in coded if t.shape == s) > count]
    if lost:
        raise ValueError(
            f"litert: TensorFlow's converter codes runs of 4 inputs only, and would lose what a layer has beyond them. "
            f"Received: weights of shape {lost[0]} (outputs, inputs) that are not zero beyond the last run. Give the "
            "layer a multiple of 4 inputs, or exclude= it from the pruning in blocks."
        )
