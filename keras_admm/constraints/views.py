"""How a pruning pattern sees a tensor: as groups of weights that compete, and back.

A new pattern is a new view; what is kept is decided by `projection.largest` alone.
"""

import math
import re
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_admm import checks

BLOCK = re.compile(r"block\(\s*([1-9]\d*)\s*,\s*([1-9]\d*)\s*\)")


class View(NamedTuple):
    """One view of one tensor: its axes split, and brought into the order pools, groups, members.

    Attributes:
        split: shape in which each axis is of pools, of groups or of members.
        order: the order of these axes.
        pools: int, how many of the first ordered axes are of pools.
        members: int, how many of the last ones are of members.
    """

    split: tuple
    order: tuple
    pools: int
    members: int

    @property
    def ordered(self):
        return tuple(self.split[axis] for axis in self.order)

    @property
    def grid(self):
        """The shape of the groups, those of all pools: `ordered` without the members."""
        return self.ordered[: len(self.order) - self.members]

    def fold(self, x):
        """The tensor as `(pool, group, member)`."""
        pool = math.prod(self.ordered[: self.pools])
        member = math.prod(self.ordered[len(self.grid) :])
        of = _library(x)
        moved = of.transpose(of.reshape(x, self.split), self.order)
        return of.reshape(moved, (pool, math.prod(self.grid) // pool, member))

    def spread(self, keep, shape):
        """What is kept of `(pool, group)`, as booleans of the tensor's own shape."""
        of = _library(keep)
        groups = of.reshape(keep, self.grid + (1,) * self.members)
        back = tuple(int(axis) for axis in np.argsort(self.order))
        whole = of.broadcast_to(of.transpose(groups, back), self.split)
        return of.reshape(whole, tuple(shape))


def element(shape):
    """Every weight alone, all competing with all."""
    return View(split=tuple(shape), order=tuple(range(len(shape))), pools=0, members=0)


def block(height, width, shape):
    """Blocks of `height` outputs by `width` inputs, all competing with all.

    A kernel's outputs are its last axis, its inputs the one before; of a convolution, each position has its own.
    """
    if len(shape) < 2 or shape[-1] % height or shape[-2] % width:
        raise ValueError(
            f"structure 'block({height},{width})': a kernel's last axis (outputs) must be a multiple of {height} and "
            f"the one before (inputs) of {width}. Received: a tensor of shape {tuple(shape)}. Exclude its layer, or "
            "choose a block that fits."
        )
    *rest, inputs, outputs = shape
    n = len(rest)
    split = (*rest, inputs // width, width, outputs // height, height)
    return View(split, order=(*range(n), n, n + 2, n + 1, n + 3), pools=0, members=2)


def check_structure(name, structure):
    """Returns `structure`, or raises the sentence that says what is wrong with it."""
    if not isinstance(structure, str) or not (structure == "element" or BLOCK.fullmatch(structure)):
        must = "'element' or 'block(h,w)' with whole numbers, such as 'block(1,4)'"
        raise ValueError(checks.refused(name, "structure", must, structure, "Choose one of these."))
    return structure


def view(structure, shape):
    """The view of a structure on tensors of a shape."""
    if structure == "element":
        return element(shape)
    return block(*map(int, BLOCK.fullmatch(structure).groups()), shape)


def group_norms(array, structure):
    """The Euclidean norm of each group of a NumPy array, shaped as the groups lie; of single weights, the array."""
    if structure == "element":
        return array
    seen = view(structure, array.shape)
    return np.linalg.norm(seen.fold(array), axis=2).reshape(seen.grid)


def _library(x):
    return np if isinstance(x, np.ndarray) else ops
