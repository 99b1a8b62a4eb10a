"""A packed file tried before it is written: whether the same model comes back."""

import types

import keras

from keras_admm import serialization
from keras_admm.packed import build, codec

UNKNOWN = ("Could not locate", "Could not interpret", "register_keras_serializable")  # Keras, of a name that it lacks


def check(model, data):
    """Makes a model again from its packed bytes, without the weights' values.

    Classes and functions that the layers have at hand are taken for registered. A description with others in it
    is not tried, as `load` is given them.

    Raises:
        ValueError: naming the first layer that comes back with other weights, or that shares others.
    """
    try:
        with serialization.same_random_numbers():
            again, _ = build.built(codec.open_bytes(data, codec.ANY_BYTES), _at_hand(model), False, codec.ANY_BYTES)
    except codec.PackedFileError as error:
        if any(word in str(error) for word in UNKNOWN):
            return
        raise ValueError(
            f"{model.name}: a model must come back from its description to be saved. Received: one that does not "
            f"({str(error.__cause__ or error).strip()[:600]}). Give its layers a get_config() and a build() that "
            "make all of their weights."
        ) from error
    _compare(list(_states(model)), list(_states(again)))


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
    for layer in model._flatten_layers():
        store = {}
        layer.save_own_variables(store)
        kinds = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in store.values()]
        own = [id(v) for v in store.values() if isinstance(v, keras.Variable)]
        if kinds:
            yield layer, kinds, [owners[v].name for v in own if owners.setdefault(v, layer) is not layer]


def _at_hand(model):
    """Classes of the layers, and classes and functions of what they have, by name."""
    found = {}
    for layer in model._flatten_layers():
        for each in (layer, *vars(layer).values()):
            named = each if isinstance(each, (types.FunctionType, type)) else type(each)
            if named.__module__ != "builtins" and not named.__module__.startswith("keras."):
                found[named.__name__] = named
    return found
