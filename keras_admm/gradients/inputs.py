"""A model's inputs as arrays with names, checked."""

from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from keras_admm import checks, graph

ARRAYS = "an array of samples, or a list or dict of arrays, one for each input"


class Inputs(NamedTuple):
    """What a model is called with.

    Attributes:
        structure: the arrays, as the model takes them.
        names: list of str: of the inputs, or the keys of the dict that the model takes.
        arrays: list of arrays, the samples first.
        floats: list of bools: which the model takes as floats.
    """

    structure: object
    names: list
    arrays: list
    floats: list

    @property
    def size(self):
        """How many samples there are."""
        return len(self.arrays[0])

    def replaced(self, values):
        """The structure with values, a dict by name, in the places of some arrays."""
        return tree.pack_sequence_as(
            self.structure, [values.get(name, array) for name, array in zip(self.names, self.arrays, strict=True)]
        )


def read(name, model, x):
    """The `Inputs` of a model.

    Args:
        name: str, name used in error messages.
        model: a built model of Keras 3 or tf_keras.
        x: array, or list or dict of arrays, the samples first.

    Raises:
        TypeError, ValueError: for arrays that are not finite, or do not fit the model.

    Example:

    >>> model = keras.Sequential([keras.Input((3,), name="a"), keras.layers.Dense(2)])
    >>> read("me", model, np.zeros((5, 3))).names
    ['a']
    """
    x = graph.inputs_by_name(name, "x", model, checks.arrays(name, "x", x, ARRAYS))
    flat = tree.flatten(x)
    arrays = [np.asarray(array) for array in flat]
    if not arrays[0].ndim or len({a.shape[:1] for a in arrays}) != 1 or not len(arrays[0]):
        received = ", ".join(str(a.shape) for a in arrays)
        raise ValueError(
            f"{name}: `x` must be {ARRAYS}, as many samples in each. Received: shapes {received}. Pass a batch, such "
            "as x_test[:20]."
        )
    symbols = tree.flatten(getattr(model, "inputs", None) or [])
    _check_shapes(name, model, symbols, arrays)
    _check_finite(name, arrays)
    paths = [path for path, _ in tree.flatten_with_path(x)] if isinstance(x, dict) else []
    keys = graph.input_names(model) or ["/".join(map(str, path)) for path in paths]
    dtypes = [keras.backend.standardize_dtype(symbol.dtype) for symbol in symbols] or [str(a.dtype) for a in arrays]
    floats = ["float" in dtype for dtype in dtypes]
    structure = tree.pack_sequence_as(x, arrays)
    return Inputs(structure, keys or [f"input_{i}" for i in range(len(arrays))], arrays, floats)


def _check_shapes(name, model, symbols, arrays):
    shapes = [tuple(symbol.shape) for symbol in symbols]
    found = [array.shape for array in arrays]
    if shapes and not (len(shapes) == len(found) and all(map(_fits, found, shapes))):
        raise ValueError(
            f"{name}: `x` must have the shapes of the inputs of {model.name}, {', '.join(map(str, shapes))}. Received: "
            f"{', '.join(map(str, found))}. Give arrays of samples, the samples first."
        )


def _fits(found, shape):
    return len(found) == len(shape) and all(n in (None, m) for m, n in zip(found[1:], shape[1:], strict=True))


def _check_finite(name, arrays):
    for array in arrays:
        bad = np.argwhere(~np.isfinite(array)) if np.issubdtype(array.dtype, np.floating) else ()
        if len(bad):
            raise ValueError(
                f"{name}: `x` must be finite. Received: NaN or infinity in {len(bad):,} of {array.size:,} numbers, "
                f"first in sample {bad[0][0]}. Leave such samples out, or fill in what is missing."
            )
