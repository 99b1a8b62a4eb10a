"""Few values for many weights: how weights whose set says what they are, not only which are zero, are retrained."""

import itertools

import numpy as np

from keras_admm.attach import FEW, HELD
from keras_admm.constraints import Sparse
from keras_admm.constraints.summary import chunks


class Places:
    """The places of weights on levels and in clusters, in the way of retraining that the plan names.

    Args:
        plan: the `keras_admm.plan.Plan` of the run.
        held: the `attach.Hold` of the model.
    """

    def __init__(self, plan, held):
        self._plan = plan
        self._held = held

    @property
    def taken(self):
        """Whether any weights are in places, or on the way there."""
        return bool({"fix", *FEW} & set(self._held.modes.values()))

    def enter(self, arrays, sets, epoch, epochs):
        """What the weights are from here on.

        Args:
            arrays: dict of names to float32 arrays.
            sets: dict of names to constraints.
            epoch: int, how many epochs of retraining have passed.
            epochs: int, of how many. When all have, the weights are members of the sets and stay as they are.

        Returns:
            An iterator over the names and the arrays of the weights that may have moved, each placed as it is reached.
        """
        way = self._plan.retraining
        if way == "snap" or epoch == epochs:
            share = self._plan.snapped(epoch, epochs)
            same = 0 < epoch < epochs and share == self._plan.snapped(epoch - 1, epochs)
            return () if same else self._each(self._snap, "fix", arrays, sets, share)
        if epoch:
            return ()
        place, mode = (self._through, "through") if way == "straight_through" else (self._tie, "tied")
        scaled = {name: constraint for name, constraint in sets.items() if hasattr(constraint, "ladder")}
        others = {name: constraint for name, constraint in sets.items() if name not in scaled}
        scales = self._each(place, f"{mode}_scale", arrays, scaled)
        return itertools.chain(scales, self._each(place, f"{mode}_values", arrays, others))

    def _each(self, place, mode, arrays, sets, *how):
        self._held.bend(dict.fromkeys(sets, mode))
        return ((name, place(name, arrays[name], constraint, *how)) for name, constraint in sets.items())

    def _snap(self, name, w, constraint, share):
        """The share that is nearest to its place goes there and is held; the rest trains on.

        The set is chosen anew each time, so its levels still move with the weights; a share of 1 takes all.
        """
        z = np.array(constraint(w))
        free = Sparse(share).support(np.abs(w - z)) & (w != z) if share < 1 else np.zeros(w.shape, bool)
        self._held.aim(name, z, free=free)
        return np.where(free, w, z)

    def _through(self, name, w, constraint):
        """All are in their places, and train on behind these, which the step then finds anew, and fits the values."""
        z = np.array(constraint(w))
        self._held.aim(name, w - z, z == 0 if _zeros_stay(constraint) else None, values=levels(z, constraint))
        return z

    def _tie(self, name, w, constraint):
        """Which weights are equal, or multiples of one scale, stays; the values and the scales train."""
        z = np.array(constraint(w))
        target, values = (multiples if hasattr(constraint, "ladder") else clusters)(z, constraint)
        self._held.aim(name, target, values=values)
        return z


def levels(z, constraint):
    """The distinct values of a member of a set, rising, a column for each channel; and up to a power of two `HELD`."""
    columns = z.reshape(-1, z.shape[-1]).T if _by_channel(z, constraint) else [z.reshape(-1)]
    distinct = [_distinct(c) for c in columns]
    distinct = [d[d != 0] for d in distinct] if _zeros_stay(constraint) else distinct
    count = 1 << (max(map(len, distinct)) - 1).bit_length()
    return np.stack([np.concatenate([d, np.repeat(HELD, count - d.size)]) for d in distinct], axis=1).astype("float32")


def _distinct(x):
    """The distinct values of a flat array of few, rising: part by part, for to sort a large one takes long."""
    return np.unique(np.concatenate([np.unique(part) for part in chunks(x)]))


def multiples(z, constraint):
    """The pattern whose scale is trained, its largest weight from a half to 1; and 1 / the sum of its squares."""
    axes = tuple(range(z.ndim - 1)) if _by_channel(z, constraint) else None
    pattern = np.ldexp(z, -np.frexp(np.abs(z).max(axis=axes))[1])  # a power of two: nothing is rounded
    squares = np.atleast_1d(np.square(pattern, dtype="float64").sum(axis=axes))
    return pattern, np.divide(1, squares, out=np.zeros_like(squares), where=squares > 0).astype("float32")


def clusters(z, constraint):
    """Each weight's cluster in its channel, from 1, or 0 for a zero that stays; and 1 / how many weights each has."""
    columns = z.reshape(-1, z.shape[-1] if _by_channel(z, constraint) else 1).T
    ids = np.stack([np.where(c == 0, 0, np.unique(c, return_inverse=True)[1] + 1) for c in columns])
    counts = np.stack([np.bincount(row, minlength=ids.max() + 1) for row in ids], axis=1)
    counts[0] = 0
    shares = np.divide(1, counts, out=np.zeros(counts.shape), where=counts > 0)
    return ids.T.reshape(z.shape).astype("float32"), shares.astype("float32")


def _by_channel(z, constraint):
    return z.ndim > 1 and getattr(constraint, "scope", "tensor") == "channel"


def _zeros_stay(constraint):
    """Whether what is 0 stays 0 while the rest is retrained: by itself, or by the sparse half of a `Joint`."""
    return getattr(constraint, "keep_zeros", hasattr(constraint, "sparse"))
