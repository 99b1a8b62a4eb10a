"""`NamedArray`: an array whose axes have names."""

from dataclasses import dataclass

import numpy as np

# What the axes of an input are, by how many there are.
OF_INPUT = {
    1: ("sample",),
    2: ("sample", "feature"),
    3: ("sample", "position", "channel"),
    4: ("sample", "row", "column", "channel"),
    5: ("sample", "depth", "row", "column", "channel"),
}


@dataclass(frozen=True, eq=False)
class NamedArray:
    """An array whose axes have names; `numpy.asarray` makes a plain one of it.

    Attributes:
        values: array of numbers.
        axes: tuple of str, the name of each axis.

    Example:

    >>> scores = NamedArray(np.arange(6.0).reshape(2, 3), ("sample", "position"))
    >>> scores.sum_over("position").values.tolist(), scores.axes
    ([3.0, 12.0], ('sample', 'position'))
    """

    values: np.ndarray
    axes: tuple

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype, copy=copy)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        return self.values[key]

    @property
    def shape(self):
        """The size of each axis."""
        return self.values.shape

    def sum_over(self, axis):
        """The sum over the axis of a name, which is then gone."""
        at = self.axes.index(axis)
        return NamedArray(self.values.sum(at), self.axes[:at] + self.axes[at + 1 :])


def of_input(values):
    """An array with the axes of an input: samples, positions or rows and columns, channels."""
    axes = OF_INPUT.get(values.ndim, ("sample", *(f"axis {i}" for i in range(1, values.ndim))))
    return NamedArray(values, axes)


def by_name(arrays):
    """The array of a dict of one, or a dict of several, with the axes of inputs."""
    named = {name: of_input(array) for name, array in arrays.items()}
    return next(iter(named.values())) if len(named) == 1 else named
