"""The state of a model's layers, as they give it to Keras's own files."""

from typing import NamedTuple

import keras
import ml_dtypes
import numpy as np
from keras import ops

from keras_admm.graph import every_layer
from keras_admm.packed import codec


class StateArray(NamedTuple):
    """One array of a model's state.

    Attributes:
        store: the dict in which its layer gave it.
        key: its key there.
        name: for people.
        layer: that gave it.
    """

    store: dict
    key: str
    name: str
    layer: object

    @property
    def value(self):
        """What its layer gave: the variable itself, with most layers."""
        return self.store[self.key]

    @property
    def spec(self):
        value = self.value
        return codec.Spec(tuple(int(n) for n in value.shape), keras.backend.standardize_dtype(value.dtype))

    def read(self):
        """Its bits, as unsigned integers."""
        kind = codec.KINDS.get(self.spec.dtype)
        value = np.ascontiguousarray(ops.convert_to_numpy(ops.convert_to_tensor(self.value)))
        value = value.reshape(self.spec.shape)
        if kind is not None and value.dtype.itemsize * 8 > kind.bits:
            # torch gives bfloat16 as float32, whose upper half it is.
            value = (value.view(np.uint32) >> 16).astype(np.uint16)
        return value.view(kind.word) if kind is not None else value


def arrays(model):
    """A model's state, layer by layer, as each layer gives it to Keras's own files."""
    found = []
    for layer in every_layer(model):
        store = {}
        layer.save_own_variables(store)
        for key, value in store.items():
            found.append(StateArray(store, key, getattr(value, "path", f"{layer.name}/{key}"), layer))
    return found


def fill(model, arrays, tensors):
    """Gives each layer its state back."""
    pairs = zip(arrays, tensors, strict=True)
    values = {(id(array.store), array.key): _value(array.spec, bits) for array, bits in pairs}
    stores = iter({id(array.store): array.store for array in arrays}.values())
    for layer in every_layer(model):
        own = {}
        layer.save_own_variables(own)
        store = next(stores) if own else {}
        layer.load_own_variables({key: values[id(store), key] for key in own})


def _value(spec, bits):
    if spec.dtype == "bool":
        return bits != 0
    return bits.view(getattr(ml_dtypes, spec.dtype, None) or np.dtype(spec.dtype))
