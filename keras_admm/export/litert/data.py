"""Brings whatever data a user has to one array for each of a model's inputs."""

from dataclasses import dataclass

import keras
import numpy as np

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


def structure(model, data=None):
    """The nest of `Input`s that a model is called with; of a subclassed model it is read off the data."""
    tensors = getattr(model, "inputs", None)
    if tensors:
        sequential = any(c.__name__ == "Sequential" for c in type(model).__mro__)
        nest = tensors[0] if sequential else model.input
        return keras.tree.map_structure(lambda t: Input(t.name.split(":")[0], tuple(t.shape), _name(t.dtype)), nest)
    if data is None:
        raise ValueError(
            f"{model.name}: the shape of the inputs must be known to convert a model. Received: a subclassed model, "
            "which does not tell it, without data. Pass a batch as `check_data`, from which it is read."
        )
    first = _batches(data)[0]
    counter = iter(range(len(keras.tree.flatten(first))))
    return keras.tree.map_structure(
        lambda a: Input(f"input_{next(counter)}", (None, *np.shape(a)[1:]), _name(np.asarray(a).dtype)), first
    )


def arrays(name, data, inputs):
    """One array per input, all of equal length.

    Args:
        name: of the argument, for the errors.
        data: an array; a list, tuple or dict of arrays for several inputs; or a dataset or other iterable of batches,
            each such data itself or a tuple `(x, y)` as `fit` takes it, of which the first 512 samples are used.
        inputs: the flat list of `Input`.

    Raises:
        ValueError: for data of the wrong number, shape or length, or none.
    """
    batches = [_flat(name, batch, inputs) for batch in _batches(data)]
    if not batches:
        raise ValueError(f"{name}: at least one sample is needed. Received: none. Give a few hundred typical ones.")
    joined = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
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
        drawn.append(rng.integers(0, 2, shape) if "int" in item.dtype else rng.normal(size=shape))
    return [a.astype(i.dtype) for a, i in zip(drawn, inputs, strict=True)]


def _name(dtype):
    return getattr(dtype, "name", str(dtype))


def _batches(data):
    if hasattr(data, "shape") or isinstance(data, (list, tuple, dict)):
        return [data]
    taken, count = [], 0
    for batch in data:
        taken.append(batch[0] if isinstance(batch, tuple) else batch)
        count += len(keras.tree.flatten(taken[-1])[0])
        if count >= FROM_ITERABLE:
            break
    return taken


def _flat(name, batch, inputs):
    names = [i.name for i in inputs]
    if isinstance(batch, dict):
        if set(batch) != set(names):
            raise ValueError(f"{name}: the keys must be {names}. Received: {sorted(batch)}. Name the model's inputs.")
        batch = [batch[n] for n in names]
    flat = keras.tree.flatten(batch)
    expected = [i.shape for i in inputs]
    found = [np.shape(a) for a in flat]
    if len(found) != len(expected) or not all(map(_fits, found, expected)):
        raise ValueError(
            f"{name}: the arrays must have the shapes of the model's inputs, {expected}, samples first. "
            f"Received: {found}. Give one array for each input."
        )
    return [np.asarray(a).astype(i.dtype) for a, i in zip(flat, inputs, strict=True)]


def _fits(found, expected):
    return len(found) == len(expected) and all(
        size in (None, got) for got, size in zip(found[1:], expected[1:], strict=True)
    )
