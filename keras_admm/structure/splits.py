"""How a layer with a low-rank kernel comes apart into two smaller ones: one row per layer class."""

import math
import string
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from keras_admm import graph
from keras_admm.constraints import factors, full_rank, rows_of

PLAIN = {"use_bias": False, "activation": "linear", "activity_regularizer": None}
OBJECTS = ("activation", "activity_regularizer", "kernel_initializer", "kernel_regularizer")
OBJECTS += ("bias_initializer", "bias_regularizer", "bias_constraint")
NOMINAL = 64  # stands for a size that is open, where only the ratio of two costs counts


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a layer comes apart.

    Attributes:
        layer: the layer, built.
        scheme: what the rows and columns of its kernel are, as `constraints.LowRank` takes it.
        first: function of a rank and a name that returns the first layer, which is not built.
        second: function of a rank that returns the other one, of the layer's own name.
        kernels: function of the two factors of the kernel's matrix, `(rows, rank)` and `(rank, columns)`, that returns
            the kernels of the two layers.
    """

    layer: object
    scheme: object
    first: Callable
    second: Callable
    kernels: Callable
    between: Callable | None = None

    @property
    def full_rank(self):
        """The rank of a kernel without structure."""
        return full_rank(self.layer.kernel.shape, self.scheme)

    @property
    def params(self):
        """How many weights each rank of the two kernels has."""
        return sum(math.prod(self.layer.kernel.shape[a] for a in axes) for axes in self._axes)

    def costs(self, shape):
        """The MACs of a call for one sample: those of each rank of the two layers, and those of the layer as it is.

        Args:
            shape: of its input. In the place of open sizes but the batch others are taken.
        """
        sizes = [math.prod(self.layer.kernel.shape[a] for a in axes) for axes in self._axes]
        shape = (1, *(NOMINAL if size is None else size for size in shape[1:]))
        between = (self.between or self.first(1, None).compute_output_shape)(shape)
        out = self.layer.compute_output_shape(shape)
        kernels = self.kernels(np.zeros((sizes[0], 1)), np.zeros((1, sizes[1])))
        uses = (_uses(self.first(1, None), shape, between), _uses(self.second(1), between, out))
        each_rank = sum(count * kernel.size for count, kernel in zip(uses, kernels, strict=True))
        return each_rank, _uses(self.layer, shape, out) * math.prod(sizes)

    def factors(self, kernel, rank):
        """The kernels of the two layers, as large as each other, whose product is nearest to an array of this one."""
        return self.kernels(*factors(kernel, self.scheme, rank))

    @property
    def _axes(self):
        return rows_of(self.layer.kernel.shape, self.scheme)


def refusal(layer):
    """Why a layer does not come apart into two; empty if it does."""
    if type(layer) not in RULES:
        return f"a {type(layer).__name__} does not come apart into two layers"
    if layer.quantization_mode or getattr(layer, "lora_enabled", False):
        return "it is quantized, or has LoRA's factors"
    if layer.kernel_constraint is not None:
        return "it has a kernel_constraint, which its factors would not be in"
    if getattr(layer, "groups", 1) > 1:
        return "its channels come in groups, which mix nothing"
    return _einsum_refusal(layer) if isinstance(layer, keras.layers.EinsumDense) else ""


def split(layer, scheme):
    """The `Split` of a layer for which `refusal` has none.

    Args:
        layer: a built layer.
        scheme: `"channel"` or `"spatial"`, which is for convolutions of two places and more.
    """
    return RULES[type(layer)](layer, scheme)


def _like(layer, cls=None, **changes):
    """A new layer with the config of another but for some changes, of another class in as far as it has the like.

    Functions and regularizers are the layer's own, which need not be registered to be made again; but its kernels are
    of other shapes.
    """
    config = layer.get_config()
    config |= {name: getattr(layer, name) for name in OBJECTS if name in config} | changes
    known = layer.get_config() if cls is None else cls(1, 1).get_config()
    new = (cls or type(layer)).from_config({key: value for key, value in config.items() if key in known})
    return graph.of_any_shape(new)


def _dense(layer, scheme):
    return Split(
        layer=layer,
        scheme="channel",
        first=lambda rank, name: _like(layer, **PLAIN, name=name, units=rank),
        second=lambda rank: _like(layer),
        kernels=lambda left, right: (left, right),
    )


def _convolution(layer, scheme):
    places = len(layer.kernel_size)
    if scheme == "spatial" and places > 1:
        return _spatial(layer, places)
    return Split(
        layer=layer,
        scheme="channel",
        first=lambda rank, name: _like(layer, **PLAIN, name=name, filters=rank),
        second=lambda rank: _like(layer, **_one_by_one(places)),
        kernels=lambda left, right: (
            left.reshape(*layer.kernel.shape[:-1], -1),
            right.reshape(*[1] * places, *right.shape),
        ),
    )


def _spatial(layer, places):
    """All places of the filter but the last in the first layer, the last one in the second."""
    settings = ("kernel_size", "strides", "dilation_rate")
    before = {name: (*getattr(layer, name)[:-1], 1) for name in settings}
    last = {name: (*[1] * (places - 1), getattr(layer, name)[-1]) for name in settings}
    size = layer.kernel_size[-1]
    return Split(
        layer=layer,
        scheme="spatial",
        first=lambda rank, name: _like(layer, **PLAIN, name=name, **before, filters=rank),
        second=lambda rank: _like(layer, **last),
        kernels=lambda left, right: (
            left.reshape(*layer.kernel_size[:-1], 1, layer.kernel.shape[-2], -1),
            right.reshape(len(right), size, -1).transpose(1, 0, 2)[(None,) * (places - 1)],
        ),
    )


def _transposed(layer, scheme):
    """The 1x1 convolution comes first: the matrix's columns are the inputs."""
    places = len(layer.kernel_size)
    plain = getattr(keras.layers, type(layer).__name__.removesuffix("Transpose"))
    return Split(
        layer=layer,
        scheme="channel",
        first=lambda rank, name: _like(layer, plain, **PLAIN, **_one_by_one(places), name=name, filters=rank),
        second=lambda rank: _like(layer),
        kernels=lambda left, right: (
            right.T.reshape(*[1] * places, right.shape[1], -1),
            left.reshape(*layer.kernel.shape[:-1], -1),
        ),
    )


