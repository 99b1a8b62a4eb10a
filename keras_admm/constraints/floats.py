"""Rounding to what a float dtype can hold, and moving tensors to the host and back."""

import keras
import numpy as np
from keras import ops

from keras_admm import checks
from keras_admm.constraints.summary import chunks

# dtype: its binary digits, the exponent of its smallest positive number, that of its largest.
FORMATS = {"float16": (11, -24, 16), "bfloat16": (8, -133, 128), "float32": (24, -149, 128)}


def digits(dtype):
    """How many binary digits a number of this dtype has."""
    return FORMATS[dtype][0]


def largest(dtype):
    """The largest finite number of this dtype."""
    count, _, exponent = FORMATS[dtype]
    return float(np.ldexp(1 - 2.0**-count, exponent))


def smallest(dtype):
    """The smallest positive number of this dtype."""
    return float(np.ldexp(1.0, FORMATS[dtype][1]))


def rounded(values, count, dtype):
    """The nearest numbers of this dtype that have no more than `count` binary digits, as float64."""
    exponent = np.maximum(np.frexp(values)[1] - count, FORMATS[dtype][1])
    return np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent)


def rounded_in_step(values, count):
    """The same of float32 tensors, from their bits: for a compiled step."""
    drop = 24 - count
    if not drop:
        return values
    bits = ops.view(values, dtype="int32")
    even = ops.bitwise_and(ops.right_shift(bits, drop), 1)
    return ops.view(ops.left_shift(ops.right_shift(bits + ((1 << (drop - 1)) - 1) + even, drop), drop), dtype="float32")


def largest_magnitude(array):
    """The largest magnitude of a NumPy array as a float, in one pass; NaN if there is one."""
    return max((float(np.max(np.abs(chunk))) for chunk in chunks(array)), default=0.0)


def on_host(name, project, x, traced=None):
    """`project(array, dtype)` of a tensor: float32 in, float32 out, and back to where the tensor was.

    Args:
        name: str, name used in error messages.
        project: function of a float32 NumPy array and the name of the dtype whose numbers it may return.
        x: NumPy array or backend tensor.
        traced: function of a tensor that a compiled step can hold, or None where there is none.
    """
    x = tensor(name, x)
    if isinstance(x, np.ndarray):
        # Projections are computed in float32; a float64 holds all its numbers.
        dtype = x.dtype.name if x.dtype.name in FORMATS else "float32"
        return project(_finite(name, x.astype("float32", copy=False)), dtype).astype(x.dtype, copy=False)
    dtype = keras.backend.standardize_dtype(x.dtype)
    try:
        array = ops.convert_to_numpy(x)
    except (NotImplementedError, TypeError):  # a symbol of TensorFlow's graph; of JAX's
        return _in_step(name, traced)(x)
    array = _finite(name, array.astype("float32", copy=False))
    return ops.convert_to_tensor(project(array, dtype if dtype in FORMATS else "float32"), dtype=dtype)


def tensor(name, x):
    """What a set is called with: a NumPy array of numbers as it is, anything else as a tensor of the backend."""
    try:
        x = x if isinstance(x, np.ndarray) else ops.convert_to_tensor(x)
        kind = str(x.dtype) if isinstance(x, np.ndarray) else keras.backend.standardize_dtype(x.dtype)
    except Exception:  # each backend has its own for what it can make no tensor of
        kind = ""
    if "float" not in kind and "int" not in kind:
        raise TypeError(checks.refused(name, "x", "a tensor or array of numbers", x, "Cast it to float32."))
    return x


def finite(name, x):
    """`tensor(name, x)`, which must hold no NaN and no infinity, where it has its numbers already."""
    x = tensor(name, x)
    if isinstance(x, np.ndarray):
        return _finite(name, x)
    try:
        sound = bool(ops.all(ops.isfinite(x)))
    except TypeError:  # a symbol in a compiled step: of TensorFlow's graph, of JAX's
        return x
    return _finite(name, x, sound)


def _finite(name, array, sound=None):
    if not (np.isfinite(largest_magnitude(array)) if sound is None else sound):
        raise ValueError(
            f"{name}: a tensor must be finite to be projected. Received: one with NaN or infinity. Lower the learning "
            "rate, or clip the gradients."
        )
    return array


def _in_step(name, traced):
    if traced is None:
        raise ValueError(
            f"{name}: this set is fitted to the numbers of the tensor, on the host. Received: a tensor inside a "
            "compiled step, which has no numbers yet. Use it in ADMM, between epochs; or as a `kernel_constraint` "
            "take Binary() or Levels(..., fit='max'), or run_eagerly=True."
        )
    return traced
