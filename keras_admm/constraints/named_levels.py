"""Binary, ternary and power-of-two quantization levels."""

import keras
import numpy as np
from keras import ops

from keras_admm import checks, hints
from keras_admm.constraints.levels import BITS, OnLevels


@keras.saving.register_keras_serializable("keras_admm")
class Binary(OnLevels):
    """Binary weights: tensors of two values, `+q` and `-q`.

    Called with `x` it returns the nearest member, `argmin_{q, s} ||q s - x||`, `s` of signs: `sign(x) * mean|x|`. The
    sign of 0 is +1.

    Args:
        scope: `"tensor"` for one scale, `"channel"` for one for each output channel (the last axis).
        keep_zeros: bool. True, for a pruned tensor: its zeros stay 0, and the mean is of the others.

    Example:

    >>> import numpy as np
    >>> Binary()(np.array([0.5, -1.5, 1.0], "float32"))
    array([ 1., -1.,  1.], dtype=float32)

    Reference: Rastegari et al., "XNOR-Net", arXiv:1603.05279, section 3.1, for the minimiser; by ADMM, Ye et al.,
    "Progressive DNN Compression", arXiv:1903.09769.
    """

    level_grid = np.array([1.0])
    digits = 0

    def __init__(self, scope: hints.Scope = "tensor", keep_zeros: bool = False):
        self.scope = checks.choice("Binary", "scope", scope, ("tensor", "channel"))
        self.keep_zeros = checks.boolean("Binary", "keep_zeros", keep_zeros)

    def nearest_level(self, units):
        return 1.0

    @property
    def in_step(self):
        return self._signs

    def _signs(self, x):
        w = ops.cast(x, "float32")
        signs = ops.sign(w) if self.keep_zeros else ops.where(w < 0, -1.0, 1.0)
        axes = None if self.scope == "tensor" else tuple(range(w.ndim - 1))
        unit = ops.clip(ops.max(ops.abs(w), axis=axes), 1e-36, 1e36)  # in which float32 holds the sum; see `_norms`
        sums, count = ops.sum(ops.abs(w) / unit, axis=axes), ops.sum(ops.abs(signs), axis=axes)
        scale = sums / ops.maximum(count, 1.0) * unit
        return ops.cast(signs * scale, x.dtype)

    def get_config(self):
        return {"scope": self.scope, "keep_zeros": self.keep_zeros}


@keras.saving.register_keras_serializable("keras_admm")
class Ternary(OnLevels):
    """Ternary weights: tensors of three values, `+q`, 0 and `-q`.

    Called with `x` it returns the nearest member, `argmin_{q, t} ||q t - x||`, `t` of -1, 0 and 1: the `k` largest
    magnitudes go to their mean, with the `k` that makes `(sum of the k largest)^2 / k` greatest.

    Args:
        scope: `"tensor"` for one scale, `"channel"` for one for each output channel (the last axis).
        keep_zeros: bool, whether training to the set holds what is zero already, as for a pruned tensor. The nearest
            member is the same.

    Example:

    >>> import numpy as np
    >>> Ternary()(np.array([0.1, -1.5, 0.5, 0.2], "float32"))
    array([ 0. , -1.5,  0. ,  0. ], dtype=float32)

    Reference: Li et al., "Ternary Weight Networks", arXiv:1605.04711, whose threshold is a rule of thumb for this one.
    """

    level_grid = np.array([0.0, 1.0])
    digits = 0

    def __init__(self, scope: hints.Scope = "tensor", keep_zeros: bool = False):
        self.scope = checks.choice("Ternary", "scope", scope, ("tensor", "channel"))
        self.keep_zeros = checks.boolean("Ternary", "keep_zeros", keep_zeros)

    def nearest_level(self, units):
        return units > 0.5

    def get_config(self):
        return {"scope": self.scope, "keep_zeros": self.keep_zeros}


@keras.saving.register_keras_serializable("keras_admm")
class PowersOfTwo(OnLevels):
    """Power-of-two quantization: each level is twice the one before, so that a product with a weight is a bit shift.

    Called with `x` it returns the nearest member, `argmin_{q, n} ||q n - x||`, `n` from the powers of two: with
    `zero=True` 0 and `±2^0 ... ±2^(2^(bits-1) - 2)`; with `zero=False`, for a pruned tensor, its zeros stay 0 and
    every other weight goes to `±2^0 ... ±2^(2^(bits-1) - 1)`. The scale `q` is found as that of `Levels`.

    Args:
        bits: int from 1 to 6; from 2 with 0 among the levels. Six bits span 9 decimal orders of magnitude.
        zero: bool, whether 0 is a level.
        scope: `"tensor"` for one scale, `"channel"` for one for each output channel (the last axis).

    Example:

    >>> import numpy as np
    >>> PowersOfTwo(3)(np.array([1.4, -1.8, 4.0, 0.2], "float32"))
    array([ 1., -2.,  4.,  0.], dtype=float32)

    Reference: Zhou et al., "Incremental Network Quantization", arXiv:1702.03044, whose scale is a power of two itself.
    """

    digits = 0

    def __init__(self, bits: int, zero: bool = True, scope: hints.Scope = "tensor"):
        self.zero = checks.boolean("PowersOfTwo", "zero", zero)
        self.bits = checks.integer("PowersOfTwo", "bits", bits, 2 if zero else 1, 6, BITS)
        self.scope = checks.choice("PowersOfTwo", "scope", scope, ("tensor", "channel"))
        self.keep_zeros = not self.zero
        powers = 2.0 ** np.arange(2 ** (self.bits - 1) - self.zero)
        self.level_grid = np.concatenate([[0.0], powers]) if self.zero else powers

    def nearest_level(self, units):
        middles = ((self.level_grid[1:] + self.level_grid[:-1]) / 2).astype("float32")
        return self.level_grid[np.searchsorted(middles, units)]

    def get_config(self):
        return {"bits": self.bits, "zero": self.zero, "scope": self.scope}
