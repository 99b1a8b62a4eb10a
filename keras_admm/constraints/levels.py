"""Quantization levels: tensors whose weights are a scale times fixed multiples."""

import abc

import keras
import numpy as np
from keras import ops

from keras_admm import checks, hints
from keras_admm.constraints import floats
from keras_admm.constraints.base import Codes, Set
from keras_admm.constraints.scale import best_scale
from keras_admm.constraints.summary import chunks, summarize

ROOM = 1 << 22  # points that a scale's sweep may try: about half a second
VALUES = 1 << 14  # weights, or bins of them, that it may try these for
LEAST_ROOM = 1 << 15  # of one channel among many: some milliseconds
BITS = "One bit holds two levels, such as those of Binary(); with 0 among the levels it takes two."
SAMPLE = 64  # weights that are looked at before all of them are


class OnLevels(Set):
    """Tensors whose weights are a scale times members of a fixed grid of levels, or minus that.

    The scale is rounded to so few binary digits that every level is a number of the tensor's dtype, exactly: levels
    are then equally spaced to the last bit, an integer kernel gives the same numbers, and a tensor on levels is its own
    nearest member.

    Attributes:
        level_grid: float64 array, what the non-negative levels are multiples of, rising. 0 is its first where it is a
            level for every weight.
        digits: int, how many binary digits the grid's members have.
        keep_zeros: bool, whether weights that are exactly 0 stay so, on a grid without 0.
        scope: `"tensor"`, or `"channel"` for a scale of its own for each index of the last axis.
    """

    level_grid: np.ndarray
    digits: int
    keep_zeros: bool
    scope: str

    @abc.abstractmethod
    def nearest_level(self, units):
        """The nearest level of the grid for each weight's magnitude in units of the scale; in place if it can."""

    def __call__(self, x):
        return floats.on_host(type(self).__name__, self._project, x, self.in_step)

    def codes(self, z):
        by_channel = self.scope == "channel" and z.ndim > 1
        return Codes(z, by_channel, scaled=True, zeros_stay=self.keep_zeros)

    @property
    def in_step(self):
        """The projection as a function of a tensor in a compiled step, or None where it must see the numbers."""
        return None

    def scale(self, x, room):
        """The best scale for a float32 array; see `scale.best_scale`."""
        most = max(min(room // max(len(self.level_grid) - 1, 1), VALUES), 512)
        values, counts = summarize(x, most, zeros=not self.zeros_apart)
        return best_scale(np.abs(values), counts, self.level_grid, room)

    @property
    def zeros_apart(self):
        """Whether a zero stays zero whatever the scale."""
        return bool(self.keep_zeros or self.level_grid[0] == 0)

    def _project(self, x, dtype):
        self._check_holds(dtype)
        if self.scope == "tensor" or x.ndim < 2:
            return self._nearest(x, dtype, ROOM)
        channels = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)
        room = max(ROOM // len(channels), LEAST_ROOM)
        done = np.stack([self._nearest(channel, dtype, room) for channel in channels])
        return np.ascontiguousarray(done.T).reshape(x.shape)

    def _nearest(self, x, dtype, room):
        on_levels = self._as_it_is(x)
        if on_levels is not None:
            return on_levels
        return self._assign(x, self._rounded(self.scale(x, room), dtype))

    def _as_it_is(self, x):
        """The tensor itself if it is on levels, else None. If it is, its largest weight is on one of the levels."""
        largest = floats.largest_magnitude(x)
        levels = self.level_grid[self.level_grid > 0]
        apart = x.reshape(-1)[:: max(x.size // SAMPLE, 1)]
        while largest and levels.size:
            seen = np.unique(np.abs(apart)).astype("float64")
            # The remainder of a float division is exact.
            levels = levels[(np.fmod(np.multiply.outer(seen, levels), largest) == 0).all(axis=0)]
            if levels.size:
                same = self._assign(x, largest / levels[-1])
                apart = x[same != x][:SAMPLE]
                if not apart.size:
                    return same
                levels = levels[:-1]
        return None

    def _rounded(self, scale, dtype):
        """The scale in so few digits that all levels are exact, and none above the largest number."""
        top = self.level_grid[-1]
        count = floats.digits(dtype) - self.digits
        near = float(floats.rounded(min(scale, floats.largest(dtype) / top), count, dtype))
        if near * top > floats.largest(dtype):
            near = float(floats.rounded(near * (1 - 2.0**-count), count, dtype))
        return max(near, floats.smallest(dtype)) if scale else 0.0

    def _assign(self, x, scale):
        y = np.empty(x.size, "float32")
        for whole, part in zip(chunks(x), chunks(y), strict=True):
            self._assign_chunk(whole, part, scale)
        return y.reshape(x.shape)

    def _assign_chunk(self, x, y, scale):
        if scale == 0:
            y[:] = 0
            return
        np.abs(x, out=y)
        y /= np.float32(scale)
        y[:] = self.nearest_level(y)
        y *= np.float32(scale)
        np.copysign(y, x + np.float32(0), out=y)  # + 0: a negative zero has the sign of 0
        y += np.float32(0)
        if self.keep_zeros:
            y *= x != 0

    def _check_holds(self, dtype):
        if floats.digits(dtype) <= self.digits:
            raise ValueError(
                f"{type(self).__name__}: the levels must be numbers of the tensor's dtype. Received: "
                f"{len(self.level_grid)} levels a side for {dtype}, whose numbers have {floats.digits(dtype)} binary "
                "digits. Pass fewer bits, or keep the weights in float32."
            )


@keras.saving.register_keras_serializable("keras_admm")
class Levels(OnLevels):
    """Uniform symmetric quantization: tensors on equally spaced levels around zero.

    Called with `x` it returns the nearest member, `argmin_{q, n} ||q n - x||`, `n` whole numbers: with `zero=True` from
    `-(2^(bits-1) - 1)` to `2^(bits-1) - 1`, as symmetric integers of so many bits have them; with `zero=False` the set
    of the authors for a pruned tensor: its zeros stay 0, every other weight goes to `±1 ... ±2^(bits-1)`. Between two
    levels equally near, the one nearer to 0 is taken.

    The scale `q` is exact up to 16,384 weights and 4 million weights times levels: every scale at which a weight
    changes its level is tried. Beyond, the same is done on a histogram (bins of some thousandth of their value), and
    for more than 9 bits by a scan over scales, then assignment and scale in turn to a fixed point.

    Args:
        bits: int from 1 to 16; from 2 with 0 among the levels.
        zero: bool, whether 0 is a level.
        scope: `"tensor"` for one scale, `"channel"` for one for each output channel (the last axis).
        fit: `"least_squares"`, or `"max"`: `q = max|w| / (2^(bits-1) - 1)`, the grid of integer kernels, which
            then hold the weights exactly; the outermost levels are `2^(bits-1) - 1` in either case of `zero`.

    Returns when called:
        A tensor of the shape and dtype of its input, which may be a NumPy array or a tensor of the backend. In a
        compiled step (as a `kernel_constraint`) only `fit="max"` can be: the scale of least squares is found on the
        host.

    Raises:
        TypeError: for bits that are not a whole number.
        ValueError: for bits outside their range or an unknown choice; when called, for a tensor that is not finite, or
            whose dtype cannot hold so many levels.

    Example:

    >>> import numpy as np
    >>> Levels(3)(np.array([0.1, -2.2, 0.9, 2.9, 0.0], "float32"))
    array([ 0., -2.,  1.,  3.,  0.], dtype=float32)

    Reference: the levels of Ye et al., "Progressive Weight Pruning of Deep Neural Networks using ADMM",
    arXiv:1810.07378, and "A Unified Framework of DNN Weight Pruning and Weight Clustering/Quantization Using ADMM",
    arXiv:1811.01907, who scan for the interval once; the interval of least squares at each projection.
    """

    def __init__(
        self, bits: int, zero: bool = True, scope: hints.Scope = "tensor", fit: hints.ScaleFit = "least_squares"
    ):
        self.zero = checks.boolean("Levels", "zero", zero)
        self.fit = checks.choice("Levels", "fit", fit, ("least_squares", "max"))
        self.bits = checks.integer("Levels", "bits", bits, 1 if not zero and fit == "least_squares" else 2, 16, BITS)
        self.scope = checks.choice("Levels", "scope", scope, ("tensor", "channel"))
        self.keep_zeros = not self.zero
        count = 2 ** (self.bits - 1) - (self.zero or fit == "max")
        self.level_grid = np.arange(0 if self.zero else 1, count + 1, dtype="float64")
        self.digits = (count - 1).bit_length()

    def nearest_level(self, units):
        # Not rint, which takes halves to even: the level nearer to 0.
        units -= np.float32(0.5)
        np.ceil(units, out=units)
        return np.clip(units, float(self.level_grid[0]), float(self.level_grid[-1]), out=units)

    @property
    def in_step(self):
        return self._on_grid if self.fit == "max" else None

    def scale(self, x, room):
        if self.fit == "max":
            return float(np.float32(floats.largest_magnitude(x)) / np.float32(self.level_grid[-1]))
        return super().scale(x, room)

    def _on_grid(self, x):
        w = ops.cast(x, "float32")
        magnitudes = ops.abs(w)
        axes = None if self.scope == "tensor" else tuple(range(w.ndim - 1))
        scale = ops.max(magnitudes, axis=axes) / self.level_grid[-1]
        scale = floats.rounded_in_step(scale, floats.digits(keras.backend.standardize_dtype(x.dtype)) - self.digits)
        units = ops.ceil(magnitudes / ops.where(scale > 0, scale, 1.0) - 0.5)
        return ops.cast(ops.sign(w) * ops.clip(units, self.level_grid[0], self.level_grid[-1]) * scale, x.dtype)

    def get_config(self):
        return {"bits": self.bits, "zero": self.zero, "scope": self.scope, "fit": self.fit}
