"""Rules for groups of normalization: over the batch it lets channels pass, over channels it ties them."""

from keras_admm.graph.groups.group import STATE, WRITES


def batch(layer, call, widths):
    """Each channel by itself. Where no gamma scales a channel, its moving mean must be zero too for it to be zero."""
    x = call.reads()[0]
    axes = widths.axes(x)
    (axis,) = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    labels = axes[axis]
    if layer.scale:
        labels = widths.carry(layer.gamma, 0, labels, WRITES)
    if layer.center:
        labels = widths.carry(layer.beta, 0, labels, WRITES)
    labels = widths.carry(layer.moving_mean, 0, labels, STATE if layer.scale else WRITES)
    widths.carry(layer.moving_variance, 0, labels, STATE)
    axes[axis] = labels
    widths.give(call.outputs[0], axes)


def over_channels(layer, call, widths):
    """What it divides by would change if some left."""
    axes = widths.axes(call.reads()[0])
    for axis in layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]:
        widths.freeze(axes[axis], "normalizes over them: mean and variance would be others without those that leave")
    widths.give(call.outputs[0], axes)
