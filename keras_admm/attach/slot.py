"""What one variable's training is bent by: a target, a strength, and zeros that are held."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_admm.regularizers import ADMMRegularizer

# Stand in the target for "this weight is held at zero" and "this weight is not pulled", so that one tensor carries
# all. Finite, unlike NaN, so that no numeric check trips over the branch that is not taken; no weight comes near.
HELD = np.float32(1e30)
FREE = np.float32(-1e30)


class Slot(NamedTuple):
    """What one variable's training is bent by.

    Attributes:
        target: float32 variable of the weight's shape: `Z - U`, or `HELD` where the weight is held at zero, or
            `FREE` where it is not pulled.
        rho: float32 scalar variable, the strength of the pull.
        values: float32 variable that says more of a set of few values, or None; see `nearest` and `tied`.
    """

    target: keras.Variable
    rho: keras.Variable
    values: keras.Variable | None = None

    @property
    def held(self):
        return ops.equal(self.target, HELD)

    @property
    def free(self):
        return ops.equal(self.target, FREE)

    @property
    def pulled(self):
        return ops.less(ops.abs(self.target), HELD)

    @property
    def regularizer(self):
        return ADMMRegularizer(self.target, self.rho)

    def pull(self, w):
        """`rho * (w - target)` where the weight is pulled, 0 elsewhere: float32."""
        return ops.where(self.pulled, self.regularizer.gradient(w), 0.0)

    def penalty(self, w):
        """`rho / 2 * sum((w - target)^2)` over the pulled weights: a float32 scalar."""
        w = ops.cast(ops.convert_to_tensor(w), "float32")
        target = ops.where(self.pulled, ops.convert_to_tensor(self.target), w)
        return ADMMRegularizer(target, self.rho)(w)

    def zero(self, w):
        """`w` with the held weights at zero."""
        w = ops.convert_to_tensor(w)
        return ops.where(self.held, ops.zeros((), dtype=w.dtype), w)

    def nearest(self, x):
        """For each of `x` the nearest of `values`: rising, `(2**n, 1)` for all or `(2**n, channels)`, any repeated."""
        values = ops.convert_to_tensor(self.values)
        count, channels = values.shape
        middles = ops.reshape((values[1:] + values[:-1]) / 2, (-1,))
        offset = ops.arange(channels)
        place = ops.zeros(x.shape, "int32")
        # A search by halves: a comparison for each bit, where one for each value would fill the memory.
        for half in (count >> bit for bit in range(1, count.bit_length())):
            above = ops.greater(x, ops.take(middles, (place + (half - 1)) * channels + offset))
            place = place + half * ops.cast(above, "int32")
        return ops.take(ops.reshape(values, (-1,)), place * channels + offset)

    def through(self, w):
        """The nearest values to the weights that are really trained, which moved as far as `w` did from theirs.

        The target keeps by how much the trained weights differ from `w`; so the optimizer, which knows `w` alone,
        trains them straight through the rounding.
        """
        gap = ops.where(self.held, 0.0, ops.convert_to_tensor(self.target))
        trained = ops.cast(w, "float32") + gap
        near = self.nearest(trained)
        self.target.assign(ops.where(self.held, HELD, trained - near))
        return self.zero(ops.cast(near, w.dtype))

    def tied_values(self, x):
        """`x` with the mean of its cluster for each: `target` numbers the clusters, `values` are 1 / their sizes."""
        flat, places = ops.reshape(ops.cast(x, "float32"), (-1,)), ops.reshape(ops.cast(self.target, "int32"), (-1,))
        means = ops.segment_sum(flat, places, self.values.shape[0]) * self.values
        return ops.cast(ops.reshape(ops.take(means, places), x.shape), x.dtype)

    def tied_scale(self, x):
        """The multiple of `target` that is nearest to `x`: `values` are 1 / its squares' sum, for all or by channel."""
        axes = tuple(range(len(x.shape) - 1)) if self.values.shape[0] > 1 else None
        pattern = ops.convert_to_tensor(self.target)
        scale = ops.sum(ops.cast(x, "float32") * pattern, axis=axes) * self.values
        return ops.cast(scale * pattern, x.dtype)
