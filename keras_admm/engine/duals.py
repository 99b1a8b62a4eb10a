"""`Duals`: U of the weights of a run."""

import numpy as np
from keras import ops

from keras_admm import attach, weights
from keras_admm.constraints import library


class Duals:
    """U of each weight: an array, or told by its target, which saves the memory of one.

    Where the weights that Z keeps are free, U is 0 on them, and Z is 0 on the others: the target, `Z - U`, is then the
    mark of what is free or held, where U is 0, and -U.

    Args:
        hold: the `attach.Hold` of the model, which has the targets.
    """

    def __init__(self, hold):
        self._hold = hold
        self._arrays, self._told = {}, set()

    def __contains__(self, name):
        return name in self._arrays or name in self._told

    def __getitem__(self, name):
        """U of a weight; 0 where it is not pulled."""
        if name not in self._told:
            return self._arrays.get(name, np.float32(0))
        target, marks = self._target(name)
        return library(target).where(marks, np.float32(0), -target)

    def told(self, name):
        """Whether the target tells U."""
        return name in self._told

    def set(self, name, u, told):
        """Note U of a weight, whose target tells it or does not."""
        self._arrays.pop(name, None)
        self._told.discard(name)
        if told:
            self._told.add(name)
        else:
            self._arrays[name] = u

    def rescale(self, name, factor):
        """Divide U that the target tells by the factor by which rho has grown."""
        if factor != 1.0:
            target, marks = self._target(name)
            moved = library(target).where(marks, target, target / np.float32(factor))
            self._hold.states[name].target.assign(moved)

    def clear(self):
        """There is none any more."""
        self._arrays, self._told = {}, set()

    def state(self, keys):
        """All that `load` needs beside the targets, by the names that every process gives."""
        found = {f"u/{keys[name]}": ops.convert_to_numpy(u) for name, u in self._arrays.items()}
        return found | {f"told/{keys[name]}": np.array(True) for name in self._told}

    def load(self, saved, keys):
        """Go on from a `state`."""
        as_weights = np.asarray if self._hold.look is weights.view else ops.convert_to_tensor
        there = {name: f"u/{key}" for name, key in keys.items() if f"u/{key}" in saved}
        self._arrays = {name: as_weights(saved[place]) for name, place in there.items()}
        self._told = {name for name, key in keys.items() if f"told/{key}" in saved}

    def _target(self, name):
        """The target, and where it is a mark."""
        target = self._hold.look(self._hold.states[name].target)
        return target, library(target).abs(target) >= attach.PRUNED
