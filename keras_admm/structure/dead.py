"""Which coupled groups of channels of a model are dead: zero for all inputs, or read by nobody that is alive."""

import collections
from typing import NamedTuple

import numpy as np

from keras_admm.graph.groups import FIXED, READS, WRITES, living
from keras_admm.weights import kernels


class Nonzeros(NamedTuple):
    """Where a variable is not zero, along the axes that carry groups.

    Attributes:
        rank: int, how many axes the variable has.
        found: array of bools, with those axes.
        widths: list of an array for each axis: the index of the group of each place, `FIXED` where it never leaves.
        roles: list of the roles of each axis.
    """

    rank: int
    found: np.ndarray
    widths: list
    roles: list

    def left(self, alive):
        """The array when only some groups stay."""
        return self.found[np.ix_(*(living(width, alive) for width in self.widths))]

    def fixed_zeros(self, alive):
        """How many places of an axis that writes are zero and never leave; of kernels, which have other axes too."""
        left, counts = self.left(alive), [0]
        for axis, (width, roles) in enumerate(zip(self.widths, self.roles, strict=True)):
            if WRITES in roles and READS not in roles and self.rank > 1:
                hit = left.any(tuple(a for a in range(left.ndim) if a != axis))
                counts.append(int((~hit & (width[living(width, alive)] == FIXED)).sum()))
        return max(counts)


class Weights:
    """Where the weights of a model are zero.

    Args:
        groups: `Groups` of the model.
        value: function of a variable that gives its value.
    """

    def __init__(self, groups, value):
        self._groups = groups
        axes = collections.defaultdict(list)
        for key, axis in sorted(groups.widths, key=lambda each: each[1]):
            axes[key].append(axis)
        # Not the states of seeds, which a layer without a rule has too.
        known = [v for v in groups.variables if id(v) in axes]
        self.by_variable = {id(v): self._nonzeros(v, axes[id(v)], value) for v in known}

    def _nonzeros(self, variable, axes, value):
        others = tuple(axis for axis in range(len(variable.shape)) if axis not in axes)
        keys = [(id(variable), axis) for axis in axes]
        found = (value(variable) != 0).any(axis=others)
        return Nonzeros(
            len(variable.shape), found, [self._groups.widths[k] for k in keys], [self._groups.roles[k] for k in keys]
        )

    def used(self, alive, least_rank=1):
        """Which groups are written, and which are read, by what is not zero of the weights that stay.

        Args:
            alive: array of bools over the groups.
            least_rank: int, of the variables that count: 2 leaves biases out.
        """
        written, read = (np.zeros(len(self._groups), bool) for _ in range(2))
        for each in self.by_variable.values():
            if each.rank < least_rank:
                continue
            left = each.left(alive)
            for axis, (width, roles) in enumerate(zip(each.widths, each.roles, strict=True)):
                hit = width[living(width, alive)][left.any(tuple(a for a in range(left.ndim) if a != axis))]
                for role, found in ((WRITES, written), (READS, read)):
                    if role in roles:
                        found[hit[hit != FIXED]] = True
        return written, read

    def fixed_zeros(self, call, alive):
        """How many channels that a call gives are zero by its kernels and never leave."""
        own = [self.by_variable[key] for key in call.variables if key in self.by_variable]
        return max((each.fixed_zeros(alive) for each in own), default=0)

    def is_silent(self, call, alive):
        """Whether what a call gives does not depend on what it takes: all weights that write are zero, one multiplies.

        What only adds to it, as a beta does beside no gamma, lets it pass.
        """
        writing = {
            key: self.by_variable[key]
            for key in call.variables.keys() & self.by_variable.keys()
            if any(WRITES in roles for roles in self.by_variable[key].roles)
        }
        multiplying = {key for key in writing if call.variables[key].name == "gamma"}
        multiplying |= {id(kernel) for kernel in kernels(call.layer)} & writing.keys() if writing else set()
        return bool(multiplying) and not any(each.left(alive).any() for each in writing.values())


def alive(weights, readers, heard):
    """Which groups cannot leave, an array of bools.

    A group leaves if it is written by zeros alone, of weights whose other channels stay, or if nothing reads it.

    Args:
        weights: `Weights` of the model.
        readers: `Readers`.
        heard: array of bools, the groups that are not zero where they are read, though they may be written by zeros
            alone.
    """
    always_read = readers.by_products | ~readers.by_kernels
    stays = np.ones(len(heard), bool)
    while True:
        written, read = weights.used(stays)
        now = stays & (written | heard) & (read | always_read)
        if np.array_equal(now, stays):
            return stays
        stays = now
