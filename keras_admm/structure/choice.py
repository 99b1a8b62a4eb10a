"""Which groups of channels stay within a budget: those whose norm is largest for what they cost."""

import numpy as np

ROUNDS = 20  # between which costs are counted anew: they fall for what stays as its neighbours leave
CLOSE = 0.01  # share of a budget that may be left over
TRIES = 20  # of groups that do not fit, with which others must leave


def choose(costs, gains, limit, families, min_keep=1):
    """Which groups stay.

    Groups leave in the order of what they gain for what they cost, in rounds, for both depend on those that stay; then
    what is left of the budget is filled.

    Args:
        costs: `Costs`.
        gains: function of an array of bools over the groups, those that stay: a float array, what each is worth beside
            them, infinite where it must stay.
        limit: float, what the model that is left may cost.
        families: int array, the family of each group.
        min_keep: int, how many groups of each family stay at least.

    Returns:
        An array of bools over the groups, or None where even the least model costs more.
    """
    alive = np.ones(len(families), bool)
    dense = costs.of(alive)
    for part in range(1, ROUNDS + 1):
        costs.renew(alive)
        rates = gains(alive) / np.maximum(costs.marginal(alive), 1e-30)
        leaving = _leaving(rates, alive, families, min_keep)
        count = _fewest(costs, alive, leaving, dense * min(1, limit / dense) ** (part / ROUNDS))
        if count is None:
            return None
        alive = _without(alive, leaving[:count])
    return _filled(costs, rates, limit, alive, lambda alive: _leaving(rates, alive, families, min_keep))


def _filled(costs, rates, limit, alive, leaving):
    """With more groups, the best first: as long as they fit into what is left, and where small ones leave for them."""
    by_rate = np.argsort(-np.where(alive, -np.inf, rates), kind="stable")[: np.count_nonzero(~alive)]
    for group in by_rate:
        more = alive | (np.arange(len(alive)) == group)
        alive = more if costs.of(more) <= limit else alive
    for group in by_rate[:TRIES]:
        if limit - costs.of(alive) <= CLOSE * limit:
            break
        more = alive | (np.arange(len(alive)) == group)
        small = leaving(more)
        small = small[costs.marginal(more)[small] <= CLOSE * limit]
        other = _without(more, small[: _fewest(costs, more, small, limit)])
        alive = other if costs.of(alive) < costs.of(other) <= limit else alive
    return alive


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


def _fewest(costs, alive, leaving, goal):
    """How many of those that leave must, until what is left costs no more than a goal; None where all do not do."""
    low, high = 0, len(leaving)
    if costs.of(_without(alive, leaving)) > goal:
        return None
    while low < high:
        middle = (low + high) // 2
        if costs.of(_without(alive, leaving[:middle])) <= goal:
            high = middle
        else:
            low = middle + 1
    return low
