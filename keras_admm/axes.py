"""`Axes`: which axes of a kernel are of inputs, of outputs, and of groups."""

from typing import NamedTuple


class Axes(NamedTuple):
    """What the axes of a kernel are; any other axis is a place of a filter.

    By default as in `Dense` and the convolutions: the last one is of outputs, the one before of inputs.

    Attributes:
        inputs: tuple of ints, the axes of channels that come in.
        outputs: tuple of ints, the axes of channels that go out.
        groups: tuple of ints, the axes of channels that go in and out apart from the others, as in `DepthwiseConv2D`.

    Example:

    >>> Axes().of(4)
    Axes(inputs=(2,), outputs=(3,), groups=())
    """

    inputs: tuple = (-2,)
    outputs: tuple = (-1,)
    groups: tuple = ()

    def of(self, rank):
        """The same as numbers from 0, of a tensor of that many axes; those that it has not are left out."""
        return Axes(*(tuple(axis % rank for axis in each if -rank <= axis < rank) for each in self))
