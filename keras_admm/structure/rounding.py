"""How many channels stay, where widths are to be multiples of a number: some dead ones then do."""

import numpy as np

from keras_admm.graph.groups import FIXED, living


def rounded(groups, alive, leaving, multiple):
    """Which groups stay so that no axis that stays is empty, and widths are multiples of a number.

    Args:
        groups: `Groups` of the model.
        alive: array of bools over the groups.
        leaving: `Leaving`.
        multiple: int. A width that was no multiple may stay as it was.
    """
    tensors, variables = _axes(groups, leaving)
    before = None
    while before is None or not np.array_equal(before, alive):
        before = alive
        for width in tensors:
            alive = _filled(width, alive, multiple)
        for width in variables:
            alive = _filled(width, alive, 1)
    return alive


def _axes(groups, leaving):
    """The axes of the tensors that stay, and of the variables."""
    tensors, variables = {}, {}
    for call in leaving.calls:
        for x in (*leaving.taken(call), *call.outputs):
            widths = groups.tensors.get(x) or ()
            tensors.update({(x, axis): width for axis, width in enumerate(widths) if width is not None})
        for key, variable in call.variables.items():
            each = ((key, axis) for axis in range(len(variable.shape)))
            variables.update({place: groups.widths[place] for place in each if place in groups.widths})
    return list(tensors.values()), list(variables.values())


def _filled(width, alive, multiple):
    """With the first dead groups of an axis that are missing."""
    count = int(living(width, alive).sum())
    if count and count % multiple == 0 or count == len(width):
        return alive
    alive = alive.copy()
    dead, sizes = np.unique(width[~living(width, alive)], return_counts=True)
    for group, size in zip(dead[dead != FIXED], sizes[dead != FIXED], strict=True):
        alive[group] = True
        count += int(size)
        if count % multiple == 0:
            break
    return alive
