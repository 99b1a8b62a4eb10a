"""A packed file is loaded before it is written: whether the same model comes back."""

import keras

from keras_admm import serialization
from keras_admm.errors import reason
from keras_admm.graph import every_layer
from keras_admm.packed import build, codec

UNKNOWN = ("Could not locate", " identifier: ", "register_keras_serializable")  # Keras, of a name that it lacks


def described(model):
    """The config of a model in which layers that occur twice are marked.

    Raises:
        ValueError: naming the first layer that has none.
    """
    try:
        return serialization.described(model, every_layer(model))
    except Exception as error:
        raise _undescribed(model, error, {}) from error


def check(model, data):
    """Makes a model again from its packed bytes, without the weights' values.

    Classes and functions that the layers have at hand are taken for registered. A description with others in it
    is not tried, as `load` is given them.

    Raises:
        ValueError: naming the first layer that comes back with other weights, or that shares others.
    """
    own = serialization.at_hand(every_layer(model))
    try:
        with serialization.same_random_numbers():
            again, _ = build.built(codec.open_bytes(data, codec.ANY_BYTES), own, False, codec.ANY_BYTES)
    except codec.PackedFileError as error:
        if any(word in str(error) for word in UNKNOWN):
            return
        raise _undescribed(model, error.__cause__ or error, own) from error
    _compare(list(_states(model)), list(_states(again)))


def _undescribed(model, error, own):
    failing = _failing(model, own)
    return ValueError(
        f"{failing.name}: a {type(failing).__name__} must come back from its description to be saved. Received: one "
        f"that does not ({reason(error)}). Give it a get_config(), a build() that makes all of its weights, and "
        "functions that have names."
    )


def _failing(model, own):
    """The first layer that does not come back from its config, those inside others first, or the model."""
    for layer in sorted(every_layer(model), key=lambda each: len(every_layer(each))):
        try:
            keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer), own, safe_mode=False)
        except Exception:
            return layer
    return model


def _compare(old, new):
    for (layer, weights, shared), (_, again, others) in zip(old, new, strict=False):
        if weights != again:
            raise _differs(layer, f"weights of {weights}", f"{again}")
        if shared != others:
            raise _differs(layer, f"weights shared with {shared or 'no layer'}", f"with {others or 'no layer'}")
    if len(old) != len(new):
        layer = max(old, new, key=len)[min(len(old), len(new))][0]
        raise _differs(layer, f"{len(old)} layers and parts of layers with state in the model", str(len(new)))


def _differs(layer, expected, received):
    return ValueError(
        f"{layer.name}: a {type(layer).__name__} must come back from its get_config() as it is, with {expected}. "
        f"Received, made again: {received}. Tie weights through a layer that is in the config of the other one "
        "(keras.saving.serialize_keras_object), and make all weights in build()."
    )


def _states(model):
    """Each layer with state: it, what its arrays are, and the names of layers that had one of them before."""
    owners = {}
    for layer in every_layer(model):
        store = {}
        layer.save_own_variables(store)
        kinds = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in store.values()]
        own = [id(v) for v in store.values() if isinstance(v, keras.Variable)]
        if kinds:
            yield layer, kinds, [owners[v].name for v in own if owners.setdefault(v, layer) is not layer]