def _einsum(layer, scheme):
    taken, kernel, given = _letters(layer)
    rows = tuple(axis for axis, letter in enumerate(kernel) if letter not in given)
    columns = [axis for axis in range(len(kernel)) if axis not in rows]
    z = next(letter for letter in string.ascii_letters if letter not in taken + kernel + given)
    summed, made = ("".join(kernel[axis] for axis in axes) for axes in (rows, columns))
    between = "".join(letter for letter in taken if letter not in summed) + z
    letters = given.replace("...", "")
    said = dict(zip(letters[::-1], layer.partial_output_shape[::-1], strict=False))
    # The axis of the batch has a letter of its own, and no size, unless it is among those left open.
    sizes = [said.get(letter) for letter in between.replace("...", "")[:-1]]
    sizes = sizes[len(letters) - len(layer.partial_output_shape) :]
    first = {"equation": f"{taken},{summed}{z}->{between}", "bias_axes": None, **PLAIN}
    shape = layer.kernel.shape
    return Split(
        layer=layer,
        scheme=rows,
        first=lambda rank, name: _like(layer, **first, name=name, output_shape=(*sizes, rank)),
        second=lambda rank: _like(layer, equation=f"{between},{z}{made}->{given}"),
        kernels=lambda left, right: (
            left.reshape(*(shape[axis] for axis in rows), -1),
            right.reshape(-1, *(shape[axis] for axis in columns)),
        ),
        between=lambda sizes: _einsum_shape(taken, between, z, sizes),
    )


def _einsum_shape(taken, given, z, sizes):
    """The shape of what has the letters `given`, one of them of size 1, made of inputs of some sizes."""
    letters, made = taken.replace("...", ""), given.replace("...", "")
    known = dict(zip(letters[::-1], sizes[::-1], strict=False)) | {z: 1}
    return (*sizes[: len(sizes) - len(letters)], *(known[letter] for letter in made))


def _letters(layer):
    """The letters of the inputs, the kernel and the outputs."""
    left, given = layer.equation.replace(" ", "").split("->")
    return *left.split(","), given


def _einsum_refusal(layer):
    taken, kernel, given = _letters(layer)
    if taken.endswith("..."):
        return "its equation leaves axes open behind others"
    if any(letter in taken and letter in given for letter in kernel):
        return "its equation has a kernel of its own for each place of an axis"
    summed = [letter for letter in kernel if letter not in given]
    return "" if 0 < len(summed) < len(kernel) else "its kernel is no matrix"


def _one_by_one(places):
    ones = [1] * places
    return {"kernel_size": ones, "strides": ones, "dilation_rate": ones, "padding": "valid"}


def _uses(layer, shape, out):
    return graph.kinds.uses_of(layer)(layer, shape, out)


RULES = {
    keras.layers.Dense: _dense,
    keras.layers.EinsumDense: _einsum,
    **dict.fromkeys((keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), _convolution),
    **dict.fromkeys(
        (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose), _transposed
    ),
}
