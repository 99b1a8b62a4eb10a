"""Rules for groups of layers with kernels: dense ones, convolutions, lookups.

A rule is a function `(layer, call, widths)` that says, by the methods of `widths`, which channels live or die together,
which axes of the layer's variables carry them, and what labels its outputs have.
"""

import numpy as np

from keras_admm.graph.groups.activations import applied
from keras_admm.graph.groups.axes import channel_axis, places_fixed
from keras_admm.graph.groups.group import READS, WRITES


def dense(layer, call, widths):
    """Outputs are new; other axes of the input are places."""
    (x,) = call.reads()
    *places, channels = widths.axes(x)
    biased(layer, places, widths)
    widths.carry(layer.kernel, 0, channels, READS)
    out = written(layer, layer.kernel, -1, widths.new(layer.units), widths)
    widths.give(call.outputs[0], applied(layer.activation, [*places, out], widths))


def biased(layer, places, widths):
    """A bias makes what was zero at a place another value: places stay."""
    for labels in places if layer.use_bias else ():
        widths.freeze(labels, "adds a bias along them")


def convolution(layer, call, widths):
    """Of few groups of many channels the same channel of each leaves; of many groups of few channels whole groups."""
    (x,) = call.reads()
    axis = channel_axis(layer, x)
    labels = places_fixed(x, axis, widths)
    size, outputs = layer.kernel.shape[-2:]
    if layer.groups == 1 or size > layer.groups:
        if labels is not None:
            labels = widths.unite(*labels.reshape(layer.groups, size))
        widths.carry(layer.kernel, -2, labels, READS)
        new = np.tile(widths.new(outputs // layer.groups), layer.groups)
    else:
        new = _whole_groups(labels, layer.groups, size, outputs, widths)
    _out(layer, call, axis, written(layer, layer.kernel, -1, new, widths), widths)


def _whole_groups(labels, groups, size, outputs, widths):
    """Labels for the outputs of a convolution whose groups leave whole, with what they take."""
    if labels is None:
        return None
    labels = widths.unite(*labels.reshape(groups, size).T)
    return np.repeat(labels, outputs // groups)


def transposed(layer, call, widths):
    (x,) = call.reads()
    axis = channel_axis(layer, x)
    widths.carry(layer.kernel, -1, places_fixed(x, axis, widths), READS)
    _out(layer, call, axis, written(layer, layer.kernel, -2, widths.new(layer.filters), widths), widths)


def depthwise(layer, call, widths):
    """What comes of a channel leaves with it."""
    (x,) = call.reads()
    axis = channel_axis(layer, x)
    labels = places_fixed(x, axis, widths)
    # In tf_keras the kernel has another name.
    kernel = layer.kernel if hasattr(layer, "kernel") else layer.depthwise_kernel
    widths.carry(kernel, -2, labels, WRITES)
    out = labels if labels is None else np.repeat(labels, layer.depth_multiplier)
    if layer.use_bias:
        widths.carry(layer.bias, 0, out, WRITES)
    _out(layer, call, axis, out, widths)


def separable(layer, call, widths):
    (x,) = call.reads()
    axis = channel_axis(layer, x)
    labels = places_fixed(x, axis, widths)
    widths.carry(layer.depthwise_kernel, -2, labels, WRITES)
    between = labels if labels is None else np.repeat(labels, layer.depth_multiplier)
    widths.carry(layer.pointwise_kernel, -2, between, READS)
    _out(layer, call, axis, written(layer, layer.pointwise_kernel, -1, widths.new(layer.filters), widths), widths)


def written(layer, kernel, axis, labels, widths):
    """The labels of what a layer gives, carried by its kernel and its bias."""
    labels = widths.carry(kernel, axis, labels, WRITES)
    if layer.use_bias:
        widths.carry(layer.bias, -1, labels, WRITES)
    return labels


def embedding(layer, call, widths):
    """Only widths leave; words stay."""
    (x,) = call.reads()
    widths.give(
        call.outputs[0], [*widths.axes(x), widths.carry(layer.embeddings, 1, widths.new(layer.output_dim), WRITES)]
    )


def reversible_embedding(layer, call, widths):
    """A lookup, or the product with the same table, or another, that gives a number for each word."""
    if not (call.kwargs.get("reverse") or len(call.args) > 1 and call.args[1]):
        return embedding(layer, call, widths)
    *places, channels = widths.axes(call.reads()[0])
    variable, axis = (layer.embeddings, 1) if layer.tie_weights else (layer.reverse_embeddings, 0)
    widths.carry(variable, axis, channels, READS)
    widths.give(call.outputs[0], [*places, None])


def _out(layer, call, axis, labels, widths):
    axes = [None] * len(call.outputs[0].shape)
    axes[axis] = labels
    widths.give(call.outputs[0], applied(layer.activation, axes, widths))
