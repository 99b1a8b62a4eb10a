"""Inference that changes nothing: a model is called with `training=False`, and its variables stay as they are."""

import contextlib

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import masking

from keras_admm.weights import is_tf_keras

# Of a tensor of values: the Keras mask that comes along with it, or None.
mask_of, set_mask = masking.get_keras_mask, masking.set_keras_mask


def call(model, inputs, values=None):
    """The outputs of a model at inference.

    `training=False` outweighs the default of the model's own `call` and of the layers in it. What a Keras 3 layer
    assigns to its variables while it computes is seen by this call alone; of tf_keras, `unchanged` takes care.

    Args:
        model: a built Keras 3 or tf_keras model.
        inputs: as the model is called with.
        values: dict of `id(variable)` to the tensor that a Keras 3 variable stands for in this call.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    >>> float(call(model, np.ones((1, 4), "float32"))[0, 0])
    1.0
    """
    if is_tf_keras(model):
        return model(inputs, training=False) if model._expects_training_arg else model(inputs)
    with keras.StatelessScope() as scope:
        scope.state_mapping.update(values or {})
        return model(inputs, training=False)


def batches(data, size):
    """Yields the batches of an array, or of a structure of arrays of one length, as tensors.

    Example:

    >>> [tuple(batch.shape) for batch in batches(np.zeros((5, 2)), 2)]
    [(2, 2), (2, 2), (1, 2)]
    """
    for start in range(0, len(keras.tree.flatten(data)[0]), size):
        yield keras.tree.map_structure(lambda x, start=start: ops.convert_to_tensor(x[start : start + size]), data)


@contextlib.contextmanager
def eager(values=None):
    """A scope to call Keras 3 layers in: none of their variables changes, and torch keeps no gradients.

    Args:
        values: dict of `id(variable)` to the tensor that a variable stands for in the scope.

    Example:

    >>> layer = keras.layers.Dropout(0.5)
    >>> with eager():
    ...     _ = layer(np.ones(4, "float32"), training=True)
    >>> int(layer.seed_generator.state[1])
    0
    """
    with contextlib.ExitStack() as scopes:
        if keras.backend.backend() == "torch":
            import torch

            scopes.enter_context(torch.no_grad())
        scopes.enter_context(keras.StatelessScope()).state_mapping.update(values or {})
        yield


@contextlib.contextmanager
def unchanged(model):
    """Gives every variable that a model holds its value back, whatever is done to it, and however that ends.

    Args:
        model: a Keras 3 or tf_keras model; anything else is let through.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with unchanged(model):
    ...     _ = model.layers[0].bias.assign(np.ones(2))
    >>> ops.convert_to_numpy(model.layers[0].bias).tolist()
    [0.0, 0.0]
    """
    with kept(variables(model)):
        yield


@contextlib.contextmanager
def kept(variables):
    """Gives variables their values back, whatever is done to them, and however that ends.

    Args:
        variables: list of variables of Keras 3 or tf_keras.
    """
    before = [(variable, _read(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in before:
            if _read(variable).tobytes() != value.tobytes():
                variable.assign(value)


def variables(model):
    """All variables of a model: states of random seeds, metrics and the optimizer's with them."""
    found = {}
    for owner in (model, getattr(model, "optimizer", None)):
        listed = getattr(owner, "variables", ())
        for variable in listed() if callable(listed) else listed:
            found[id(variable)] = variable
    return [v for v in found.values() if getattr(v, "_value", v) is not None]


def _read(variable):
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(variable)))
