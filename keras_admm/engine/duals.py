"""`Duals`: U of the weights of a run, as an array or as told by the target."""

import numpy as np
from keras import ops

from keras_admm import attach, weights
from keras_admm.constraints import library


class Duals:
    """U of each weight: an array, or, for a set that says which weights are zero, told by the target.

    Of such a set Z is `W + U` where it is not zero, so that U is 0 there; elsewhere Z is 0 and the target, `Z - U`, is
    -U. All that is kept then is where U is 0, a quarter of the memory.

    Args:
        hold: the `attach.Hold` of the model, which has the targets.
    """

    def __init__(self, hold):
        self._hold = hold
        self._arrays, self._zero = {}, {}

    def __contains__(self, name):
        return name in self._arrays or name in self._zero

    def __getitem__(self, name):
        """U of a weight; 0 where it is not pulled."""
        if name not in self._zero:
            return self._arrays.get(name, np.float32(0))
        target = self._target(name)
        return library(target).where(self._zero[name], np.float32(0), -target)

    def set(self, name, to, target, constraint):
        """Note U of a weight.

        Args:
            name: str.
            to: `admm.ADMMState`.
            target: what it is pulled to, with the marks of `attach.marked`.
            constraint: the `Set` that it is pulled to.
        """
        self._arrays.pop(name, None)
        self._zero.pop(name, None)
        if constraint.says_support:
            self._zero[name] = (to.z != 0) | (target == attach.PRUNED)
        else:
            self._arrays[name] = to.u

    def rescale(self, name, factor):
        """Divide U by the factor by which rho has grown; of Z, what the target has of it."""
        target = self._target(name)
        if name in self._zero:
            return library(target).where(self._zero[name], target, target / np.float32(factor))
        z = target + self._arrays[name]
        self._arrays[name] = self._arrays[name] / np.float32(factor)
        return z - self._arrays[name]

    def clear(self):
        """There is none any more."""
        self._arrays, self._zero = {}, {}

    def state(self, keys):
        """All that `load` needs beside the targets, by the names that every process gives."""
        found = {f"u/{keys[name]}": ops.convert_to_numpy(u) for name, u in self._arrays.items()}
        return found | {f"zero_u/{keys[name]}": ops.convert_to_numpy(where) for name, where in self._zero.items()}

    def load(self, saved, keys):
        """Go on from a `state`."""
        as_weights = np.asarray if self._hold.look is weights.view else ops.convert_to_tensor

        def under(prefix):
            there = {name: f"{prefix}/{key}" for name, key in keys.items()}
            return {name: as_weights(saved[place]) for name, place in there.items() if place in saved}

        self._arrays, self._zero = under("u"), under("zero_u")

    def _target(self, name):
        return self._hold.look(self._hold.states[name].target)
