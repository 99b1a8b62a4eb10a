"""What a training step does to one variable beside its update: to its gradient before, to its weights after."""

import abc

from keras import ops


class StepRule(abc.ABC):
    """What a step does to one variable; a step is compiled for the rules alone, their numbers are in variables.

    Attributes:
        acts_after: bool, whether `after_update` does anything.
        state: tuple of the variables that it assigns to.
    """

    acts_after = False
    state = ()

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


class Rest(StepRule):
    """Nothing; also where the pull is a regularizer's in the loss."""

    def gradient(self, gradient, w, scale):
        return gradient


class GradientPull(StepRule):
    """A pull to the target, added to the gradient.

    Args:
        pull: function of the weights, `rho * (w - target)`.
    """

    def __init__(self, pull):
        self._pull = pull

    def gradient(self, gradient, w, scale):
        gradient, pull = dense(gradient, w), self._pull(w)
        return ops.cast(ops.cast(gradient, "float32") + (pull if scale == 1 else scale * pull), gradient.dtype)


class ProximalPull(StepRule):
    """A pull to the target after the update: `w <- (w + rho * target) / (1 + rho)`.

    Args:
        slot: `Slot` of the variable.
        pull: function of the weights, `rho * (w - target)`.
    """

    acts_after = True

    def __init__(self, slot, pull):
        self._slot = slot
        self._pull = pull

    def gradient(self, gradient, w, scale):
        return gradient

    def after_update(self, w):
        return ops.cast(ops.cast(w, "float32") - self._pull(w) / (1.0 + self._slot.rho), w.dtype)


class HeldAtZero(StepRule):
    """Another rule, and weights that are held at zero.

    Args:
        slot: `Slot` of the variable.
        others: `StepRule` of the others.
    """

    acts_after = True

    def __init__(self, slot, others):
        self._slot = slot
        self._others = others

    def gradient(self, gradient, w, scale):
        return self._slot.zero(dense(self._others.gradient(gradient, w, scale), w))

    def after_update(self, w):
        return self._slot.zero(self._others.after_update(w))


class HeldAtValues(StepRule):
    """Weights at values, but for those that are free."""

    acts_after = True

    def __init__(self, slot):
        self._slot = slot

    def gradient(self, gradient, w, scale):
        gradient = dense(gradient, w)
        return ops.where(self._slot.free, gradient, ops.zeros((), dtype=gradient.dtype))

    def after_update(self, w):
        return ops.where(self._slot.free, w, ops.cast(self._slot.target, w.dtype))


class AnyOfThese(StepRule):
    """Each weight as its target and rho say: pulled, held at zero, held at a value, or free.

    For steps that are compiled once for all phases, as in custom training loops.
    """

    acts_after = True

    def __init__(self, slot, pull):
        self._slot = slot
        self._pull = pull

    def gradient(self, gradient, w, scale):
        gradient = self._slot.zero(dense(self._pull.gradient(gradient, w, scale), w))
        return ops.where(self._slot.fixed, ops.zeros((), dtype=gradient.dtype), gradient)

    def after_update(self, w):
        return self._slot.restore(self._pull.after_update(w))


class FewValues(StepRule):
    """Weights that take few values.

    Args:
        slot: `Slot` of the variable.
        few: `Few` of the variable.
        mode: str, the method of `Few` that says what becomes of weights after an update.
        tied: bool, whether it is also what becomes of gradients, which else are those of the weights behind the values.
    """

    acts_after = True

    def __init__(self, slot, few, mode, tied):
        self._slot = slot
        self._few = few
        self._mode = mode
        self._tied = tied

    @property
    def state(self):
        return () if self._tied else tuple(self._few)

    def gradient(self, gradient, w, scale):
        gradient = dense(gradient, w)
        return getattr(self._few, self._mode)(gradient) if self._tied else self._slot.zero(gradient)

    def after_update(self, w):
        return getattr(self._few, self._mode)(w)


def dense(gradient, w):
    """A gradient as a tensor: TensorFlow gives that of an embedding as rows, and None where there is none."""
    return ops.zeros_like(w) if gradient is None else ops.convert_to_tensor(gradient)
