"""A smaller model tried against the one that it stands for, on random inputs."""

import keras
import numpy as np
from keras import ops

from keras_admm import inference

OPEN = 16  # the size of an axis of the inputs that is open
# How far outputs may differ in all, of the largest, or of 1 where that is more, by the dtype that is computed in.
ALLOWED = {"float16": 2e-2, "bfloat16": 1e-1}


def difference(model, other):
    """How far the outputs of two models differ at most on random inputs, and how far they may.

    Args:
        model, other: built Keras 3 models of the same inputs and outputs.

    Returns:
        `(differs, allowed)`: floats, in units of the largest magnitude of the model's outputs, or of 1 where that is
        smaller.
    """
    x = keras.tree.map_structure(_random, model.input if not isinstance(model, keras.Sequential) else model.inputs[0])
    first, second = (_outputs(each, x) for each in (model, other))
    scale = max(1.0, *(float(np.max(np.abs(y), initial=0.0)) for y in first))
    differs = max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(first, second, strict=True))
    computed = {layer.compute_dtype for layer in model._flatten_layers() if isinstance(layer, keras.layers.Layer)}
    return differs / scale, max(ALLOWED.get(dtype, 1e-4) for dtype in computed)


def _outputs(model, x):
    return [ops.convert_to_numpy(ops.cast(y, "float32")) for y in keras.tree.flatten(inference.call(model, x))]


def _random(symbol):
    rng = np.random.default_rng(0)
    batch, *sizes = symbol.shape
    shape = (batch or 2, *(size or OPEN for size in sizes))
    dtype = keras.backend.standardize_dtype(symbol.dtype)
    if "float" in dtype:
        return ops.cast(rng.normal(size=shape).astype("float32"), dtype)
    return ops.cast(rng.integers(0, 2, shape), dtype)
