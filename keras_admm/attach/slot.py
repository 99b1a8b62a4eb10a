"""What changes the training of one variable: a target, a strength, and what is held."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_admm.regularizers import ADMMRegularizer

# Stand in the target for "this weight is held at zero" and "this weight is not pulled", so that one tensor carries
# all. Finite, unlike NaN, so that no numeric check trips over the branch that is not taken; no weight comes near.
PRUNED = np.float32(1e30)
UNCONSTRAINED = np.float32(-1e30)
# Stands in rho for "what has a target is held there, not pulled". Not -1, whose 1 / (1 + rho) is infinite.
FIXED = np.float32(-2.0)


class Slot(NamedTuple):
    """What changes the training of one variable.

    Attributes:
        target: float32 variable of the weight's shape: `Z - U`, or the value at which the weight is held, or `PRUNED`
            where it is held at zero, or `UNCONSTRAINED` where it is neither.
        rho: float32 scalar variable, the strength of the pull, or `FIXED`.
    """

    target: keras.Variable
    rho: keras.Variable

    @property
    def held(self):
        return ops.equal(self.target, PRUNED)

    @property
    def free(self):
        return ops.equal(self.target, UNCONSTRAINED)

    @property
    def pulled(self):
        return ops.less(ops.abs(self.target), PRUNED)

    @property
    def fixed(self):
        """Where a weight is held at the target's value."""
        return ops.logical_and(self.pulled, ops.less(self.rho, 0.0))

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
        return ADMMRegularizer(target, ops.maximum(self.rho, 0.0))(w)

    def zero(self, w):
        """`w` with the weights that are held at zero there."""
        w = ops.convert_to_tensor(w)
        return ops.where(self.held, ops.zeros((), dtype=w.dtype), w)

    def restore(self, w):
        """`w` with all weights that are held where they are held."""
        w = self.zero(w)
        return ops.where(self.fixed, ops.cast(self.target, w.dtype), w)
