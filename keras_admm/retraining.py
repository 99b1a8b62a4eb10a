"""Masked, quantized and clustered retraining: how weights stay in their set after ADMM."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_admm import attach, checks
from keras_admm.constraints import Sparse


class Retraining(abc.ABC):
    """How weights stay in the set that they were projected on, while the model is retrained.

    Attributes:
        changes_step: bool, whether it needs a training step of its own, so that a step that was compiled before must be
            compiled anew.
    """

    changes_step: ClassVar[bool] = False

    @abc.abstractmethod
    def enter(self, hold, weights, sets, epoch, epochs):
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

    def settled(self, epoch, epochs):
        """Whether the weights are members of their sets after so many of the epochs."""
        return True

    def get_config(self):
        """What it was made with, by which a run that is resumed is known."""
        return dict(vars(self))


@dataclass(frozen=True)
class MaskedWeights(Retraining):
    """Weights off the support of their set stay zero; the others train freely.

    For sets that have a `support`. Reference: Ye et al., "Progressive Weight Pruning of Deep Neural Networks using
    ADMM", arXiv:1810.07378.
    """

    def enter(self, hold, weights, sets, epoch, epochs):
        return () if epoch else _each(_mask, attach.HeldAtZero(), hold, weights, sets)


@dataclass(frozen=True)
class Projected(Retraining):
    """Weights train freely, and are projected on their set again at the end of every epoch.

    For sets that say neither which weights are zero nor which values they take.
    """

    def enter(self, hold, weights, sets, epoch, epochs):
        if not epoch:
            hold.set_rules(dict.fromkeys(sets, attach.Rest()))
        return ((name, each.project(weights[name])) for name, each in sets.items())


class QuantizedRetraining(Retraining):
    """Base class for sets that have `codes`: after the last epoch all weights are put on their values exactly."""

    def enter(self, hold, weights, sets, epoch, epochs):
        if epoch == epochs:
            return _each(fix, attach.HeldAtValues(), hold, weights, sets)
        return () if epoch else self.begin(hold, weights, sets)

    @abc.abstractmethod
    def begin(self, hold, weights, sets):
        """What the weights are when retraining begins: an iterable as of `enter`."""


@dataclass(frozen=True)
class StraightThrough(QuantizedRetraining):
    """All weights are on their values from the start. Each batch's update goes to weights kept behind them, which
    choose their values anew, and the values follow at every step.

    Reference: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", arXiv:1308.3432.
    """

    changes_step: ClassVar[bool] = True

    def begin(self, hold, weights, sets):
        return ((name, _through(hold, name, weights[name], each)) for name, each in sets.items())


@dataclass(frozen=True)
class SharedValues(QuantizedRetraining):
    """All weights stay in the cluster, or on the multiple of the scale, that they start in. The clusters' values and
    the scales train.

    Reference: Han et al., "Deep Compression", arXiv:1510.00149, section 3.
    """

    changes_step: ClassVar[bool] = True

    def begin(self, hold, weights, sets):
        return ((name, _share(hold, name, weights[name], each)) for name, each in sets.items())


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

    def share(self, epoch, epochs):
        """The share that is on its values when so many of the epochs have passed."""
        return self.fractions[-1 if epoch >= epochs else epoch * len(self.fractions) // epochs]

    def settled(self, epoch, epochs):
        return self.share(epoch, epochs) == 1

    def enter(self, hold, weights, sets, epoch, epochs):
        share = self.share(epoch, epochs)
        same = 0 < epoch < epochs and share == self.share(epoch - 1, epochs)
        return () if same else _each(fix, attach.HeldAtValues(), hold, weights, sets, share)


NAMED = {"straight_through": StraightThrough, "snap": Snap, "shared_values": SharedValues}


def get(retraining, name="retraining"):
    """A way of retraining on few values by its name, with its defaults, or as it is.

    Example:

    >>> get("snap")
    Snap(fractions=(0.5, 0.75, 0.9, 1.0))
    """
    if isinstance(retraining, Retraining):
        return retraining
    if not isinstance(retraining, str) or retraining not in NAMED:
        must = f"one of {', '.join(map(repr, NAMED))}, or a keras_admm.retraining object"
        raise ValueError(checks.refused(name, "retraining", must, retraining, "Pass for example Snap((0.5, 1.0))."))
    return NAMED[retraining]()


def retraining_of(constraint, on_few_values):
    """How the weights of a set are retrained, those on few values in the given way."""
    if constraint.says_support:
        return MaskedWeights()
    return on_few_values if constraint.says_codes else Projected()


def fix(rule, w, constraint, share=1):
    """The share of the weights that is nearest to its values goes there and is held; the rest trains on.

    The set is chosen anew each time, so its levels still move with the weights; a share of 1 takes all.

    Args:
        rule: the `attach.HeldAtValues` of the variable, as `hold.rules` has it.
        w: float32 array, the weights.
        constraint: their `Set`.
        share: float in (0, 1].

    Returns:
        The weights then.
    """
    z = np.array(constraint.project(w))
    free = Sparse(share).support(np.abs(w - z)) & (w != z) if share < 1 else np.zeros(w.shape, bool)
    rule.set_target(attach.marked(z, unconstrained=free))
    return np.where(free, w, z)


def _mask(rule, w, constraint):
    kept = np.asarray(constraint.support(w))
    rule.set_target(attach.marked(np.zeros_like(w), ~kept))
    return np.where(kept, w, np.float32(0))


def _each(place, rule, hold, weights, sets, *how):
    """Each weight under the same rule, placed as it is reached."""
    hold.set_rules(dict.fromkeys(sets, rule))
    return ((name, place(hold.rules[name], weights[name], each, *how)) for name, each in sets.items())


def _through(hold, name, w, constraint):
    z = np.array(constraint.project(w))
    codes = constraint.codes(z)
    values = value_table(codes)
    hold.set_rules({name: _straight_through(codes)(values.shape)})
    # Beside a value of 0, only what was 0 already stays so: others may leave it again.
    zeros = (w if codes.zero else z) == 0
    hold.rules[name].set_target(attach.marked(w - z, zeros if codes.zeros_stay else None))
    hold.rules[name].set_values(values)
    return z


def _straight_through(codes):
    if codes.scaled:
        return attach.StraightThroughScale
    return attach.StraightThroughValuesAndZero if codes.zero else attach.StraightThroughValues


def _share(hold, name, w, constraint):
    z = np.array(constraint.project(w))
    codes = constraint.codes(z)
    target, shares = (multiples if codes.scaled else clusters)(codes)
    kind = attach.SharedScale if codes.scaled else attach.SharedClusters
    hold.set_rules({name: kind(shares.shape)})
    hold.rules[name].set_target(target)
    hold.rules[name].set_shares(shares)
    return z


def value_table(codes):
    """The values of a member of a set, rising, a column for each channel; and up to a power of two `PRUNED`."""
    columns = codes.values
    count = 1 << (max(map(len, columns)) - 1).bit_length()
    filled = [np.concatenate([values, np.repeat(attach.PRUNED, count - values.size)]) for values in columns]
    return np.stack(filled, axis=1).astype("float32")


def multiples(codes):
    """The pattern whose scale is trained, its largest weight from a half to 1; and 1 / the sum of its squares."""
    z = codes.z
    axes = tuple(range(z.ndim - 1)) if codes.by_channel else None
    pattern = np.ldexp(z, -np.frexp(np.abs(z).max(axis=axes))[1])  # a power of two: nothing is rounded
    squares = np.atleast_1d(np.square(pattern, dtype="float64").sum(axis=axes))
    return pattern, np.divide(1, squares, out=np.zeros_like(squares), where=squares > 0).astype("float32")


def clusters(codes):
    """Each weight's cluster in its channel, from 1, or 0 for a zero that stays; and 1 / how many weights each has."""
    ids = np.stack([np.where(c == 0, 0, np.unique(c, return_inverse=True)[1] + 1) for c in codes.rows])
    counts = np.stack([np.bincount(row, minlength=ids.max() + 1) for row in ids], axis=1)
    counts[0] = 0
    shares = np.divide(1, counts, out=np.zeros(counts.shape), where=counts > 0)
    return ids.T.reshape(codes.z.shape).astype("float32"), shares.astype("float32")
