"""How many channels of a model are other than zero, and which never leave, as sentences of a report."""

import collections

import numpy as np

from keras_admm import weights
from keras_admm.errors import named_few
from keras_admm.graph import groups as graph_groups

MOST = 100  # layers that are named


def channels(model, layers=None, exclude=None):
    """What `ADMMPrune(structure="channel")` has left of a model, and what it cannot take.

    Args:
        model: a built Sequential or Functional model.
        layers, exclude: see `keras_admm.graph.groups.of`.
    """
    groups = graph_groups.of(model, layers, exclude)
    alive = _alive(groups)
    families = [group.family for group in groups]
    kept = collections.Counter(family for family, stays in zip(families, alive, strict=True) if stays)
    left = [f"{family} {kept[family]:,} of {every:,}" for family, every in collections.Counter(families).items()]
    told = [f"Left of channels that are zeroed as one: {named_few(left, MOST)}."] if left else []
    if groups.frozen:
        frozen = named_few([f"{layer} {reason}" for layer, reason in groups.frozen], MOST)
        told.append(f"Channels that never leave: {frozen}.")
    return " ".join(told)


def _alive(groups):
    """Which groups are other than zero where something writes them, an array of bools."""
    arrays = {id(v): weights.read(v) for v in groups.variables}
    return np.array(
        [
            any(arrays[id(each.variable)].take(each.indices, each.axis).any() for each in group.of(graph_groups.WRITES))
            for group in groups
        ],
        bool,
    )
