"""Rules for groups of operations of `keras.ops` that compute: element by element, or over axes."""

import numpy as np

from keras_admm.graph.calls import Tensor
from keras_admm.graph.groups import merges


def unary(op, call, widths):
    widths.give(call.outputs[0], widths.axes(call.reads()[0]))


def binary(op, call, widths):
    _joined(call, False, widths)


def product(op, call, widths):
    """Zero stays zero."""
    _joined(call, True, widths)


def _joined(call, zero_wins, widths):
    """Channels stay that meet constants other than a single number, which they would have to be taken from."""
    axes = merges.joined(call.reads(), call.outputs[0].shape, widths, zero_wins)
    for constant in (*call.args, *call.kwargs.values()):
        if constant is None or isinstance(constant, (Tensor, str)):
            continue
        shape = np.shape(constant)
        sizes = [1] * (len(axes) - len(shape)) + list(shape)
        for size, labels in zip(sizes, axes, strict=True):
            if size > 1 or max(sizes) > 1 and not zero_wins:
                widths.freeze(labels, "joins them with a constant")
    widths.give(call.outputs[0], axes)


def division(op, call, widths):
    """Zero by zero is no number: of what is divided by, channels stay."""
    below = call.args[1] if len(call.args) > 1 else call.kwargs.get("x2")
    if isinstance(below, Tensor):
        _freeze(widths.axes(below), "divides by them", widths)
    _joined(call, True, widths)


def power(op, call, widths):
    """Zero stays a number where the exponent is a positive constant."""
    exponent = call.args[1] if len(call.args) > 1 else call.kwargs.get("x2")
    if isinstance(exponent, Tensor) or np.ndim(exponent) or np.any(np.asarray(exponent) <= 0):
        for x in call.reads():
            _freeze(widths.axes(x), "raises them to a power that zero may not have", widths)
        return
    unary(op, call, widths)


def clip(op, call, widths):
    axes = widths.axes(call.reads()[0])
    if np.ndim(op.x_min) or np.ndim(op.x_max):
        _freeze(axes, "clips them to values of their own", widths)
    widths.give(call.outputs[0], axes)


def over(op, call, widths):
    """Reduces, or goes over, one or several axes; channels along the others pass."""
    x, out = call.reads()[0], call.outputs[0]
    axes, rank = widths.axes(x), len(x.shape)
    gone = range(rank) if op.axis is None else {axis % rank for axis in np.atleast_1d(op.axis).tolist()}
    _freeze([axes[axis] for axis in gone], "goes over them", widths)
    for weights in (each for each in (*call.args, *call.kwargs.values()) if each is not x and len(np.shape(each)) > 1):
        _freeze([*axes, *(widths.axes(weights) if isinstance(weights, Tensor) else ())], "weighs them", widths)
    if len(out.shape) < rank:
        axes = [labels for axis, labels in enumerate(axes) if axis not in gone]
    else:
        axes = [None if out.shape[axis] != x.shape[axis] else labels for axis, labels in enumerate(axes)]
    for each in call.outputs:
        if len(each.shape) == len(axes):
            widths.give(each, axes)


def _freeze(axes, reason, widths):
    for labels in axes:
        widths.freeze(labels, reason)
