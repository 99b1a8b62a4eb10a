"""A layer kind: what is known of a class of layers, one row for all who ask."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_admm import checks
from keras_admm.axes import Axes

LIBRARIES = ("keras", "tf_keras")
# Rows by class: of Keras's and tf_keras's classes, which may not be imported, by name.
ROWS = {}


@dataclass(frozen=True)
class Kernel:
    """One kernel of a layer kind, and what its axes are: any other axis is a place (of a filter).

    Args:
        name: the layer's attribute.
        inputs, outputs, groups: ints, the axes of channels that come in, of channels that go out, and of groups of
            channels that go in and out apart from the others; None where there is no such axis.
    """

    name: str
    inputs: int | None = None
    outputs: int | None = None
    groups: int | None = None

    def axes(self, layer):
        """The `constraints.Axes` of the kernel in a layer; where the row says none, the last but one and the last."""
        told = self.inputs, self.outputs, self.groups
        return Axes() if told == (None,) * 3 else Axes(*(() if axis is None else (axis,) for axis in told))

    def view(self, array, groups=1):
        """The kernel as an array of axes (*places, inputs, groups, outputs): a view of the same memory.

        Args:
            array: the variable's value.
            groups: int, how many groups the axis of outputs has in it, where groups have no axis of their own.
        """
        axes = [axis % array.ndim for axis in (self.inputs, self.groups, self.outputs) if axis is not None]
        moved = array.transpose(*(axis for axis in range(array.ndim) if axis not in axes), *axes)
        if self.groups is None:
            moved = moved.reshape(*moved.shape[:-1], groups, moved.shape[-1] // groups)
        return moved if self.inputs is not None else np.expand_dims(moved, -3)


class EinsumKernel(Kernel):
    """The kernel of an `EinsumDense`, whose axes the equation says: of inputs are those that are summed over."""

    def axes(self, layer):
        before, after = layer.equation.replace(" ", "").split("->")
        inputs, kernel = before.split(",")
        roles = {(True, False): [], (False, True): [], (True, True): []}
        for axis, letter in enumerate(kernel):
            roles[letter in inputs, letter in after].append(axis)
        return Axes(*map(tuple, roles.values()))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is known of a class of layers. What a row does not say is not known.

    Args:
        kernels: tuple of `Kernel`, the attributes that are kernels. By default they are told by the words of their
            names.
        uses: function `(layer, input_shape, output_shape)` that returns how often each weight of a kernel is used in
            a call on inputs of that shape, the batch with it, or None: what MACs are counted by.
        channels: function `(layer, input_shapes, output_shapes, array)` that returns the `graph.stages` that channels
            go through, first to last, or None for a barrier: nothing is known of it, and its weights are left alone.
            `array(variable)` is the variable's value; shapes are lists.
        groups: function `(layer, call, widths)` that says, by the methods of `graph.groups.Widths`, which channels that
            come in and go out of a `Call` live or die together and which axes of the layer's variables carry them.
            Without one the channels that come in never leave.
        resized: function `(layer, kept)` that returns the changes of the layer's config when of its axes only what is
            `graph.Kept` stays, a dict. Where the config says nothing of sizes, none is needed.
    """

    kernels: tuple | None = None
    uses: Callable | None = None
    channels: Callable | None = None
    groups: Callable | None = None
    resized: Callable | None = None


def register(layer_class, row):
    """Says what kind of layer a class is, so that all that follows models knows it: `purify`, MACs, which are kernels.

    A class without a row is a barrier for `purify`, its MACs are unknown, and its kernels are told by the words of
    their names. Which classes a row is for: kernels, also of classes that are derived from this one; MACs, also of
    those that have no `call` of their own; channels, groups and resized, of this very class alone.

    Args:
        layer_class: a class of layers, of Keras 3 or tf_keras.
        row: a `Kind`.

    Raises:
        TypeError: for something else.

    Example:

    >>> import keras, math
    >>> class Projection(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.w = self.add_weight(shape=(shape[-1], 3))
    ...     def call(self, x):
    ...         return x @ self.w
    >>> kernel = Kernel("w", inputs=0, outputs=1)
    >>> register(Projection, Kind(
    ...     kernels=(kernel,),
    ...     uses=lambda layer, inputs, outputs: math.prod(outputs[:-1]),
    ...     channels=lambda layer, inputs, outputs, array: [stages.Linear(kernel.view(array(layer.w)))],
    ... ))
    """
    if not isinstance(layer_class, type) or not is_layer_class(layer_class):
        must = "a class of layers, of Keras 3 or tf_keras"
        raise TypeError(checks.refused("graph.register", "layer_class", must, layer_class, "Pass the class itself."))
    if not isinstance(row, Kind):
        remedy = "Pass keras_admm.graph.Kind(...)."
        raise TypeError(checks.refused("graph.register", "row", "a keras_admm.graph.Kind", row, remedy))
    ROWS[layer_class] = row


def rows_of(layer):
    """The rows of a layer's class and of those that it is derived from, that class first."""
    return [row for row in map(_row, type(layer).__mro__) if row is not None]


def uses_of(layer):
    """How often a layer uses its weights, by the class whose `call` it runs: the row's `uses`, or None."""
    for c in type(layer).__mro__:
        row = _row(c)
        if row is not None and row.uses is not None:
            return row.uses
        if "call" in vars(c):
            return None
    return None


def channels_of(layer):
    """How channels pass a layer, by its very class: the row's `channels`, or None."""
    row = _row(type(layer))
    return row and row.channels


def groups_of(layer):
    """How channels of a layer live or die together, by its very class: the row's `groups`, or None."""
    row = _row(type(layer))
    return row and row.groups


def is_changed(layer):
    """Whether a layer does not do what its class does: it is quantized, has LoRA's factors, or a `call` put in it."""
    quantized = getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False)
    return bool(quantized) or "call" in vars(layer)


def resized_of(layer):
    """How the config of a layer changes when channels leave, by its very class: the row's `resized`, or None."""
    row = _row(type(layer))
    return row and row.resized


def _row(c):
    ours = c.__module__.split(".")[0] in LIBRARIES and is_layer_class(c)
    return ROWS.get(c, ROWS.get(c.__name__) if ours else None)


def is_layer_class(c):
    """Whether a class is one of layers: an operation of `keras.ops` may have the name of one."""
    return any(b.__name__ == "Layer" and b.__module__.split(".")[0] in LIBRARIES for b in c.__mro__)
