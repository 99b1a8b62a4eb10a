"""Half of a model's channels set to zero, where only sizes and speed are asked: which half does not matter."""

import keras
import numpy as np


def halve(groups, seed=0):
    """Sets what every second group of each family writes to zero.

    Args:
        groups: `keras_admm.graph.groups.Groups` of a model, whose weights are changed.
        seed: int, of which groups these are.
    """
    rng, stays, values = np.random.default_rng(seed), {}, {}
    for i in rng.permutation(len(groups)):
        group = groups.groups[i]
        stays[group.family] = not stays.get(group.family, True)
        for each in [] if stays[group.family] else group.of("writes"):
            value = values.setdefault(id(each.variable), (each.variable, _value(each.variable)))[1]
            value[(slice(None),) * each.axis + (each.indices,)] = 0
    for variable, value in values.values():
        variable.assign(value)


def _value(variable):
    return np.array(keras.ops.convert_to_numpy(variable))
