"""Pruning patterns: how each sees a tensor, as groups of weights that are zeroed as one, and back.

A new pattern is a new `Pattern`, a view of ten lines; what is kept is decided by `projection.largest` alone.
"""

import abc
import math
import re
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_admm import checks
from keras_admm.constraints.projection import norms_on_host

BLOCK = re.compile(r"block\(\s*([1-9]\d*)\s*,\s*([1-9]\d*)\s*\)")


class View(NamedTuple):
    """One view of one tensor: filled up with zeros, its axes split, and brought into the order pools, groups, members.

    Attributes:
        filled: shape of the tensor with zeros at the ends of its axes, so that groups divide it.
        split: shape in which each axis is of pools, of groups or of members.
        order: the order of these axes.
        pools: int, how many of the first ordered axes are of pools.
        members: int, how many of the last ones are of members.
    """

    filled: tuple
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

    @property
    def pool_count(self):
        """How many pools there are, in each of which groups compete."""
        return math.prod(self.ordered[: self.pools])

    def fold(self, x):
        """The tensor as `(pool, group, member)`; members that fill up a group are 0."""
        pool = self.pool_count
        member = math.prod(self.ordered[len(self.grid) :])
        of = _library(x)
        if tuple(x.shape) != self.filled:
            x = of.pad(x, [(0, whole - size) for size, whole in zip(x.shape, self.filled, strict=True)])
        moved = of.transpose(of.reshape(x, self.split), self.order)
        return of.reshape(moved, (pool, math.prod(self.grid) // pool, member))

    def spread(self, keep, shape):
        """What is kept of `(pool, group)`, as booleans of the tensor's own shape."""
        of = _library(keep)
        groups = of.reshape(keep, self.grid + (1,) * self.members)
        back = tuple(int(axis) for axis in np.argsort(self.order))
        whole = of.broadcast_to(of.transpose(groups, back), self.split)
        return of.reshape(whole, self.filled)[tuple(slice(size) for size in shape)]


class Pattern(abc.ABC):
    """A pruning pattern: which weights of a tensor are kept or zeroed as one. Base class of `structure`s.

    Example, whole rows of inputs:

    >>> class Rows(Pattern):
    ...     def view(self, shape):
    ...         return View(tuple(shape), split=tuple(shape), order=tuple(range(len(shape))), pools=0, members=1)
    >>> Rows().view((4, 3)).grid
    (4,)
    """

    @abc.abstractmethod
    def view(self, shape):
        """The `View` of tensors of a shape; or a ValueError that says what is wrong with the shape."""

    def get_config(self):
        """What it was made with, by which it is saved and a run that is resumed is known."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __str__(self):
        return f"groups of {type(self).__name__}"


class Element(Pattern):
    """Every weight alone, all competing with all."""

    def view(self, shape):
        return View(tuple(shape), split=tuple(shape), order=tuple(range(len(shape))), pools=0, members=0)


class Block(Pattern):
    """Blocks of `height` outputs by `width` inputs, all competing with all.

    A kernel's outputs are its last axis, its inputs the one before; of a convolution, each position has its own. Where
    blocks do not divide these, the last ones are filled up with zeros: they have fewer weights.
    """

    def __init__(self, height, width):
        self.height, self.width = height, width

    def view(self, shape):
        if len(shape) < 2:
            raise ValueError(
                f"structure 'block({self.height},{self.width})': blocks need two axes, the last one of outputs and the "
                f"one before of inputs. Received: a tensor of shape {tuple(shape)}. Exclude it, or use "
                "structure='element'."
            )
        *rest, inputs, outputs = shape
        across, down, n = -(-inputs // self.width), -(-outputs // self.height), len(rest)
        filled = (*rest, across * self.width, down * self.height)
        split = (*rest, across, self.width, down, self.height)
        return View(filled, split, order=(*range(n), n, n + 2, n + 1, n + 3), pools=0, members=2)


def check_structure(name, structure):
    """Returns `structure`, or raises ValueError or TypeError."""
    named = isinstance(structure, str) and (structure == "element" or BLOCK.fullmatch(structure))
    if not named and not isinstance(structure, Pattern):
        must = "'element', 'block(h,w)' with whole numbers, such as 'block(1,4)', or a constraints.Pattern"
        raise ValueError(checks.refused(name, "structure", must, structure, "Choose one of these."))
    return structure


def view(structure, shape):
    """The view of a structure on tensors of a shape."""
    if isinstance(structure, Pattern):
        return structure.view(shape)
    pattern = Element() if structure == "element" else Block(*map(int, BLOCK.fullmatch(structure).groups()))
    return pattern.view(shape)


def group_norms(array, structure):
    """The Euclidean norm of each group of a NumPy array, shaped as the groups lie; of single weights, the array."""
    if structure == "element":
        return array
    seen = view(structure, array.shape)
    return norms_on_host(seen.fold(array)).reshape(seen.grid)


def living(array, structure):
    """How many groups of a NumPy array have a member that is not 0."""
    if structure == "element":
        return int(np.count_nonzero(array))
    return int(np.count_nonzero(view(structure, array.shape).fold(array).any(axis=2)))


def _library(x):
    return np if isinstance(x, np.ndarray) else ops
