"""Quantized and clustered retraining: straight through the rounding, with shared values, or in shares."""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

from keras_admm import attach, checks
from keras_admm.retraining.base import Retraining
from keras_admm.retraining.placement import fix, share_values, train_through, under


class QuantizedRetraining(Retraining):
    """Base class for sets that have `codes`: after the last epoch all weights are put on their values exactly."""

    def enter(self, hold, weights, sets, epoch, epochs):
        if epoch == epochs:
            return under(fix, attach.HeldAtValues(), hold, weights, sets)
        return () if epoch else self.begin(hold, weights, sets)

    @abc.abstractmethod
    def begin(self, hold, weights, sets):
        """What the weights are when retraining begins: an iterable as of `enter`."""


@dataclass(frozen=True)
class StraightThrough(QuantizedRetraining):
    """All weights are on their values from the start. Each batch's update goes to weights kept behind them, which
    choose their values anew, and the values follow at every step. In the last epochs no weight leaves its value any
    more, and the values and all that is not compressed are trained to go with that, as by `SharedValues`.

    Args:
        settle: float in `[0, 1)`, the share of the epochs of retraining in which weights stay on their values: at least
            the last of two and more, unless it is 0.

    Raises:
        ValueError, TypeError: for anything else.

    Example:

    >>> [StraightThrough().settling(epochs) for epochs in (1, 2, 6, 20)]
    [0, 1, 2, 5]

    Reference: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", arXiv:1308.3432; that weights which jump between values to the end cost accuracy: Nagel et al.,
    "Overcoming Oscillations in Quantization-Aware Training", arXiv:2203.11086.
    """

    settle: float = 0.25

    changes_step: ClassVar[bool] = True

    def __post_init__(self):
        must, remedy = "a number from 0 to below 1", "Use 0.25 for the last quarter of the epochs, 0 for none."
        share = checks.number("StraightThrough", "settle", self.settle, 0, must, remedy)
        if share >= 1:
            raise ValueError(checks.refused("StraightThrough", "settle", must, self.settle, remedy))
        object.__setattr__(self, "settle", share)

    def settling(self, epochs: int) -> int:
        """In how many of the epochs, the last ones, weights stay on their values."""
        return min(math.ceil(self.settle * epochs), epochs - 1)

    def enter(self, hold, weights, sets, epoch, epochs):
        if 0 < epoch == epochs - self.settling(epochs) < epochs:
            hold.renew_optimizers()
            return ((name, share_values(hold, name, weights[name], each)) for name, each in sets.items())
        return super().enter(hold, weights, sets, epoch, epochs)

    def begin(self, hold, weights, sets):
        return ((name, train_through(hold, name, weights[name], each)) for name, each in sets.items())


@dataclass(frozen=True)
class SharedValues(QuantizedRetraining):
    """All weights stay in the cluster, or on the multiple of the scale, that they start in. The clusters' values and
    the scales train.

    Reference: Han et al., "Deep Compression", arXiv:1510.00149, section 3.
    """

    changes_step: ClassVar[bool] = True

    def begin(self, hold, weights, sets):
        return ((name, share_values(hold, name, weights[name], each)) for name, each in sets.items())


@dataclass(frozen=True)
class Snap(Retraining):
    """In shares the weights go to their values and freeze there, the nearest first, while the rest trains on.

    Args:
        fractions: rising shares, the last 1: how much of each weight is on its value at the start of each equal part of
            the retraining epochs.

    Raises:
        ValueError, TypeError: for anything else.

    Example:

    >>> [Snap((0.5, 1.0)).share(epoch, 4) for epoch in range(5)]
    [0.5, 0.5, 1.0, 1.0, 1.0]

    Reference: Ye et al., "A Unified Framework of DNN Weight Pruning and Weight Clustering/Quantization Using ADMM",
    arXiv:1811.01907.
    """

    fractions: tuple = (0.5, 0.75, 0.9, 1.0)

    def __post_init__(self):
        must = "rising shares in (0, 1], the last of them 1"
        remedy = "Write for example (0.5, 0.75, 1.0), or (1.0,) to put all on their values at once."
        given = self.fractions
        if not isinstance(given, (list, tuple)):
            raise TypeError(checks.refused("Snap", "fractions", must, given, remedy))
        shares = [checks.number("Snap", "fractions", share, 0, must, remedy) for share in given]
        if not shares or any(a >= b for a, b in zip([0.0, *shares], shares, strict=False)) or shares[-1] != 1:
            raise ValueError(checks.refused("Snap", "fractions", must, given, remedy))
        object.__setattr__(self, "fractions", tuple(shares))

    def share(self, epoch: int, epochs: int) -> float:
        """The share that is on its values when so many of the epochs have passed."""
        return self.fractions[-1 if epoch >= epochs else epoch * len(self.fractions) // epochs]

    def settled(self, epoch, epochs):
        return self.share(epoch, epochs) == 1

    def enter(self, hold, weights, sets, epoch, epochs):
        share = self.share(epoch, epochs)
        same = 0 < epoch < epochs and share == self.share(epoch - 1, epochs)
        return () if same else under(fix, attach.HeldAtValues(), hold, weights, sets, share)
