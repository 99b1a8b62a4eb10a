"""`StructureTarget`: whole channels are pruned, coupled groups of them, until a model meets a budget."""

import numpy as np

from keras_admm import checks, weights
from keras_admm.constraints import Support
from keras_admm.graph import groups as graph_groups
from keras_admm.plan import Budget, Target, ascending, check_budget
from keras_admm.schedules import check_path, tighten
from keras_admm.structure import costs
from keras_admm.structure.choice import choose


class StructureTarget(Target):
    """A budget of MACs, parameters, bytes or channels for a model, whose channels leave as coupled groups.

    Args:
        budget: a `Budget`, what is left where the step ends.
        start: a `Budget` of the same kind, what is left where it begins; None: all.
        min_keep: int, how many groups of each family stay at least.
        path: see `keras_admm.ADMMPrune`.
        name: str, name used in error messages.
    """

    def __init__(self, budget, *, start=None, min_keep=1, path="constant", name="StructureTarget"):
        self.budget = budget
        self.start = start
        self.min_keep = checks.integer(name, "min_keep", min_keep)
        check_path(name, path)
        self.path = path
        self.name = name

    def of(self, model, variables, layers=None, exclude=None):
        bound = super().of(model, variables)
        bound.groups = graph_groups.of(model, layers, exclude)
        bound._find(model)
        return bound

    def _find(self, model):
        """What the groups write, and which of them may leave."""
        trained = {id(v) for v in model.trainable_variables}
        by_id = {id(v): name for name, v in weights.named(model).items()}
        self.wants, self._written = {}, {}
        self._stays = np.zeros(len(self.groups), bool)
        for i, group in enumerate(self.groups):
            writes = group.of(graph_groups.WRITES)
            self._stays[i] = not writes or any(id(each.variable) not in trained for each in writes)
        for i, group in enumerate(self.groups):
            for each in [] if self._stays[i] else group.of(graph_groups.WRITES):
                name = by_id[id(each.variable)]
                self.wants[name] = each.variable
                width = self.groups.widths[id(each.variable), each.axis]
                self._written.setdefault(name, {})[each.axis] = width
        families = [group.family for group in self.groups]
        self._families = np.unique(families, return_inverse=True)[1] if families else np.zeros(0, int)

    def sets(self, arrays, fraction):
        alive = self.alive(arrays, fraction)
        return {name: Support(self._mask(name, alive)) for name in self.wants}

    def alive(self, arrays, fraction=1.0):
        """Which groups stay, an array of bools over `groups`."""
        dense = costs.of(self.groups, self.budget.unit)
        start = dense if self.start is None else self.start.of(dense)
        share = 1 - tighten(1 - start / dense, 1 - self.budget.of(dense) / dense, fraction, self.path)
        values = np.where(self._stays, np.inf, self.values(arrays))
        alive = choose(self.groups, values, self.budget.unit, share * dense, self._families, self.min_keep)
        if alive is None:
            raise ValueError(
                f"{self.name}: a budget must leave {self.min_keep} channel(s) of each layer, and those that never "
                f"leave. Received: {self.budget}, {share * dense:,.0f} of {dense:,.0f}. Raise it, or leave more layers "
                "to it with layers= and exclude=."
            )
        return alive

    def values(self, arrays):
        """What each group is worth: its squared norm, as a share of that of its family."""
        squares = np.zeros(len(self.groups) + 1)
        for name, axes in self._written.items():
            square = np.square(arrays[name].astype("float64"))
            for axis, width in axes.items():
                sums = square.sum(axis=tuple(i for i in range(square.ndim) if i != axis))
                squares += np.bincount(width + 1, sums, minlength=len(squares))
        squares = squares[1:]
        means = np.bincount(self._families, squares) / np.maximum(np.bincount(self._families), 1)
        return squares / np.maximum(means, 1e-30)[self._families]

    def _mask(self, name, alive):
        shape = self.wants[name].shape
        mask = np.ones(shape, bool)
        for axis, width in self._written[name].items():
            along = [1] * len(shape)
            along[axis] = -1
            mask &= graph_groups.living(width, alive).reshape(along)
        return mask

    def decisive(self, fractions):
        return fractions[-1:]

    def get_config(self):
        return {
            "budget": _shown(self.budget),
            "start": self.start and _shown(self.start),
            "min_keep": self.min_keep,
            "path": self.path,
        }


def _shown(budget):
    return {budget.unit: budget.amount}


def structure_targets(name, sparsity, budget, **arguments):
    """The targets of pruning channels: one, or one for each of a list of sparsities.

    Args:
        name: str, name used in error messages.
        sparsity: float in `[0, 1)`, the share of channels (of groups) that leave, or a list of ascending ones; or None.
        budget: what is left, see `structure.budget`, in its place.
        **arguments: of `StructureTarget`.
    """
    budgets = [] if budget is None else [check_budget(name, budget)]
    budgets += [] if sparsity is None else [Budget("channels", 1 - each) for each in ascending(name, sparsity)]
    if (sparsity is None) == (budget is None):
        raise ValueError(
            f"{name}: with structure='channel' one of `sparsity`, the share of channels that leave, and `budget`, what "
            f"is left, must be given. Received: {sparsity=}, {budget=}. Write for example budget={{'macs': 0.5}}."
        )
    starts = [None, *budgets[:-1]]
    return [
        StructureTarget(end, start=start, name=name, **arguments) for start, end in zip(starts, budgets, strict=True)
    ]
