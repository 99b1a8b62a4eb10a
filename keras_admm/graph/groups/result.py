"""The groups of a model, and the exact cost of the model that is left when some of them leave."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import keras
import numpy as np
from keras.src.utils import dtype_utils

FIXED = -1  # in the place of a group's index: what never leaves


class Term(NamedTuple):
    """What the kernels of a layer cost in one call.

    Attributes:
        layer: the layer.
        uses: function `(layer, input_shape, output_shape)` that returns how often each weight is used.
        tensors: the call's first input and output.
        kernels: list of variables.
        times: how often that is done in a call of the model, None where it is open.
    """

    layer: object
    uses: object
    tensors: tuple
    kernels: list
    times: object

    def is_known(self):
        """Whether the layer's kind tells how often weights are used, were all sizes given."""
        return self.uses(self.layer, *(tuple(size or 1 for size in x.shape) for x in self.tensors)) is not None


@dataclass(frozen=True, eq=False)
class Groups:
    """The coupled groups of a model.

    Attributes:
        groups: list of `Group`, in the order of the layers that write them. Arrays of bools over groups, `alive`, are
            in this order.
        frozen: list of pairs of a layer's name and a reason, why what it takes or gives never leaves: layers without
            a rule, and those whose other channels would change.
        uncounted: list of the names of layers with kernels whose MACs are not known (their rows say no `uses`, or it
            says None), which `macs` leaves out, whichever groups stay.
        calls: the `Calls` that were followed.
        widths: dict of `(id(variable), axis)` to an array of the index of the group that each place along this axis
            belongs to, -1 where it never leaves; axes that are not in it never shrink.
        roles: dict of `(id(variable), axis)` to a list of the roles in which the axis carries them.
        tensors: dict of `Tensor` to a tuple of such an array, or None, for each axis.
        variables: list of the model's weights, each once.
        terms: list of `Term`, what MACs are the sum of.
    """

    groups: list
    frozen: list
    uncounted: list
    calls: object = field(repr=False)
    widths: dict = field(repr=False)
    roles: dict = field(repr=False)
    tensors: dict = field(repr=False)
    variables: list = field(repr=False)
    terms: list = field(repr=False)

    def __repr__(self):
        families = Counter(group.family for group in self.groups)
        return f"Groups({dict(families)}, frozen={self.frozen}, uncounted={self.uncounted})"

    def __len__(self):
        return len(self.groups)

    def __iter__(self):
        return iter(self.groups)

    def kept(self, variable, alive):
        """Which places stay along each axis of a variable: a list of arrays of bools."""
        widths = (self.widths.get((id(variable), axis)) for axis in range(len(variable.shape)))
        return [
            np.ones(size, bool) if width is None else living(width, alive)
            for size, width in zip(variable.shape, widths, strict=True)
        ]

    def parameters(self, alive=None):
        """How many weights the model has when only some groups stay.

        Args:
            alive: array of bools over the groups; by default all stay.
        """
        return sum(self._size(variable, self._alive(alive)) for variable in self.variables)

    def macs(self, alive=None):
        """How many multiplications with weights one sample takes when only some groups stay.

        It is the exact count of the model that is left, not a sum over groups: what a group costs depends on those that
        it meets in a kernel. Products of two tensors that both depend on the input are not in it.

        Args:
            alive: array of bools over the groups; by default all stay.

        Raises:
            ValueError: where the inputs leave a size open.
        """
        alive = self._alive(alive)
        return sum(self._term(term, alive) for term in self.terms)

    def bytes(self, alive=None):
        """How many bytes the model's weights take, each as its dtype has it, when only some groups stay.

        Args:
            alive: array of bools over the groups; by default all stay.
        """
        alive = self._alive(alive)
        return sum(_itemsize(variable) * self._size(variable, alive) for variable in self.variables)

    def factors(self, unit, alive=None):
        """What each weight of a variable costs: a list of pairs of a variable and a number, once for each of its uses.

        Args:
            unit: `"macs"`, `"params"` or `"bytes"`.
            alive: array of bools over the groups; by default all stay.
        """
        alive = self._alive(alive)
        if unit != "macs":
            return [(variable, _itemsize(variable) if unit == "bytes" else 1) for variable in self.variables]
        kernels = [(self._term(term, alive), term.kernels) for term in self.terms]
        sizes = [sum(self._size(kernel, alive) for kernel in each) for _, each in kernels]
        return [(k, macs / max(size, 1)) for (macs, each), size in zip(kernels, sizes, strict=True) for k in each]

    def _alive(self, alive):
        return np.ones(len(self.groups), bool) if alive is None else np.asarray(alive, bool)

    def _term(self, term, alive):
        weights = sum(self._size(kernel, alive) for kernel in term.kernels)
        count = term.uses(term.layer, *(self._shape(x, alive) for x in term.tensors))
        if count is None or term.times is None:
            raise ValueError(
                f"{term.layer.name}: its MACs must be known. Received: inputs of shape {term.tensors[0].shape}, "
                "with an open size. Build the model with given sizes: keras.Input((128,)) in the place of (None,)."
            )
        return count * weights * term.times

    def _size(self, variable, alive):
        widths = (self.widths.get((id(variable), axis)) for axis in range(len(variable.shape)))
        return math.prod(
            size if width is None else int(living(width, alive).sum())
            for size, width in zip(variable.shape, widths, strict=True)
        )

    def _shape(self, tensor, alive):
        """The tensor's shape when some channels have left, of one sample."""
        widths = self.tensors.get(tensor) or [None] * len(tensor.shape)
        shape = [
            size if width is None else int(living(width, alive).sum())
            for size, width in zip(tensor.shape, widths, strict=True)
        ]
        return (1 if shape and shape[0] is None else shape[0], *shape[1:])


def _itemsize(variable):
    return dtype_utils.dtype_size(keras.backend.standardize_dtype(variable.dtype)) / 8


def living(width, alive):
    """Which places stay, by the groups that they belong to."""
    return (width == FIXED) | np.append(alive, False)[width]
