"""Rules for groups of activations: those that work element by element let channels pass."""

import keras

from keras_admm.graph.channels import ELEMENTWISE
from keras_admm.graph.groups.group import STATE

# Functions with these names, wherever they are from, compute each element by itself.
NAMES = {*ELEMENTWISE, "swish", "hard_swish", "hard_shrink", "threshold", "sparse_plus", "sparse_sigmoid"}
LIBRARIES = ("keras", "tf_keras", "tensorflow", "jax", "torch")
OVER_THE_LAST = {"softmax", "log_softmax", "sparsemax", "glu"}


def applied(activation, axes, widths):
    """The labels of a tensor's axes after an activation, frozen where it looks at more than one element."""
    if is_elementwise(activation):
        return axes
    last = getattr(activation, "__name__", None) in OVER_THE_LAST and _is_theirs(activation)
    for labels in axes[-1:] if last else axes:
        widths.freeze(labels, "has an activation that goes over them")
    return axes


def is_elementwise(activation):
    """Whether an activation is known to compute each element by itself."""
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
    return activation is None or getattr(activation, "__name__", None) in NAMES and _is_theirs(activation)


def _is_theirs(function):
    return getattr(function, "__module__", "").split(".")[0] in LIBRARIES


def activation(layer, call, widths):
    (x,) = call.reads()
    widths.give(call.outputs[0], applied(layer.activation, widths.axes(x), widths))


def same(layer, call, widths):
    """Each element comes of the one at the same place alone."""
    x = call.reads()[0]
    widths.give(call.outputs[0], widths.axes(x))


def softmax(layer, call, widths):
    axes = widths.axes(call.reads()[0])
    over = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    for axis in over:
        widths.freeze(axes[axis], "is a softmax over them")
    widths.give(call.outputs[0], axes)


def prelu(layer, call, widths):
    """Its slopes leave with the channels: of zero it makes zero whatever they are."""
    axes = widths.axes(call.reads()[0])
    for axis, labels in enumerate(axes[1:]):
        if layer.alpha.shape[axis] > 1:
            axes[axis + 1] = widths.carry(layer.alpha, axis, labels, STATE)
    widths.give(call.outputs[0], axes)
