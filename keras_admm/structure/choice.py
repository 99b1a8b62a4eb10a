"""Which groups of channels stay within a budget: those whose norm is largest for what they cost."""

import numpy as np

from keras_admm.structure import costs

ROUNDS = 10  # between which costs are counted anew: they fall for what stays as its neighbours leave
CLOSE = 0.0025  # share of a budget that may be left over


def choose(groups, values, unit, limit, families, min_keep=1):
    """Which groups stay.

    Solves `argmax sum(values[alive]) subject to cost(alive) <= limit`, as far as a knapsack is solved by taking what is
    worth most for what it costs: groups leave in the order of `values / marginal cost`, in rounds, for the cost of each
    depends on those that it meets in a kernel; then what is left of the budget is filled.

    Args:
        groups: `graph.groups.Groups`.
        values: float array, what each group is worth, such as its squared norm; infinite where it must stay.
        unit: what costs are counted in; see `costs`.
        limit: float, what the model that is left may cost.
        families: int array, the family of each group.
        min_keep: int, how many groups of each family stay at least.

    Returns:
        An array of bools over the groups, or None where even the least model costs more.
    """
    alive = np.ones(len(values), bool)
    dense = costs.of(groups, unit)
    if dense <= limit:
        return alive
    for part in range(1, ROUNDS + 1):
        rates = values / np.maximum(costs.marginal(groups, unit, alive), 1e-30)
        leaving = _leaving(rates, alive, families, min_keep)
        goal = dense * (limit / dense) ** (part / ROUNDS)
        count = _fewest(groups, unit, alive, leaving, goal)
        if count is None:
            return None if part == ROUNDS else _without(alive, leaving)
        alive = _without(alive, leaving[:count])
    return _filled(groups, rates, unit, limit, alive)


def _leaving(rates, alive, families, min_keep):
    """The groups that may leave, in the order in which they do."""
    order = np.argsort(np.where(alive, -rates, np.inf), kind="stable")[: np.count_nonzero(alive)]
    # The rank of each in its family, the best first.
    by_family = order[np.argsort(families[order], kind="stable")]
    starts = np.searchsorted(families[by_family], families[by_family])
    protected = by_family[np.arange(len(by_family)) - starts < min_keep]
    may = np.isfinite(rates[order]) & ~np.isin(order, protected)
    return order[may][::-1]


def _without(alive, leaving):
    left = alive.copy()
    left[leaving] = False
    return left


def _fewest(groups, unit, alive, leaving, goal):
    """How many of those that leave must, until what is left costs no more than a goal; None where all do not do."""
    low, high = 0, len(leaving)
    if costs.of(groups, unit, _without(alive, leaving)) > goal:
        return None
    while low < high:
        middle = (low + high) // 2
        if costs.of(groups, unit, _without(alive, leaving[:middle])) <= goal:
            high = middle
        else:
            low = middle + 1
    return low


def _filled(groups, rates, unit, limit, alive):
    """With more groups, the best first, as long as they fit into what is left of the budget."""
    for group in np.argsort(-rates, kind="stable"):
        left = limit - costs.of(groups, unit, alive)
        if left <= CLOSE * limit:
            break
        if not alive[group] and costs.marginal(groups, unit, alive)[group] <= left:
            alive[group] = True
            alive[group] = costs.of(groups, unit, alive) <= limit
    return alive
