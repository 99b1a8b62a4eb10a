"""Brings whatever data a user has to one array for each of a model's inputs."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from keras_admm import checks

HALF = ("float16", "bfloat16")
FROM_ITERABLE = 512  # samples taken of a dataset that may have no end
MADE_UP = 8  # samples drawn where the user gave none


@dataclass(frozen=True)  # a tuple would be a nest itself
class Input:
    """One of a model's inputs, in the order in which the flattened model takes them.

    Attributes:
        name: by which the .tflite file's signature knows it.
        shape: with None where it is free, the batch first.
        dtype: as Keras names it.
    """

    name: str
    shape: tuple
    dtype: str


def check(argument, data):
    """Raises for what can be no samples: neither arrays, nor batches of them, nor a function that returns batches."""
    must = "an array, a list or dict of arrays, an iterable of batches, or a function that returns one"
    remedy = "Pass a few hundred typical inputs, x_train[:500]."
    if isinstance(data, (str, bytes, type, os.PathLike)) or not (
        data is None or hasattr(data, "shape") or callable(data) or isinstance(data, Iterable)
    ):
        raise TypeError(checks.refused("litert", argument, must, data, remedy))
    if isinstance(data, (list, tuple, dict)) and not len(data):
        raise ValueError(checks.refused("litert", argument, must, data, remedy))


def batches(data, inputs=1):
    """The data as a list of batches, each an array or a structure of arrays.

    Args:
        data: None, an array, a structure of arrays, an iterable of batches, or a function without arguments that
            returns such an iterable, as TensorFlow's converter takes it.
        inputs: how many the model has, where that is known: a tuple of as many is a batch of a function's.
    """
    if data is None:
        return None
    if _is_batch(data):
        return [data]
    made = callable(data)
    taken, count = [], 0
    for batch in data() if made else data:
        taken.append(_without_targets(batch, inputs if made else 0))
        count += len(keras.tree.flatten(taken[-1])[0])
        if count >= FROM_ITERABLE:
            break
    return taken


def structure(model, given=None):
    """The nest of `Input`s that a model is called with; of a subclassed model it is read off the data.

    Args:
        model: a built model.
        given: a list of batches, or None.

    Raises:
        ValueError: for a subclassed model without data, or inputs of a kind that no .tflite file can take.
    """
    tensors = getattr(model, "inputs", None)
    if tensors:
        sequential = any(c.__name__ == "Sequential" for c in type(model).__mro__)
        nest = tensors[0] if sequential else model.input
        for tensor in tensors:
            _check_kind(tensor)
        return keras.tree.map_structure(_of_tensor, nest)
    if not given:
        raise ValueError(
            f"{model.name}: the shape of the inputs must be known to convert a model. Received: a subclassed model, "
            "which does not tell it, without data. Pass a batch as `check_data`, from which it is read."
        )
    names = iter(_names(given[0]))
    return keras.tree.map_structure(lambda a: _of_data(next(names), a), given[0])


def check_types(model, nest):
    """Refuses inputs of text, naming the layer that reads them.

    Raises:
        ValueError: with how to take that layer out of the model.
    """
    for item in keras.tree.flatten(nest):
        if not np.issubdtype(_numpy(item.dtype), np.number) and item.dtype != "bool":
            reader = next((x for x in model._flatten_layers(include_self=False) if hasattr(x, "get_vocabulary")), None)
            named = f"the layer {reader.name} ({type(reader).__name__})" if reader else "the layers that read it"
            raise ValueError(
                f"{item.name}: LiteRT's own operations compute on numbers. Received: an input of dtype={item.dtype}. "
                f"Split the preprocessing off: apply {named} to the data before the model, and export what comes "
                "after it, for example keras.Model(layer_after.input, model.output)."
            )


def arrays(name, given, nest):
    """One array per input, all of equal length.

    Args:
        name: of the argument, for the errors.
        given: a list of batches, each an array, a list or tuple of arrays, or a dict by the inputs' names or by the
            keys that the model is called with.
        nest: the structure of `Input`s.

    Raises:
        ValueError: for data of the wrong number, shape or length, or none.
    """
    inputs = keras.tree.flatten(nest)
    flat = [_flat(name, batch, nest) for batch in given]
    if not flat:
        raise ValueError(f"{name}: at least one sample is needed. Received: none. Give a few hundred typical ones.")
    joined = [np.concatenate(parts) for parts in zip(*flat, strict=True)]
    if len({len(a) for a in joined}) > 1 or not len(joined[0]):
        raise ValueError(
            f"{name}: each input needs equally many samples, at least one. Received: {[len(a) for a in joined]} "
            "samples. Give arrays of one length."
        )
    batch = inputs[0].shape[0] or 1
    if len(joined[0]) < batch:
        raise ValueError(
            f"{name}: the model computes on {batch} samples at once. Received: {len(joined[0])}. Give as many at least."
        )
    return [a[: len(a) // batch * batch] for a in joined]


def random(inputs):
    """Seeded normal values, and zeros and ones for integers, of the inputs' shapes."""
    rng = np.random.default_rng(0)
    for item in inputs:
        if None in item.shape[1:]:
            raise ValueError(
                f"{item.name}: data must be given for an input of variable shape. Received: shape={item.shape}. "
                "Pass a batch as `check_data`."
            )
    drawn = []
    for item in inputs:
        shape = (item.shape[0] or MADE_UP, *item.shape[1:])
        drawn.append(
            rng.integers(0, 2, shape) if "int" in item.dtype or item.dtype == "bool" else rng.normal(size=shape)
        )
    return [a.astype(i.dtype) for a, i in zip(drawn, inputs, strict=True)]


