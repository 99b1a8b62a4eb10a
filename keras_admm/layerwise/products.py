"""How a layer multiplies what comes in with its kernel: as matrices, and the rows of activations that meet them."""

import abc
import math
from typing import NamedTuple

import keras
import numpy as np

from keras_admm.graph import kinds


class Matrices(NamedTuple):
    """A kernel seen as matrices of inputs by outputs, one for each group of channels that is apart from the others.

    Attributes:
        split: shape in which the kernel's axes of outputs and groups are apart.
        order: tuple of the axes of groups, then of inputs, then of outputs.
        groups, inputs, outputs: ints, the sizes.
    """

    split: tuple
    order: tuple
    groups: int
    inputs: int
    outputs: int

    def of(self, kernel):
        """The matrices `(groups, inputs, outputs)` of a kernel."""
        return kernel.reshape(self.split).transpose(self.order).reshape(self.groups, self.inputs, self.outputs)

    def kernel(self, matrices, shape):
        """The kernel of a shape that has these matrices."""
        moved = matrices.reshape([self.split[axis] for axis in self.order])
        return np.ascontiguousarray(moved.transpose(np.argsort(self.order)).reshape(shape))


def matrices(split, groups, inputs, outputs):
    """`Matrices` of a kernel whose axes, split, are of groups, inputs and outputs."""
    sizes = (math.prod(split[axis] for axis in axes) for axes in (groups, inputs, outputs))
    return Matrices(tuple(split), (*groups, *inputs, *outputs), *sizes)


class Product(abc.ABC):
    """The product of a layer: `outputs = rows(inputs) @ matrices(kernel)`, one for each group.

    Args:
        layer: the layer.
        shape: tuple, its kernel's shape.

    Attributes:
        matrices: `Matrices` of its kernel.
    """

    def __init__(self, layer, shape):
        self.layer = layer
        self.shape = tuple(shape)
        self.matrices = self.seen()

    @abc.abstractmethod
    def seen(self):
        """The `Matrices` of a kernel of the shape."""

    @abc.abstractmethod
    def rows(self, x):
        """What the matrices are multiplied with, `(groups, rows, inputs)`, of a NumPy array that comes in."""

    @property
    def alike(self):
        """What two layers share whose rows are the same where the same comes in."""
        return type(self).__name__, self.matrices.inputs


class DenseProduct(Product):
    """Of `Dense`: every place of the input but its last axis is a row."""

    def seen(self):
        return matrices(self.shape, (), (0,), (1,))

    def rows(self, x):
        return x.reshape(1, -1, x.shape[-1])


class EinsumProduct(Product):
    """Of `EinsumDense`, whose equation says which axes are summed over."""

    def seen(self):
        axes = kinds.EINSUM[0].axes(self.layer)
        return matrices(self.shape, axes.groups, axes.inputs, axes.outputs)

    def rows(self, x):
        before, after = self.layer.equation.replace(" ", "").split("->")
        letters, kernel = before.split(",")
        # Axes that the dots stand for have no letter.
        spare = (chr(i) for i in range(ord("A"), ord("z")) if chr(i).isalpha() and chr(i) not in before + after)
        dots = "".join(next(spare) for _ in range(x.ndim - len(letters.replace("...", ""))))
        letters = letters.replace("...", dots)
        groups, inputs = ([kernel[axis] for axis in axes] for axes in self._axes())
        alone = [letter for letter in letters if letter not in kernel and letter not in after and letter not in dots]
        places = [letter for letter in letters if letter not in kernel and letter not in alone]
        x = np.einsum(f"{letters}->{''.join((*groups, *places, *inputs))}", x)
        return x.reshape(self.matrices.groups, -1, self.matrices.inputs)

    def _axes(self):
        axes = kinds.EINSUM[0].axes(self.layer)
        return axes.groups, axes.inputs

    @property
    def alike(self):
        return (*super().alike, self.layer.equation, self.matrices.groups)


