"""What a training step does to one variable beside its update: to its gradient before, to its weights after."""

import abc
import copy
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_admm.attach.rule_state import FIXED, PRUNED, UNCONSTRAINED
from keras_admm.constraints import chunks, library, nonzeros


class StepRule(abc.ABC):
    """What a training step does to one variable. Made by a penalty or a way of retraining, and given to `Hold`.

    A step is compiled for the rules alone: their numbers are in the variables of a `RuleState`, so that moving them
    needs no new trace. A rule is made with its settings, which tell it from others of its class and are kept in the
    state of a run (what `get_config` returns: numbers, text, tuples, other rules); `Hold` binds it to a variable.

    Attributes:
        acts_after: bool, whether `after_update` does anything.
        holds_members: bool, whether weights that are where the rule holds them are in their set to the bit, so that
            nothing is left to project at the end of a run.
        zero: what stands in the target for a weight that is held at zero.
        state: the `RuleState` of the variable that it was bound to.
        pull: function of the weights, `rho * (w - target)`; as part of another rule, where a weight is pulled.

    Example, weights that stay non-negative:

    >>> class NonNegative(StepRule):
    ...     acts_after = True
    ...     def gradient(self, gradient, w, scale):
    ...         return gradient
    ...     def after_update(self, w):
    ...         return ops.relu(w)
    """

    acts_after: ClassVar[bool] = False
    holds_members: ClassVar[bool] = False
    zero: ClassVar[np.float32] = PRUNED
    state = None
    pull = None

    @abc.abstractmethod
    def gradient(self, gradient, w, scale):
        """The gradient for the optimizer.

        Args:
            gradient: tensor of the variable's shape, or None.
            w: the variable.
            scale: float, by how much the gradients that come in are scaled.
        """

    def after_update(self, w):
        """The weights after an update, a tensor, as they shall be."""
        return w

    @property
    def own_variables(self):
        """The variables that it needs in `state.own`, `{name: (shape, dtype)}`, beside the target and rho.

        They are 0 at first, and stay as they are as long as the rules of the variable ask for the same.
        """
        return {name: spec for part in self._parts.values() for name, spec in part.own_variables.items()}

    @property
    def assigned(self):
        """The variables of the state that `after_update` assigns to, a tuple."""
        return tuple(variable for part in self._parts.values() for variable in part.assigned)

    def set_target(self, target):
        """Move the target, an array of the variable's shape, between two steps; see `marked`."""
        self.state.target.assign(target)

    def end_pull(self):
        """Leave the weights without a pull to the target."""
        self.state.rho.assign(0.0)

    def zero_mask(self):
        """Booleans: the weights that are held at zero."""
        return self.state.look(self.state.target) == self.zero

    def restore(self, w):
        """An array of the weights, with those that are held where they are held."""
        return w

    def astray(self, w):
        """How many of an array of the weights are not where they are held."""
        return 0

    def bound(self, state, pull):
        """The same rule for a variable of a `RuleState`, and with it the rules that it is made of."""
        rule = copy.copy(self)
        parts = {name: part.bound(state, state.pull_in_part) for name, part in self._parts.items()}
        vars(rule).update(parts, state=state, pull=pull)
        return rule

    @property
    def _parts(self):
        """The rules that it is made of, by the names of its settings."""
        return {name: value for name, value in vars(self).items() if isinstance(value, StepRule)}

    def get_config(self):
        """The settings that it was made with."""
        return {name: value for name, value in vars(self).items() if name not in ("state", "pull")}

    @classmethod
    def from_config(cls, config):
        return cls(**keras.saving.deserialize_keras_object(config))

    def __eq__(self, other):
        """Whether both make the same training step."""
        return type(other) is type(self) and other.get_config() == self.get_config()

    def __hash__(self):
        return hash(type(self))


class Rest(StepRule):
    """Nothing; also where the pull is a regularizer's in the loss."""

    def gradient(self, gradient, w, scale):
        return gradient