def _name(dtype):
    return getattr(dtype, "name", str(dtype))


def _numpy(dtype):
    return np.dtype("O") if dtype in ("string", "str", "object", "resource", "variant") else np.dtype(dtype)


def _is_batch(data):
    return hasattr(data, "shape") or isinstance(data, (list, tuple, dict))


def _without_targets(batch, inputs):
    """A batch without the targets and weights that `fit` takes beside it, or the signature that TensorFlow takes."""
    if not isinstance(batch, tuple):
        return batch
    if len(batch) == 2 and isinstance(batch[0], str):
        return batch[1]
    return batch if inputs > 1 and len(batch) == inputs else batch[0]


def _check_kind(tensor):
    for kind in ("sparse", "ragged"):
        if getattr(tensor, kind, False) or type(tensor).__name__.lower().startswith(kind):
            raise ValueError(
                f"{tensor.name.split(':')[0]}: a .tflite file takes dense arrays. Received: an input with "
                f"{kind}=True. Build the model with a dense input of the same shape, and pad or fill the data."
            )


def _names(batch):
    """For each array of a batch the key that it has there, made fit for a signature; or its number."""
    plain = isinstance(batch, dict) and not any(isinstance(v, (list, tuple, dict)) for v in batch.values())
    keys = [re.sub(r"\W", "_", str(key)) for key in sorted(batch)] if plain else []
    count = len(keras.tree.flatten(batch))
    return keys if len(set(keys)) == count else [f"input_{i}" for i in range(count)]


def _of_tensor(tensor):
    dtype = _name(tensor.dtype)
    return Input(tensor.name.split(":")[0], tuple(tensor.shape), "float32" if dtype in HALF else dtype)


def _of_data(name, array):
    array = array if hasattr(array, "dtype") else np.asarray(array)
    dtype = _name(array.dtype)
    dtype = "string" if dtype.startswith(("str", "bytes", "object")) else dtype
    # Keras takes every floating input to the type that its layers compute in.
    return Input(name, (None, *np.shape(array)[1:]), "float32" if "float" in dtype else dtype)


def _flat(name, batch, nest):
    inputs = keras.tree.flatten(nest)
    flat = keras.tree.flatten(_ordered(name, batch, nest))
    expected = [i.shape for i in inputs]
    found = [np.shape(a) for a in flat]
    if len(found) != len(expected) or not all(map(_fits, found, expected)):
        raise ValueError(
            f"{name}: the arrays must have the shapes of the model's inputs, {expected}, samples first. "
            f"Received: {found}. Give one array for each input."
        )
    return [np.asarray(a).astype(i.dtype) for a, i in zip(flat, inputs, strict=True)]


def _ordered(name, batch, nest):
    """The arrays of a dict in the order of the inputs; anything else as it is."""
    if not isinstance(batch, dict):
        return batch
    names = [i.name for i in keras.tree.flatten(nest)]
    if set(batch) == set(names):
        return [batch[n] for n in names]
    if isinstance(nest, dict) and set(batch) == set(nest):
        return batch
    raise ValueError(f"{name}: the keys must be {names}. Received: {sorted(batch)}. Name the model's inputs.")


def _fits(found, expected):
    return len(found) == len(expected) and all(
        size in (None, got) for got, size in zip(found[1:], expected[1:], strict=True)
    )
