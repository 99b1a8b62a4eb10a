"""Where retraining puts weights, and what a training step does to them from there on."""

import numpy as np

from keras_admm import attach
from keras_admm.constraints import Sparse, library


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


def hold_zeros(rule, w, constraint):
    """Weights off the support of their set are held at zero by an `attach.HeldAtZero`. Returns the weights then."""
    of, kept = library(w), constraint.support(w)
    rule.set_target(attach.marked(of.zeros_like(w), of.logical_not(kept)))
    return of.where(kept, w, np.float32(0))


def under(place, rule, hold, weights, sets, *how):
    """Each weight under the same rule, placed as it is reached."""
    hold.set_rules(dict.fromkeys(sets, rule))
    return ((name, place(hold.rules[name], weights[name], each, *how)) for name, each in sets.items())


def train_through(hold, name, w, constraint):
    """A weight is trained straight through the rounding. Returns where it is then: on its values."""
    z = np.array(constraint.project(w))
    codes = constraint.codes(z)
    values = value_table(codes)
    hold.set_rules({name: _rule_of(codes)(values.shape)})
    # Beside a value of 0, only what was 0 already stays so: others may leave it again.
    zeros = (w if codes.zero else z) == 0
    hold.rules[name].set_target(attach.marked(w - z, zeros if codes.zeros_stay else None))
    hold.rules[name].set_values(values)
    return z


def _rule_of(codes):
    if codes.scaled:
        return attach.StraightThroughScale
    return attach.StraightThroughValuesAndZero if codes.zero else attach.StraightThroughValues


def share_values(hold, name, w, constraint):
    """What is equal in a weight stays so, and is trained together. Returns where it is then: on its values."""
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
