"""`View` and `Pattern`: how a pruning pattern sees a tensor, as groups of weights that are zeroed as one, and back.

What is kept is decided by `projection.largest` alone.
"""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_admm.axes import Axes
from keras_admm.constraints.projection import largest, largest_of_all, norms
from keras_admm.constraints.summary import library


class View(NamedTuple):
    """One view of one tensor: filled up with zeros, its axes split, and brought into the order pools, groups, members.

    Attributes:
        filled: shape of the tensor with zeros at the ends of its axes, so that groups divide it.
        split: shape in which each axis is of pools, of groups or of members.
        order: the order of these axes.
        pools: int, how many of the first ordered axes are of pools.
        members: int, how many of the last ones are of members.
        stays: function of `(pool, group, member)` that returns booleans of that shape, which members of a group stay
            where it does; None for all.
    """

    filled: tuple
    split: tuple
    order: tuple
    pools: int
    members: int
    stays: Callable | None = None

    @property
    def ordered(self) -> tuple[int, ...]:
        return tuple(self.split[axis] for axis in self.order)

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape of the groups, those of all pools: `ordered` without the members."""
        return self.ordered[: len(self.order) - self.members]

    @property
    def pool_count(self) -> int:
        """How many pools there are, in each of which groups compete."""
        return math.prod(self.ordered[: self.pools])

    def fold(self, x: Any) -> Any:
        """The tensor as `(pool, group, member)`; members that fill up a group are 0."""
        pool = self.pool_count
        member = math.prod(self.ordered[len(self.grid) :])
        of = library(x)
        if tuple(x.shape) != self.filled:
            x = of.pad(x, [(0, whole - size) for size, whole in zip(x.shape, self.filled, strict=True)])
        moved = of.transpose(of.reshape(x, self.split), self.order)
        return of.reshape(moved, (pool, math.prod(self.grid) // pool, member))

    def spread(self, keep: Any, shape: Sequence[int]) -> Any:
        """What is kept of `(pool, group, member)`, or of `(pool, group, 1)`, as booleans of the tensor's own shape."""
        of = library(keep)
        members = (1,) * self.members if keep.shape[2] == 1 else self.ordered[len(self.grid) :]
        back = tuple(int(axis) for axis in np.argsort(self.order))
        whole = of.broadcast_to(of.transpose(of.reshape(keep, self.grid + members), back), self.split)
        return of.reshape(whole, self.filled)[tuple(slice(size) for size in shape)]

    def kept(self, x: Any, count: int) -> Any:
        """Booleans of a tensor's shape: what its nearest member with `count` groups in each pool keeps."""
        if not self.pools and not self.members and not isinstance(x, np.ndarray):
            return largest_of_all(x, count)
        groups = self.fold(x)
        if self.stays is None:
            return self.spread(largest(groups, count)[..., None], x.shape)
        stays = self.stays(groups)
        of = library(groups)
        keep = largest(of.where(stays, groups, of.zeros_like(groups)), count)
        return self.spread(of.logical_and(keep[..., None], stays), x.shape)

    def norms(self, x: Any) -> Any:
        """The Euclidean norm of what each group of a tensor would keep, shaped as the groups lie."""
        groups, of = self.fold(x), library(x)
        if self.stays is not None:
            groups = of.where(self.stays(groups), groups, of.zeros_like(groups))
        return of.reshape(norms(groups), self.grid)


class Pattern(abc.ABC):
    """A pruning pattern: which weights of a tensor are kept or zeroed as one. Base class of `structure`s.

    Attributes:
        sparsity: float, the share of zeros where the pattern itself says it, as `"2:4"` does; else None.
        alike: bool, whether the groups of all kernels are of one size, so that their norms may be compared.
        single: bool, whether each group is one weight.
        ends_outputs: bool, whether a group is all that a kernel has for an output.

    Example, all that reads one input:

    >>> from keras_admm.axes import Axes
    >>> class Inputs(Pattern):
    ...     def view(self, shape, axes):
    ...         (inputs,) = axes.of(len(shape)).inputs
    ...         others = tuple(axis for axis in range(len(shape)) if axis != inputs)
    ...         return View(tuple(shape), tuple(shape), order=(inputs, *others), pools=0, members=len(others))
    >>> Inputs().view((3, 3, 4, 5), Axes()).grid
    (4,)
    """

    sparsity = None
    alike = True
    single = False
    ends_outputs = False

    @abc.abstractmethod
    def view(self, shape: Sequence[int], axes: Axes) -> View:
        """The `View` of kernels of a shape, whose axes are as `axes` says; or a ValueError with what does not fit."""

    def get_config(self) -> dict[str, Any]:
        """What it was made with, by which it is saved and a run that is resumed is known."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict) -> "Pattern":
        return cls(**config)

    def __str__(self):
        return f"groups of {type(self).__name__}"
