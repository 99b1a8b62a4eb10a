"""What a model costs when only some groups of channels stay, in the unit of a budget."""

import numpy as np

from keras_admm.graph.groups import FIXED

CHANNELS = "channels"  # groups, which cost 1 each


class Costs:
    """What is left of a model costs, counted many times: by the widths of its axes, each of which is kept once.

    Args:
        groups: `graph.groups.Groups`.
        unit: `"macs"`, `"params"`, `"bytes"` or `"channels"`.
    """

    def __init__(self, groups, unit):
        self._groups = groups
        self._unit = unit
        axes = {}
        for width in groups.widths.values():
            axes.setdefault(width.tobytes(), (len(axes), width))
        counts = [np.bincount(width - FIXED, minlength=len(groups) + 1) for _, width in axes.values()]
        counts = np.array(counts, float).reshape(len(axes), len(groups) + 1)
        self._fixed, self._members = counts[:, 0], counts[:, 1:]
        self._axes = {key: axes[width.tobytes()][0] for key, width in groups.widths.items()}
        self._products = []
        self.renew(np.ones(len(groups), bool))

    def renew(self, alive):
        """Count anew how often weights are used, which may depend on what stays."""
        if self._unit != CHANNELS:
            self._products = [self._product(*each) for each in self._groups.factors(self._unit, alive)]

    def _product(self, variable, factor):
        """What a variable's weights cost, and which axes multiply it."""
        axes = [self._axes.get((id(variable), axis)) for axis in range(len(variable.shape))]
        sizes = [size for size, axis in zip(variable.shape, axes, strict=True) if axis is None]
        return factor * np.prod(sizes), [axis for axis in axes if axis is not None]

    def of(self, alive):
        """What the model costs when only these groups stay, an array of bools."""
        if self._unit == CHANNELS:
            return np.count_nonzero(alive)
        sizes = self._fixed + self._members @ alive
        return sum(factor * np.prod(sizes[axes]) for factor, axes in self._products)

    def marginal(self, alive):
        """About what each group adds to that: the derivative of the products of widths. A float array."""
        if self._unit == CHANNELS:
            return np.ones(len(alive))
        sizes, slopes = self._fixed + self._members @ alive, np.zeros(len(self._fixed))
        for factor, axes in self._products:
            for i, axis in enumerate(axes):
                slopes[axis] += factor * np.prod(sizes[axes[:i] + axes[i + 1 :]])
        return slopes @ self._members
