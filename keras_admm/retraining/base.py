"""Retraining: how weights stay in their set after ADMM."""

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from keras_admm import attach
from keras_admm.constraints import Set
from keras_admm.retraining.placement import hold_zeros, under


class Retraining(abc.ABC):
    """How weights stay in the set that they were projected on, while the model is retrained.

    Attributes:
        changes_step: bool, whether it needs a training step of its own, so that a step that was compiled before must be
            compiled anew.
    """

    changes_step: ClassVar[bool] = False

    @abc.abstractmethod
    def enter(
        self, hold: attach.Hold, weights: Mapping[str, Any], sets: Mapping[str, Set], epoch: int, epochs: int
    ) -> Iterable[str]:
        """What the weights are from here on, and what a training step does to them.

        Args:
            hold: the `attach.Hold` of the model. Its `set_rules` takes an `attach.StepRule` for each name, of this
                package or your own, whose target is then set through `hold.rules[name]`.
            weights: dict of names to float32 arrays.
            sets: dict of the names to retrain to their `Set`s.
            epoch: int, how many epochs of retraining have passed.
            epochs: int, of how many. When all have, the weights must be members of the sets and stay as they are.

        Returns:
            An iterable of the names and arrays of the weights that may have moved, each placed as it is reached.
        """

    def settled(self, epoch: int, epochs: int) -> bool:
        """Whether the weights are members of their sets after so many of the epochs."""
        return True

    def get_config(self) -> dict[str, Any]:
        """What it was made with, by which a run that is resumed is known."""
        return dict(vars(self))


@dataclass(frozen=True)
class MaskedWeights(Retraining):
    """Weights off the support of their set stay zero; the others train freely.

    For sets that have a `support`. Reference: Ye et al., "Progressive Weight Pruning of Deep Neural Networks using
    ADMM", arXiv:1810.07378.
    """

    def enter(self, hold, weights, sets, epoch, epochs):
        return () if epoch else under(hold_zeros, attach.HeldAtZero(), hold, weights, sets)


@dataclass(frozen=True)
class Projected(Retraining):
    """Weights train freely, and are projected on their set again at the end of every epoch.

    For sets that say neither which weights are zero nor which values they take.
    """

    def enter(self, hold, weights, sets, epoch, epochs):
        if not epoch:
            hold.set_rules(dict.fromkeys(sets, attach.Rest()))
        return ((name, each.project(weights[name])) for name, each in sets.items())
