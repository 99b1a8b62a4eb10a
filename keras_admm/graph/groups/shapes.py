"""Rules for groups of layers that only move elements: flatten, reshape, permute, pad, pool, crop."""

import math

import numpy as np

from keras_admm.graph.groups.axes import channel_axis, places_fixed

LOST = "changes their shape in a way that does not follow them"


def flatten(layer, call, widths):
    """Channels come last first, as Keras does it; then each place has its channels one after another."""
    (x,) = call.reads()
    shape, axes = list(x.shape), widths.axes(x)
    if layer.data_format == "channels_first" and len(shape) > 1:
        shape, axes = [shape[0], *shape[2:], shape[1]], [axes[0], *axes[2:], axes[1]]
    widths.give(call.outputs[0], reshaped(axes, shape, call.outputs[0].shape, widths))


def reshape(layer, call, widths):
    (x,) = call.reads()
    widths.give(call.outputs[0], reshaped(widths.axes(x), x.shape, call.outputs[0].shape, widths))


def reshaped(axes, before, after, widths):
    """The labels of a tensor's axes after a change of its shape.

    Axes that become one have their labels repeated. Where one becomes several, what is at the same place of the last of
    them lives or dies together, since layers take the last axis for the one of channels.

    Args:
        axes: list of labels.
        before, after: shapes, None where a size is open.
        widths: the `Widths`.
    """
    out = [None] * len(after)
    for old, new in _segments(before, after):
        # Of two axes that become one, one stays.
        labelled = sorted((i for i in old if axes[i] is not None), key=lambda i: widths.is_frozen(axes[i]))
        sizes = [before[i] for i in old], [after[i] for i in new]
        followed = None not in (*sizes[0], *sizes[1]) and math.prod(sizes[0]) == math.prod(sizes[1])
        for i in labelled[1:] if followed else labelled:
            widths.freeze(axes[i], "makes one axis of two along which some could leave" if followed else LOST)
        if labelled and followed:
            grid = axes[labelled[0]].reshape([-1 if i == labelled[0] else 1 for i in old])
            grid = np.broadcast_to(grid, sizes[0]).reshape(sizes[1])
            at = _axis(grid)
            out[new[at]] = widths.unite(*np.moveaxis(grid, at, -1).reshape(-1, sizes[1][at]))
    return out


def _axis(grid):
    """The axis along which alone labels differ; else the last that has places."""
    differ = [axis for axis in range(grid.ndim) if (grid != np.take(grid, [0], axis)).any()]
    wide = [axis for axis, size in enumerate(grid.shape) if size > 1] or [0]
    return differ[0] if len(differ) == 1 else wide[-1]


def _segments(before, after):
    """Pairs of lists of axes that become one another: the shortest runs of the same number of elements."""
    alike = 0
    while alike < min(len(before), len(after)) and before[-1 - alike] == after[-1 - alike] is not None:
        alike += 1
    ends = len(before) - alike, len(after) - alike
    return [*_runs(before[: ends[0]], after[: ends[1]]), *(([ends[0] + i], [ends[1] + i]) for i in range(alike))]


def _runs(before, after):
    pairs, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        old, new = [i] if i < len(before) else [], [j] if j < len(after) else []
        i, j = i + len(old), j + len(new)
        while _product(before, old) != _product(after, new) and (i < len(before) or j < len(after)):
            less = _product(before, old) < _product(after, new)
            if less and i < len(before) or j == len(after):
                old, i = [*old, i], i + 1
            else:
                new, j = [*new, j], j + 1
        pairs.append((old, new))
    return pairs


def _product(shape, axes):
    """The number of elements along some axes; an open size is taken for one that no other product is."""
    return math.prod(shape[i] or 0.5 for i in axes)


def permute(layer, call, widths):
    (x,) = call.reads()
    axes = widths.axes(x)
    widths.give(call.outputs[0], [axes[0], *(axes[dim] for dim in layer.dims)])


def padding(layer, call, widths):
    """Zeros that are added along an axis of channels are channels that no layer writes."""
    (x,) = call.reads()
    axes = widths.axes(x)
    pads = [layer.padding] if isinstance(layer.padding[0], int) else layer.padding
    first = 2 if getattr(layer, "data_format", None) == "channels_first" else 1
    for axis, (before, after) in enumerate(pads, first):
        if axes[axis] is not None:
            axes[axis] = np.concatenate([widths.new(before), axes[axis], widths.new(after)])
    widths.give(call.outputs[0], axes)


def by_channel(layer, call, widths):
    """Pools, crops, scales up: places are worked on, each channel by itself."""
    x, out = call.reads()[0], call.outputs[0]
    axis = channel_axis(layer, x) if hasattr(layer, "data_format") else len(x.shape) - 1
    labels = places_fixed(x, axis, widths)
    axes = [None] * len(out.shape)
    # A pool over all places leaves channels alone, or with axes of size 1.
    axes[axis if len(out.shape) == len(x.shape) else -1] = labels
    widths.give(out, axes)


def repeat(layer, call, widths):
    (x,) = call.reads()
    axes = widths.axes(x)
    widths.give(call.outputs[0], [axes[0], None, *axes[1:]])
