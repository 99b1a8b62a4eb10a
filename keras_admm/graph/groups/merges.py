"""Rules for groups of layers that merge: what is joined place by place lives or dies together."""

import numpy as np


def merge(layer, call, widths):
    widths.give(call.outputs[0], joined(call.reads(), call.outputs[0].shape, widths))


def product(layer, call, widths):
    widths.give(call.outputs[0], joined(call.reads(), call.outputs[0].shape, widths, zero_wins=True))


def joined(tensors, shape, widths, zero_wins=False):
    """The labels of what tensors are merged to element by element, smaller ones repeated along the others' axes.

    Args:
        tensors: list of `Tensor`.
        shape: of the result.
        widths: the `Widths`.
        zero_wins: bool, whether zero stays zero whatever it is merged with, as in a product; else channels along which
            another tensor is repeated would not stay zero.
    """
    by_axis, repeated = [[] for _ in shape], set()
    for x in tensors:
        first = len(shape) - len(x.shape)
        repeated |= set(range(1, first))
        for axis, (size, labels) in enumerate(zip(x.shape, widths.axes(x), strict=True), first):
            if size == 1 and shape[axis] != 1:
                widths.freeze(labels, "repeats it along others")
                repeated.add(axis)
            else:
                by_axis[axis].append(labels)
    axes = [widths.unite(*each) for each in by_axis]
    for axis in () if zero_wins else repeated:
        widths.freeze(axes[axis], "repeats another tensor along them")
    return axes


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
