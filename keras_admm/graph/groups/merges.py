"""Rules for groups of layers that merge: what is joined place by place lives or dies together."""

import numpy as np


def merge(layer, call, widths):
    widths.give(call.outputs[0], joined(call.reads(), call.outputs[0].shape, widths))


def joined(tensors, shape, widths):
    """The labels of what tensors are merged to element by element, smaller ones repeated along the others' axes.

    Args:
        tensors: list of `Tensor`.
        shape: of the result.
        widths: the `Widths`.
    """
    by_axis = [[] for _ in shape]
    for x in tensors:
        first = len(shape) - len(x.shape)
        for axis, (size, labels) in enumerate(zip(x.shape, widths.axes(x), strict=True), first):
            if size == 1 and shape[axis] != 1:
                widths.freeze(labels, "repeats it along others")
            else:
                by_axis[axis].append(labels)
    return [widths.unite(*each) for each in by_axis]


def concatenation(layer, call, widths):
    widths.give(call.outputs[0], strung(call.reads(), layer.axis, widths))


def strung(tensors, axis, widths):
    """The labels of tensors one after another along an axis; along the others they are joined."""
    rank = len(tensors[0].shape)
    axis %= rank
    every = [widths.axes(x) for x in tensors]
    out = [None if i == axis else widths.unite(*(axes[i] for axes in every)) for i in range(rank)]
    along = [axes[axis] for axes in every]
    if any(labels is not None for labels in along):
        sizes = [x.shape[axis] for x in tensors]
        parts = [widths.fixed(n) if labels is None else labels for n, labels in zip(sizes, along, strict=True)]
        out[axis] = np.concatenate(parts)
    return out
