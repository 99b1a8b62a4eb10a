"""Initializers of layers that are made again with other sizes."""

import keras
import numpy as np


def of_any_shape(layer):
    """The layer, not yet built, with zeros in the place of initializers that may make arrays of one shape alone.

    Those are what holds an array, and functions, which may give one. For a layer whose weights are written once it is
    built.

    Args:
        layer: a layer, which is changed with those in it, or an operation.

    Example:

    >>> words = keras.layers.Embedding(2, 3, embeddings_initializer=keras.initializers.Constant(np.ones((2, 4))))
    >>> tuple(of_any_shape(words)(np.array([1])).shape)
    (1, 3)
    """
    for part in layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else ():
        for name, value in list(vars(part).items()):
            if name.endswith("initializer") and callable(value) and not _makes_any_shape(value):
                setattr(part, name, keras.initializers.Zeros())
    return layer


def _makes_any_shape(initializer):
    return isinstance(initializer, keras.initializers.Initializer) and not any(
        map(np.shape, vars(initializer).values())
    )
