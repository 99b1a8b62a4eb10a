"""How often the weights of a layer's kernels are used in a call, by its shapes: what MACs are counted by."""

import math

from keras_admm.graph.kind import uses_of


def at_outputs(layer, inputs, outputs):
    """Once at each place of the output."""
    return _places(layer, outputs)


def at_inputs(layer, inputs, outputs):
    """Once at each place of the input."""
    return _places(layer, inputs)


def never(layer, inputs, outputs):
    """Looked up, not multiplied."""
    return 0


def einsum(layer, inputs, outputs):
    """Every axis of the input that the kernel does not have."""
    axes, kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
    axes = axes.replace("...", "." * (len(inputs) - len(axes.replace("...", ""))))
    return _product([size for axis, size in zip(axes, inputs, strict=True) if axis == "." or axis not in kernel])


def reversible(layer, inputs, outputs):
    """Looked up, or multiplied with what has as many axes as comes out."""
    if not layer.tie_weights:
        return None
    return _product(inputs[:-1]) if len(inputs) == len(outputs) else 0


def recurrent(layer, inputs, outputs):
    """Once a time step, and for the cells that convolve once a place."""
    cells = getattr(layer.cell, "cells", [layer.cell])
    if getattr(layer, "time_major", False) or any(uses_of(each) is not cell for each in cells):
        return None
    if not hasattr(layer.cell, "kernel_size"):
        return _product(inputs[:2])
    rank = len(layer.cell.kernel_size)
    place = outputs[-rank:] if layer.cell.data_format == "channels_first" else outputs[-rank - 1 : -1]
    return _product([*inputs[:2], *place])


def cell(layer, inputs, outputs):
    """A cell that is called by itself, for one step."""
    return _product(inputs[:1]) if not hasattr(layer, "kernel_size") else None


def _places(layer, shape):
    """The batch (which inner layers may find time folded into) times the places in space: all but the channels."""
    channels = 1 if getattr(layer, "data_format", None) == "channels_first" else len(shape) - 1
    return _product([size for axis, size in enumerate(shape) if axis != channels])


def _product(sizes):
    return None if None in sizes else math.prod(sizes)
