"""`Duals`: U of the weights of a run, as an array or as told by the target."""

import numpy as np
from keras import ops

from keras_admm import admm, attach, weights
from keras_admm.constraints import library


class Duals:
    """U of each weight: an array, or told by the target, where Z and U are nowhere both other than 0.

    So it is for a set that says which weights are zero: its Z is `W + U` on the others, and U is 0 there; where Z is 0
    the target, `Z - U`, is -U. All that is kept then is what to multiply the target by, 0 or -1 in int8: a quarter of
    the memory.

    Args:
        hold: the `attach.Hold` of the model, which has the targets.
    """

    def __init__(self, hold):
        self._hold = hold
        self._arrays, self._signs = {}, {}

    def __contains__(self, name):
        return name in self._arrays or name in self._signs

    def __getitem__(self, name):
        """U of a weight; 0 where it is not pulled."""
        if name not in self._signs:
            return self._arrays.get(name, np.float32(0))
        target = self._target(name)
        return library(target).multiply(target, self._signs[name])

    def set(self, name, to, target):
        """Note U of a weight.

        Args:
            name: str.
            to: `admm.ADMMState`.
            target: what it is pulled to, with the marks of `attach.marked`.
        """
        self._arrays.pop(name, None)
        self._signs.pop(name, None)
        if _overlap(to):
            self._arrays[name] = to.u
        else:
            none = (to.z != 0) | (target == attach.PRUNED)
            self._signs[name] = library(target).where(none, np.int8(0), np.int8(-1))

    def rescale(self, name, factor):
        """Divide U by the factor by which rho has grown; returns the target that goes with it."""
        target = self._target(name)
        if name in self._signs:
            return library(target).where(self._signs[name] == 0, target, target / np.float32(factor))
        z, u = admm.rescaled(admm.ADMMState(target + self._arrays[name], self._arrays[name]), factor)
        self._arrays[name] = u
        return z - u

    def clear(self):
        """There is none any more."""
        self._arrays, self._signs = {}, {}

    def state(self, keys):
        """All that `load` needs beside the targets, by the names that every process gives."""
        found = {f"u/{keys[name]}": ops.convert_to_numpy(u) for name, u in self._arrays.items()}
        return found | {f"u_signs/{keys[name]}": ops.convert_to_numpy(signs) for name, signs in self._signs.items()}

    def load(self, saved, keys):
        """Go on from a `state`."""
        as_weights = np.asarray if self._hold.look is weights.view else ops.convert_to_tensor

        def under(prefix):
            there = {name: f"{prefix}/{key}" for name, key in keys.items()}
            return {name: as_weights(saved[place]) for name, place in there.items() if place in saved}

        self._arrays, self._signs = under("u"), under("u_signs")

    def _target(self, name):
        return self._hold.look(self._hold.states[name].target)


def _overlap(state):
    """Whether Z and U are both other than 0 anywhere."""
    of = library(state.u)
    return bool(of.any(of.logical_and(state.z, state.u)))
