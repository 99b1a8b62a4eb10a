"""Pruning with splicing: weights below a threshold are zero, train on behind that, and come back above it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from keras import ops

from keras_admm.attach.rules import Holding


@dataclass(frozen=True, eq=False)
class Spliced(Holding):
    """Weights at or below 0.9 of a threshold become zero, and come back above 1.1 of it: what they are worth is trained
    on behind the zero, by the gradient that the loss has at the masked weights.

    The target keeps what a weight that is off is worth, which fades, and is 0 where it is on. With `decay`, masks are
    looked at more and more seldom, in a share of `1 / (1 + decay * steps)` of the steps.

    Args:
        decay: float >= 0.
        fade: float in `[0, 1)`, by what share a weight that is off comes nearer to 0 with each step. Without it an
            optimizer that divides by the size of the gradients, as Adam does, carries weights which the loss hardly
            feels across the threshold, one after the other.
    """

    decay: float = 0.0
    fade: float = 0.0

    # By what a magnitude is multiplied before it is compared with the threshold: of a weight that is off, and one that
    # is on. In between a weight stays what it is, so that none comes and goes with every step.
    SCALES: ClassVar[tuple] = (1 / 1.1, 1 / 0.9)

    @property
    def own_variables(self):
        """The threshold, below 0 where masks stay as they are; and how many steps there were."""
        return {"threshold": ((), "float32"), "steps": ((), "int32")}

    @property
    def assigned(self):
        return self.state.target, self.state.own["steps"]

    def set_threshold(self, threshold):
        """Set the threshold, a float, or None for masks that stay as they are."""
        self.state.own["threshold"].assign(-1.0 if threshold is None else threshold)

    def gradient(self, gradient, w, scale):
        return gradient

    def after_update(self, w):
        target, steps = self.assigned
        behind, threshold = ops.convert_to_tensor(target), ops.convert_to_tensor(self.state.own["threshold"])
        off = ops.not_equal(behind, 0.0)
        trained = ops.cast(w, "float32") + behind * np.float32(1 - self.fade)
        size = ops.abs(trained) * ops.where(off, *self.SCALES)
        on = ops.where(self._due(steps, threshold), size > threshold, ops.logical_not(off))
        target.assign(ops.where(on, 0.0, trained))
        steps.assign(steps + 1)
        return ops.where(on, ops.cast(trained, w.dtype), ops.zeros((), dtype=w.dtype))

    def _due(self, steps, threshold):
        """Whether the masks are looked at: at first, and when the sum of the shares so far passes a whole number."""
        looks = threshold >= 0
        if not self.decay:
            return looks
        before = ops.cast(steps, "float32")
        passed = (ops.ceil(ops.log1p(self.decay * n) / self.decay) for n in (before + 1, before))
        return ops.logical_and(looks, ops.greater(*passed))

    def zero_mask(self):
        return np.array(ops.convert_to_numpy(self.state.target)) != 0

    def _off(self, w, target):
        return (target != 0) & (w != 0)
