"""The variables that a training step's rule for one variable goes by: a target, the strength of a pull, its own."""

import keras
import numpy as np
from keras import ops

from keras_admm.constraints import library
from keras_admm.regularizers import ADMMRegularizer
from keras_admm.weights import view

# Stand in the target for "this weight is held at zero" and "this weight is not pulled", so that one tensor carries
# all. Finite, unlike NaN, so that no numeric check trips over the branch that is not taken; no weight comes near.
PRUNED = np.float32(1e30)
UNCONSTRAINED = np.float32(-1e30)
# Stands in rho for "what has a target is held there, not pulled". Not -1, whose 1 / (1 + rho) is infinite.
FIXED = np.float32(-2.0)


def marked(target, pruned=None, unconstrained=None):
    """An array as a target, with the marks of weights that are held at zero and of those that are left alone.

    Args:
        target: float32 array, or tensor of the backend.
        pruned: booleans of its shape, or None.
        unconstrained: the same; where a weight is both it is held at zero.
    """
    of = library(target)
    target = target if unconstrained is None else of.where(unconstrained, UNCONSTRAINED, target)
    return target if pruned is None else of.where(pruned, PRUNED, target)


class RuleState:
    """What the `StepRule`s of one variable are moved by, without compiling a step anew.

    Args:
        target: float32 `keras.Variable` of the weight's shape: `Z - U`, or the value at which the weight is held, or
            `PRUNED` where it is held at zero, or `UNCONSTRAINED` where it is neither.
        rho: float32 scalar variable, the strength of the pull, or `FIXED`.
        make: function of a name, a shape and a dtype that makes a variable of zeros which a training step can assign.
        look: function of a variable that returns its value for a look between two steps: `weights.view`, or
            `weights.on_device`.

    Attributes:
        own: dict of names to the variables that a rule has asked for beside these.
    """

    def __init__(self, target, rho, make, look=view):
        self.target = target
        self.rho = rho
        self.own = {}
        self.look = look
        self._make = make

    @property
    def variables(self):
        """All of them, a tuple."""
        return self.target, self.rho, *self.own.values()

    def require(self, specs):
        """Make the variables of a rule's own, `{name: (shape, dtype)}`; those that are there as they should be stay."""
        there = {name: (tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for name, v in self.own.items()}
        if specs and specs != there:
            self.own = {name: self._make(name, *spec) for name, spec in specs.items()}

    @property
    def pruned(self):
        """Where a weight is held at zero."""
        return ops.equal(self.target, PRUNED)

    @property
    def unconstrained(self):
        """Where a weight is left alone."""
        return ops.equal(self.target, UNCONSTRAINED)

    @property
    def pulled(self):
        """Where a weight has a value for its target."""
        return ops.less(ops.abs(self.target), PRUNED)

    @property
    def fixed(self):
        """Where a weight is held at the target's value."""
        return ops.logical_and(self.pulled, ops.less(self.rho, 0.0))

    def pull(self, w):
        """`rho * (w - target)`: float32, for targets without marks."""
        return ADMMRegularizer(self.target, self.rho).gradient(w)

    def pull_in_part(self, w):
        """The same where the weight is pulled, 0 elsewhere."""
        return ops.where(self.pulled, self.pull(w), 0.0)

    def penalty(self, w):
        """`rho / 2 * sum((w - target)^2)` over the pulled weights: a float32 scalar."""
        w = ops.cast(ops.convert_to_tensor(w), "float32")
        target = ops.where(self.pulled, ops.convert_to_tensor(self.target), w)
        return ADMMRegularizer(target, ops.maximum(self.rho, 0.0))(w)

    def zero(self, w):
        """`w` with the weights that are held at zero there."""
        w = ops.convert_to_tensor(w)
        return ops.where(self.pruned, ops.zeros((), dtype=w.dtype), w)

    def restore(self, w):
        """`w` with all weights that are held, at zero or at a value, where they are held."""
        w = self.zero(w)
        return ops.where(self.fixed, ops.cast(self.target, w.dtype), w)
