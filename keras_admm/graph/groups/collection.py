"""What was found on the way through a model, put together as its groups."""

import collections

import numpy as np

from keras_admm.graph.groups.group import WRITES, Group, Slice
from keras_admm.graph.groups.result import FIXED, Groups
from keras_admm.graph.groups.widths import FIXED as FIXED_LABEL


def collected(model, calls, widths, terms, unknown):
    """The `Groups` of a model.

    Args:
        model: the model.
        calls: its `Calls`.
        widths: the `Widths`, which has seen all calls.
        terms: list of `Term`.
        unknown: set of the ids of kernels that no term counts.
    """
    told = widths.settled()
    carried = {key: widths.roots(labels) for key, labels in widths.carried.items()}
    order = _order(carried, widths.roles)
    index = np.full(len(widths.origins), FIXED)
    index[order] = np.arange(len(order))
    by_axis = {key: index[roots] for key, roots in carried.items()}
    tensors = {
        x: tuple(labels if labels is None else index[widths.roots(labels)] for labels in axes)
        for x, axes in widths.tensors.items()
    }
    names = _names(calls)
    groups = _groups(order, _slices(by_axis, widths), widths, names)
    frozen = [(names[id(layer)], reason) for layer, reason in told]
    uncounted = list(dict.fromkeys(names[id(call.layer)] for call in calls if unknown & call.variables.keys()))
    return Groups(groups, frozen, uncounted, calls, by_axis, widths.roles, tensors, _unique(model.weights), terms)


def _order(carried, roles):
    """The labels that stand for groups, in the order of the first layers that write them; those of zeros last."""
    written = [roots for key, roots in carried.items() if WRITES in roles[key]]
    other = [roots for key, roots in carried.items() if WRITES not in roles[key]]
    every = np.concatenate([*written, *other, np.zeros(0, int)])
    labels, first = np.unique(every, return_index=True)
    labels = labels[np.argsort(first)]
    return labels[labels != FIXED_LABEL]


def _slices(by_axis, widths):
    """For each group, by its index, its slices."""
    slices = collections.defaultdict(list)
    for (key, axis), members in by_axis.items():
        order = np.argsort(members, kind="stable")
        groups, starts = np.unique(members[order], return_index=True)
        for group, places in zip(groups.tolist(), np.split(order, starts[1:]), strict=True):
            if group != FIXED:
                slices[group] += [Slice(widths.variables[key], axis, places, role) for role in widths.roles[key, axis]]
    return slices


def _groups(order, slices, widths, names):
    counts, groups = collections.Counter(), []
    for group, label in enumerate(order):
        own = slices[group]
        writers = [widths.carriers[id(each.variable)] for each in own if each.role == WRITES]
        family = names[id((writers or [widths.origins[label]])[0])]
        groups.append(Group(f"{family}[{counts[family]}]", family, tuple(own)))
        counts[family] += 1
    return groups


def _names(calls):
    """A name for each layer by its id, with a number behind it where another has the same."""
    names, taken = {}, collections.Counter()
    for call in calls:
        if id(call.layer) not in names:
            name = call.layer.name
            taken[name] += 1
            names[id(call.layer)] = name if taken[name] == 1 else f"{name}_{taken[name]}"
    return names


def _unique(variables):
    return list({id(v): v for v in variables}.values())
