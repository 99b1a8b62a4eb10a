"""Rules for groups of operations of `keras.ops` that only move elements: transpose, split, slices, padding."""

import numpy as np

from keras_admm.graph.groups import merges, shapes
from keras_admm.graph.groups.axes import channel_axis, places_fixed


def transpose(op, call, widths):
    axes = widths.axes(call.reads()[0])
    order = range(len(axes))[::-1] if op.axes is None else op.axes
    widths.give(call.outputs[0], [axes[axis] for axis in order])


def moveaxis(op, call, widths):
    axes = widths.axes(call.reads()[0])
    widths.give(call.outputs[0], _moved(axes, op.source, op.destination))


def _moved(axes, source, destination):
    rank = len(axes)
    source, destination = [s % rank for s in source], [d % rank for d in destination]
    rest = iter([axis for axis in range(rank) if axis not in source])
    where = dict(zip(destination, source, strict=True))
    return [axes[where[axis] if axis in where else next(rest)] for axis in range(rank)]


def swapaxes(op, call, widths):
    axes = widths.axes(call.reads()[0])
    widths.give(call.outputs[0], _moved(axes, [op.axis1, op.axis2], [op.axis2, op.axis1]))


def expand(op, call, widths):
    axes, rank = widths.axes(call.reads()[0]), len(call.outputs[0].shape)
    new = {axis % rank for axis in np.atleast_1d(op.axis).tolist()}
    rest = iter(axes)
    widths.give(call.outputs[0], [None if axis in new else next(rest) for axis in range(rank)])


def squeeze(op, call, widths):
    x = call.reads()[0]
    rank = len(x.shape)
    ones = [axis for axis, size in enumerate(x.shape) if size == 1] if op.axis is None else np.atleast_1d(op.axis)
    gone = {int(axis) % rank for axis in ones}
    axes = widths.axes(x)
    for axis in gone:
        widths.freeze(axes[axis], "takes the axis away")
    widths.give(call.outputs[0], [labels for axis, labels in enumerate(axes) if axis not in gone])


def reshape(op, call, widths):
    x = call.reads()[0]
    widths.give(call.outputs[0], shapes.reshaped(widths.axes(x), x.shape, call.outputs[0].shape, widths))


def concatenate(op, call, widths):
    widths.give(call.outputs[0], merges.strung(call.reads(), op.axis, widths))


def stack(op, call, widths):
    axes = [widths.unite(*each) for each in zip(*map(widths.axes, call.reads()), strict=True)]
    axes.insert(op.axis % (len(axes) + 1), None)
    widths.give(call.outputs[0], axes)


def split(op, call, widths):
    """Equal parts stay so: their channels live or die together."""
    axes = widths.axes(call.reads()[0])
    along = axes[op.axis]
    if along is not None and np.ndim(op.indices_or_sections):
        widths.freeze(along, "cuts them at a given place")
    elif along is not None:
        along = widths.unite(*np.split(along, op.indices_or_sections))
    for out in call.outputs:
        axes[op.axis] = along if along is not None and len(along) == out.shape[op.axis] else None
        widths.give(out, axes)


def unstack(op, call, widths):
    axes = widths.axes(call.reads()[0])
    widths.freeze(axes.pop(op.axis), "takes them apart")
    for out in call.outputs:
        widths.give(out, axes)


def get_item(op, call, widths):
    """Slices of places and new axes; of channels, all or none."""
    x = call.args[0]
    key = call.args[1] if len(call.args) > 1 else call.kwargs["key"]
    keys = list(key) if isinstance(key, (tuple, list)) else [key]
    if not all(k is None or k is Ellipsis or isinstance(k, (int, slice)) for k in keys):
        for labels in widths.axes(x):
            widths.freeze(labels, "takes some of them")
        return
    missing = len(x.shape) - sum(k is not None and k is not Ellipsis for k in keys)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    keys[at : at + 1] = [slice(None)] * missing
    widths.give(call.outputs[0], _sliced(keys, x, widths))


def _sliced(keys, x, widths):
    out, axes = [], iter(zip(x.shape, widths.axes(x), strict=True))
    for key in keys:
        if key is None:
            out.append(None)
            continue
        size, labels = next(axes)
        if isinstance(key, int):
            widths.freeze(labels, "takes one of them")
            continue
        if labels is not None and list(range(*key.indices(size))) != list(range(size)):
            widths.freeze(labels, "takes some of them")
            labels = None
        out.append(labels)
    return out


def pad(op, call, widths):
    """Zeros along an axis of channels are channels that no layer writes."""
    x = call.reads()[0]
    axes = widths.axes(x)
    pads = list(op.pad_width) * (len(axes) if len(op.pad_width) == 1 else 1)
    value = call.args[1] if len(call.args) > 1 else call.kwargs.get("constant_values")
    zeros = op.mode == "constant" and (value is None or not np.any(value))
    for axis, (before, after) in enumerate(pads):
        if axes[axis] is None or not before + after:
            continue
        if zeros:
            axes[axis] = np.concatenate([widths.new(before), axes[axis], widths.new(after)])
        else:
            widths.freeze(axes[axis], "adds others along them that are not zero")
            axes[axis] = None
    widths.give(call.outputs[0], axes)


def depth_to_space(op, call, widths):
    """Of the channels that become one, at each of its places one, all live or die together."""
    _blocks(op, call, widths, lambda labels, n: widths.unite(*labels.reshape(n, -1)))


def space_to_depth(op, call, widths):
    _blocks(op, call, widths, lambda labels, n: np.tile(labels, n))


def _blocks(op, call, widths, change):
    x, out = call.reads()[0], call.outputs[0]
    axis = channel_axis(op, x)
    labels = places_fixed(x, axis, widths)
    axes = [None] * len(out.shape)
    axes[axis] = labels if labels is None else change(labels, op.block_size**2)
    widths.give(out, axes)
