"""Rules for groups of normalization: over the batch it lets channels pass, over channels it ties them."""

import numpy as np

from keras_admm.graph.groups.axes import places_fixed
from keras_admm.graph.groups.group import STATE, WRITES

OVER = "normalizes over them: mean and variance would be others without those that leave"


def batch(layer, call, widths):
    """Each channel by itself. Where no gamma scales a channel, its moving mean must be zero too for it to be zero."""
    x = call.reads()[0]
    axes = widths.axes(x)
    (axis,) = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    labels = places_fixed(x, axis % len(axes), widths)
    if layer.scale:
        labels = widths.carry(layer.gamma, 0, labels, WRITES)
    if layer.center:
        labels = widths.carry(layer.beta, 0, labels, WRITES)
    labels = widths.carry(layer.moving_mean, 0, labels, STATE if layer.scale else WRITES)
    widths.carry(layer.moving_variance, 0, labels, STATE)
    axes[axis] = labels
    widths.give(call.outputs[0], axes)


def group(layer, call, widths):
    """Groups leave whole."""
    x = call.reads()[0]
    axes, axis = [None] * len(x.shape), layer.axis % len(x.shape)
    labels = places_fixed(x, axis, widths)
    if labels is not None:
        labels = np.repeat(widths.unite(*labels.reshape(layer.groups, -1).T), len(labels) // layer.groups)
    for variable in [layer.gamma] * layer.scale + [layer.beta] * layer.center:
        widths.carry(variable, 0, labels, WRITES)
    axes[axis] = labels
    widths.give(call.outputs[0], axes)


def over_channels(layer, call, widths):
    """What it divides by would change if some left; what it adds along other axes makes zero another value."""
    axes = widths.axes(call.reads()[0])
    over = {axis % len(axes) for axis in (layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis])}
    for axis, labels in enumerate(axes):
        widths.freeze(labels, OVER if axis in over else "adds a beta along them")
    widths.give(call.outputs[0], axes)


def scale(layer, call, widths):
    """LayerScale of keras.applications."""
    axes = widths.axes(call.reads()[0])
    axes[-1] = widths.carry(layer.gamma, 0, axes[-1], WRITES)
    widths.give(call.outputs[0], axes)
