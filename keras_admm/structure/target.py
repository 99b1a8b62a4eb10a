"""`StructureTarget`: whole channels are pruned, coupled groups of them, until a model meets a budget."""

import warnings

import numpy as np

from keras_admm import checks
from keras_admm.constraints import Support
from keras_admm.errors import named_few
from keras_admm.graph import groups as graph_groups
from keras_admm.plan import Budget, Target, ascending, check_budget, warn_of_uncounted
from keras_admm.schedules import check_path, tighten
from keras_admm.structure.branches import BranchGains, branches
from keras_admm.structure.choice import Choice
from keras_admm.structure.costs import CHANNELS, Costs
from keras_admm.structure.places import Places

# What units are called in what is printed.
UNITS = {"macs": "MACs", "params": "parameters", "bytes": "bytes", CHANNELS: "groups of channels"}


class StructureTarget(Target):
    """A budget of MACs, parameters, bytes or channels for a model, whose channels leave as coupled groups.

    Solves `argmax_Z prod_i (||Z_i||^2 / ||W_i + U_i||^2) subject to cost(Z) <= budget`, over models Z of which only
    some groups are other than zero, and there W + U: the product over kernels and gammas of the share of its squared
    norm that each keeps. So a layer's last channels are worth more than its first, no layer dies, and a kernel that is
    used at many places gives up more channels than one that costs little. Groups leave one after the other, those first
    that gain least for what they cost. Z is zero in all that writes what leaves, kernels, biases, gammas and betas, so
    that it is exactly zero on its way, and in the kernels that read it.

    Args:
        budget: `plan.Budget`, what is left where the step ends; of the unit `"channels"` too, groups of them.
        strength: float > 0, in its place: what leaves gains less than this times what the channels of the dense model
            gain on average for the MACs that they cost.
        start: `plan.Budget` of the same unit, what is left where it begins; None: all.
        min_keep: int >= 1, how many groups of each layer stay at least.
        branches: bool, whether residual branches may leave as a whole.
        path: see `keras_admm.ADMMPrune`.
        name: str, name used in error messages.

    Raises:
        ValueError: before training, for a model none of whose channels can leave, or a budget below what the least
            model costs.

    Example:

    >>> import keras
    >>> from keras_admm.plan import Budget
    >>> dense = keras.layers.Dense(2, use_bias=False, name="a")
    >>> model = keras.Sequential([keras.Input((2,)), dense, keras.layers.Dense(1)], name="m")
    >>> target = StructureTarget(Budget("macs", 0.5)).of(model, {})
    >>> first, last = target.wants
    >>> arrays = {first: np.array([[1.0, 3.0], [2.0, 4.0]]), last: np.ones((2, 1))}
    >>> {name: each(arrays[name]).tolist() for name, each in target.sets(arrays, 1.0).items() if name == first}
    {'m/a/kernel': [[0.0, 3.0], [0.0, 4.0]]}

    References: coupled groups, Fang et al., "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900; the product
    of shares, there of ranks, Kim et al., "Efficient Neural Network Compression", arXiv:1811.12781.
    """

    shrinks = True

    def __init__(
        self,
        budget=None,
        *,
        strength=None,
        start=None,
        min_keep=1,
        branches=False,
        path="constant",
        name="StructureTarget",
    ):
        self.budget = budget
        self.strength = strength
        self.start = start
        self.min_keep = checks.integer(name, "min_keep", min_keep)
        self.branches = branches
        check_path(name, path)
        self.path = path
        self.name = name
        self.groups = self._places = self._families = self._costs = self._dense = self._branches = None

    @property
    def _unit(self):
        return "macs" if self.budget is None else self.budget.unit

    def of(self, model, variables, layers=None, exclude=None):
        told = super().of(model, variables, layers, exclude)
        told.groups = graph_groups.of(model, layers, exclude)
        told._places = Places(model, told.groups)
        told.wants = told._places.variables
        told._families = np.unique([group.family for group in told.groups] or [""], return_inverse=True)[1]
        told._costs = Costs(told.groups, self._unit)
        told._dense = told._costs.of(np.ones(len(told.groups), bool))
        found = branches(told.groups) if self.branches else []
        told._branches = [each for each in found if told._places.zeroed(each)]
        told._check(model)
        return told

    def sets(self, arrays, fraction):
        alive = self.alive(arrays, fraction)
        gone = {key for branch in self._branches if not (branch.groups & alive).any() for key in branch.variables}
        masks = {name: self._places.mask(name, alive) for name in self.wants}
        return {name: Support(mask & (id(self.wants[name]) not in gone)) for name, mask in masks.items()}

    def alive(self, arrays, fraction=1.0):
        """Which groups stay, an array of bools over `groups`; see `sets`."""
        choice = self._choice(arrays)
        if self.strength is not None:
            return choice.worth(self.strength * tighten(0.0, 0.5, fraction, self.path) / 0.5)
        dense = self._dense
        ends = [dense if each is None else min(each.of(dense), dense) for each in (self.start, self.budget)]
        limit = dense * (1 - tighten(1 - ends[0] / dense, 1 - ends[1] / dense, fraction, self.path))
        alive = choice.within(limit)
        if alive is None:
            raise ValueError(
                f"{self.name}: a budget must leave {self.min_keep} channel(s) of each layer, and all that never leave. "
                f"Received: {_shown(self.budget)}, which is {limit:,.0f} of {dense:,.0f}. Raise it, or leave more "
                "layers to it with layers= and exclude=."
            )
        return alive

    def _choice(self, arrays):
        gains, found = self._places.gains(arrays), self._branches
        if not found:
            return Choice(self._costs, gains, self._families, self.min_keep)
        of_branches = BranchGains(found, self._places.written(arrays))
        masks = np.array([branch.groups for branch in found])
        return Choice(self._costs, gains, self._families, self.min_keep, masks, of_branches)

    def _check(self, model):
        frozen = [f"{layer} {reason}" for layer, reason in self.groups.frozen]
        frozen += [f"{name} is not trained" for name in self._places.untrained]
        if self._places.fixed.all():
            told = f": {named_few(frozen)}" if frozen else ""
            raise ValueError(
                f"{self.name}: with structure='channel' channels of some layer must be free to leave. Received: "
                f"{model.name}, where none are{told}. Choose other layers, or prune single weights."
            )
        if frozen:
            warnings.warn(
                f"{self.name}: channels stay where others would change if they left, or that cannot be known. "
                f"Received: {named_few(frozen, most=20)}. They count in the budget as they are.",
                stacklevel=4,
            )
        warn_of_uncounted(self.name, self.groups.uncounted if self._unit == "macs" else [])

    def projected(self, sets):
        self._places.settle({name: each.mask for name, each in sets.items()})

    def outcome(self):
        dense = self._dense
        if self.budget is None:
            return f"{dense:,.0f} MACs to what strength={self.strength:g} leaves"
        return f"{dense:,.0f} {UNITS[self.budget.unit]} to {self.budget.of(dense):,.0f}"

    def decisive(self, fractions):
        return fractions[-1:]

    def get_config(self):
        names = ("strength", "min_keep", "branches", "path")
        return {"budget": _shown(self.budget), "start": _shown(self.start), **{n: getattr(self, n) for n in names}}


def _shown(budget):
    return None if budget is None else {budget.unit: budget.amount}


def structure_targets(name, sparsity, budget, **arguments):
    """The targets of pruning channels: one, or one for each of a list of sparsities.

    Args:
        name: str, name used in error messages.
        sparsity: float in `[0, 1)`, the share of channels (of groups) that leave, or a list of ascending ones; or None.
        budget: what is left, see `plan.check_budget`, in its place.
        **arguments: of `StructureTarget`.
    """
    budgets = [] if budget is None else [check_budget(name, budget)]
    budgets += [] if sparsity is None else [Budget("channels", 1 - each) for each in ascending(name, sparsity)]
    if (sparsity is None) == (budget is None):
        raise ValueError(
            f"{name}: with structure='channel' either `sparsity`, the share of channels that leave, or `budget`, what "
            f"is left, must be given. Received: {sparsity=}, {budget=}. Write for example budget={{'macs': 0.5}}."
        )
    starts = [None, *budgets[:-1]]
    return [
        StructureTarget(end, start=start, name=name, **arguments) for start, end in zip(starts, budgets, strict=True)
    ]
