"""Kernels that `model.quantize` has packed, several weights in a byte: the weights, one by one."""

import keras
import numpy as np
from keras import ops

from keras_admm.graph import every_layer

WAYS = ("int4", "gptq", "awq")  # of `model.quantize` that pack weights
NAMES = ("kernel", "embeddings", "reverse_embeddings")


class _WithoutLora:
    """A layer as its properties see it, but for the change of its kernel that LoRA makes."""

    lora_enabled = False

    def __init__(self, layer):
        self._layer = layer

    def __getattr__(self, name):
        return getattr(self._layer, name)


def unpacked(model):
    """The weights of kernels that are stored packed, as integers: 0 is a weight of zero.

    Returns:
        A dict of `id(variable)` to a float32 array of the kernel's own shape.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    >>> model.layers[0].quantize("int4")
    >>> [array.shape for array in unpacked(model).values()]
    [(4, 6)]
    """
    found = {}
    for layer in (x for x in every_layer(model) if getattr(x, "quantization_mode", None) in WAYS):
        for name in NAMES:
            stored = _stored(layer, name)
            if stored is not None:
                value = ops.convert_to_numpy(_value(layer, name, stored)).astype(np.float32)
                found[id(stored)] = value - _zero_points(layer, name, value.shape)
    return found


def _stored(layer, name):
    """The variable that holds a kernel in packed form, or None."""
    held = vars(layer)
    if layer.quantization_mode == "int4":
        return held.get(f"_{name}", held.get(name))
    # Until GPTQ and AWQ have seen data, the float kernel beside it is in use.
    return held.get(f"quantized_{name}") if f"_{name}" not in held else None


def _value(layer, name, stored):
    if isinstance(getattr(type(layer), name, None), property):
        return getattr(type(layer), name).fget(_WithoutLora(layer))
    return keras.quantizers.unpack_int4(stored, layer.output_dim, axis=0)


def _zero_points(layer, name, shape):
    """What is subtracted from the stored integers: of each group of weights its own, or nothing."""
    zeros, groups = vars(layer).get(f"{name}_zero"), vars(layer).get("g_idx")
    if zeros is None or groups is None:
        return np.float32(0)
    along = 0 if layer.quantization_mode == "int4" and name != "embeddings" else -1
    zeros, groups = (ops.convert_to_numpy(x).astype(kind) for x, kind in ((zeros, "float32"), (groups, int)))
    return np.take(zeros, groups, axis=along).reshape(shape)