class AddedToGradient(StepRule):
    """The target itself is added to the gradient."""

    def gradient(self, gradient, w, scale):
        gradient = dense(gradient, w)
        return ops.cast(ops.cast(gradient, "float32") + scale * self.state.target, gradient.dtype)


class GradientPull(StepRule):
    """A pull to the target, added to the gradient."""

    def gradient(self, gradient, w, scale):
        gradient, pull = dense(gradient, w), self.pull(w)
        return ops.cast(ops.cast(gradient, "float32") + (pull if scale == 1 else scale * pull), gradient.dtype)


class ProximalPull(StepRule):
    """A pull to the target after the update: `w <- (w + rho * target) / (1 + rho)`."""

    acts_after = True

    def gradient(self, gradient, w, scale):
        return gradient

    def after_update(self, w):
        return ops.cast(ops.cast(w, "float32") - self.pull(w) / (1.0 + self.state.rho), w.dtype)


class Holding(StepRule):
    """Base class of rules by which weights are held at zero, where the target says so."""

    acts_after = True

    def restore(self, w):
        return library(w).where(self.zero_mask(), np.float32(0), w)

    def astray(self, w):
        parts = zip(chunks(w), chunks(self.state.look(self.state.target)), strict=True)
        return sum(nonzeros(self._off(part, target)) for part, target in parts)

    def _off(self, w, target):
        """Booleans: the weights of a part that are not where they are held."""
        return (target == self.zero) & (w != 0)


@dataclass(frozen=True, eq=False)
class HeldAtZero(Holding):
    """Weights that are `PRUNED` are held at zero; the others are as another rule has them.

    Args:
        others: `StepRule` of the others.
    """

    others: StepRule = Rest()

    def gradient(self, gradient, w, scale):
        return self.state.zero(dense(self.others.gradient(gradient, w, scale), w))

    def after_update(self, w):
        return self.state.zero(self.others.after_update(w))

    def set_target(self, target):
        self.others.set_target(target)

    def end_pull(self):
        self.others.end_pull()


class HeldAtValues(Holding):
    """Weights are held at their targets, but for those that are `UNCONSTRAINED`."""

    holds_members = True
    zero = np.float32(0)

    def gradient(self, gradient, w, scale):
        gradient = dense(gradient, w)
        return ops.where(self.state.unconstrained, gradient, ops.zeros((), dtype=gradient.dtype))

    def after_update(self, w):
        return ops.where(self.state.unconstrained, w, ops.cast(self.state.target, w.dtype))

    def set_target(self, target):
        self.state.rho.assign(FIXED)
        super().set_target(target)

    def end_pull(self):
        """Nothing: what stands in rho holds the weights."""

    def restore(self, w):
        target = self.state.look(self.state.target)
        return library(w).where(target == UNCONSTRAINED, w, target)

    def _off(self, w, target):
        return (target != UNCONSTRAINED) & (w != target)


@dataclass(frozen=True, eq=False)
class AnyOfThese(StepRule):
    """Each weight as its target and rho say: pulled, held at zero, held at a value, or unconstrained.

    For steps that are compiled once for all phases, as in custom training loops.

    Args:
        pulled: `StepRule` of the weights that are pulled.
    """

    pulled: StepRule
    acts_after = True

    def does(self, rule):
        """Whether a step of this rule does what another says, once that has set its target."""
        return rule in (Rest(), self.pulled, HeldAtZero(), HeldAtZero(self.pulled), HeldAtValues())

    def gradient(self, gradient, w, scale):
        gradient = self.state.zero(dense(self.pulled.gradient(gradient, w, scale), w))
        return ops.where(self.state.fixed, ops.zeros((), dtype=gradient.dtype), gradient)

    def after_update(self, w):
        return self.state.restore(self.pulled.after_update(w))


def dense(gradient, w):
    """A gradient as a tensor: TensorFlow gives that of an embedding as rows, and None where there is none."""
    return ops.zeros_like(w) if gradient is None else ops.convert_to_tensor(gradient)
