"""What a structure has left of a model's kernels, and which it does not fit, as sentences of a report."""

import numpy as np

from keras_admm.constraints import Sparse, pattern
from keras_admm.errors import named_few

MOST = 100  # kernels that are named


class Structured:
    """A pruning structure that the kernels of a model are seen by, one after the other.

    Args:
        structure: the name of a pattern, or a `constraints.Pattern`.
        axes: dict of the kernels' names to their `constraints.Axes`.
    """

    def __init__(self, structure, axes):
        self._structure = structure
        self._says = pattern("report", structure).sparsity is not None
        self._axes = axes
        self._left, self._broken, self._misfits = [], [], []

    def see(self, name, array):
        """Look at a kernel."""
        array = array.astype("float32", copy=False)
        constraint = Sparse(None if self._says else 0.0, self._structure, self._axes[name])
        try:
            groups = constraint.kept(array.shape)[1]
        except ValueError:
            self._misfits.append(name)
            return
        if self._says and not np.array_equal(constraint(array), array):
            self._broken.append(name)
        else:
            self._left.append(name if self._says else f"{name} {constraint.living(array):,} of {groups:,}")

    def __str__(self):
        name = pattern("report", self._structure)
        told = [
            (f"Structure {self._structure}: held by" if self._says else f"Left of {name}:", self._left),
            ("Not held by", self._broken),
            (f"Structure {self._structure} does not fit", self._misfits),
        ]
        return " ".join(f"{text} {named_few(names, MOST)}." for text, names in told if names)
