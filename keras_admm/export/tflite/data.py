"""Representative data and check data as arrays, one for each input of the model, in whatever form they are given."""

import os
from collections.abc import Iterable

import keras
import numpy as np

from keras_admm import checks
from keras_admm.export.tflite.inputs import check_types, structure, symbolic

FROM_ITERABLE = 512  # samples taken of a dataset that may have no end
MADE_UP = 8  # samples drawn where the user gave none


def taken(model, given):
    """One array for each input of a model, from each argument that holds data; and the nest of its `Input`s.

    Args:
        model: a built model.
        given: dict of `"representative_data"` and `"check_data"` to what the user gave, or None.

    Raises:
        ValueError: for data that does not fit the model, or a model that no .tflite file can have the inputs of.
        TypeError: for what can be no data.
    """
    for argument, samples in given.items():
        check(argument, samples)
    inputs = len(symbolic(model))
    found = {name: batches(samples, inputs) for name, samples in given.items() if samples is not None}
    nest = structure(model, found.get("check_data") or found.get("representative_data"))
    check_types(model, nest)
    return {name: arrays(name, each, nest) for name, each in found.items()}, nest


def check(argument, data):
    """Raises for what can be no samples: neither arrays, nor batches of them, nor a function that returns batches."""
    must = "an array, a list or dict of arrays, an iterable of batches, or a function that returns one"
    remedy = "Pass a few hundred typical inputs, x_train[:500]."
    if isinstance(data, (str, bytes, type, os.PathLike)) or not (
        data is None or checks.is_array(data) or callable(data) or isinstance(data, Iterable)
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


def _is_batch(data):
    return checks.is_array(data) or isinstance(data, (list, tuple, dict))


def _without_targets(batch, inputs):
    """A batch without the targets and weights that `fit` takes beside it, or the signature that TensorFlow takes."""
    if not isinstance(batch, tuple):
        return batch
    if len(batch) == 2 and isinstance(batch[0], str):
        return batch[1]
    return batch if inputs > 1 and len(batch) == inputs else batch[0]


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