class ConvProduct(Product):
    """Of a convolution: each place of the output reads a patch of the input, which is a row."""

    def seen(self):
        rank = len(self.shape) - 2
        split = (*self.shape[:-1], self.layer.groups, self.shape[-1] // self.layer.groups)
        return matrices(split, (rank + 1,), tuple(range(rank + 1)), (rank + 2,))

    def rows(self, x):
        taken = patches(self.layer, x)
        taken = taken.reshape(*taken.shape[:-1], self.layer.groups, -1)
        rank = taken.ndim - 3
        return taken.transpose(rank + 1, 0, *range(1, rank + 1), rank + 2).reshape(
            self.matrices.groups, len(taken), self.matrices.inputs
        )

    @property
    def alike(self):
        layer = self.layer
        how = (layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding, layer.data_format)
        return (*super().alike, *how, self.matrices.groups)


class DepthwiseProduct(ConvProduct):
    """Of a depthwise convolution: each channel's patches meet kernels of their own."""

    def seen(self):
        rank = len(self.shape) - 2
        return matrices(self.shape, (rank,), tuple(range(rank)), (rank + 1,))

    def rows(self, x):
        taken = patches(self.layer, x)
        taken = taken.reshape(len(taken), -1, taken.shape[-1])
        return taken.transpose(2, 0, 1)


def patches(layer, x):
    """What a convolution reads, `(places of the output, *kernel_size, channels)`."""
    if layer.data_format == "channels_first":
        x = np.moveaxis(x, 1, -1)
    places = range(1, x.ndim - 1)
    each = list(zip(layer.kernel_size, layer.strides, layer.dilation_rate, strict=True))
    padding = [_padding(layer.padding, size, *how) for size, how in zip(x.shape[1:-1], each, strict=True)]
    x = np.pad(x, [(0, 0), *padding, (0, 0)])
    reach = [dilation * (kernel - 1) + 1 for kernel, _, dilation in each]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(places))
    strides = [slice(None, None, stride) for _, stride, _ in each]
    dilations = [slice(None, None, dilation) for _, _, dilation in each]
    seen = seen[(slice(None), *strides, slice(None), *dilations)]
    return np.moveaxis(seen, len(each) + 1, -1).reshape(-1, *layer.kernel_size, x.shape[-1])


def _padding(padding, size, kernel, stride, dilation):
    """How many zeros Keras puts before an axis and behind it."""
    reach = dilation * (kernel - 1) + 1
    if padding == "causal":
        return reach - 1, 0
    if padding == "valid":
        return 0, 0
    missing = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return missing // 2, missing - missing // 2


# By Keras's classes, and those that are derived from them and have its `call`: the attribute of the kernel.
PRODUCTS = {
    keras.layers.Dense: ("kernel", DenseProduct),
    keras.layers.EinsumDense: ("kernel", EinsumProduct),
    keras.layers.Conv1D: ("kernel", ConvProduct),
    keras.layers.Conv2D: ("kernel", ConvProduct),
    keras.layers.Conv3D: ("kernel", ConvProduct),
    keras.layers.DepthwiseConv1D: ("kernel", DepthwiseProduct),
    keras.layers.DepthwiseConv2D: ("kernel", DepthwiseProduct),
}


def product_of(layer, variable):
    """The `Product` of a layer with one of its variables, or why there is none, a str."""
    row = next((PRODUCTS[c] for c in type(layer).__mro__ if c in PRODUCTS), None)
    if row is None or variable is not vars(layer).get(f"_{row[0]}", vars(layer).get(row[0])):
        return f"{type(layer).__name__} does not multiply what comes in with it as a matrix"
    own = next(c for c in type(layer).__mro__ if "call" in vars(c))
    if "call" in vars(layer) or not own.__module__.startswith("keras.src"):
        return "its layer has a call of its own"
    if layer.quantization_mode:
        return f"its layer is quantized to {layer.quantization_mode}"
    if getattr(layer, "lora_enabled", False):
        return "its layer has the factors of LoRA"
    return row[1](layer, variable.shape)
