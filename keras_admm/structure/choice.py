"""Which groups of channels, and which residual branches, stay within a budget: those that gain most for their cost."""

import numpy as np

ROUNDS = 20  # between which costs are counted anew: they fall for what stays as its neighbours leave
FACTOR = 0.95  # of the cost, in a round, where a price rather than a budget says how far it goes
CLOSE = 0.01  # share of a budget that may be left over
TINY = 1e-9
TRIES = 20  # of groups that do not fit, with which others must leave


class Choice:
    """Groups leave in the order of what they gain for what they cost, in rounds, for both depend on those that stay.

    Args:
        costs: `Costs`.
        gains: function of an array of bools over the groups, those that stay: a float array, what each is worth beside
            them, infinite where it must stay.
        families: int array, the family of each group.
        min_keep: int, how many groups of each family stay at least, if the family does not leave as a branch.
        branches: array of bools, branches by groups: the groups that may leave with a branch as one.
        branch_gains: function of the groups that stay and their gains, of what each branch is worth.
    """

    def __init__(self, costs, gains, families, min_keep=1, branches=None, branch_gains=None):
        self._costs = costs
        self._gains = gains
        self._families = families
        self._min_keep = min_keep
        self._branches = np.zeros((0, len(families)), bool) if branches is None else branches
        self._branch_gains = branch_gains
        self._dense = costs.of(np.ones(len(families), bool))

    def within(self, limit):
        """The groups that stay where the model may cost so much, an array of bools; None where the least costs more."""
        alive = np.ones(len(self._families), bool)
        for part in range(1, ROUNDS + 1):
            goal = self._dense * min(1, limit / self._dense) ** (part / ROUNDS)
            rates, left = self._round(alive, goal, limit)
            if left is None:
                return None
            alive = left
        return self._filled(rates, limit, alive)

    def worth(self, price):
        """The groups that stay where all leave that gain less for their cost than so many times the dense mean."""
        every = np.ones(len(self._families), bool)
        gains = self._gains(every)
        counted = np.isfinite(gains)
        price *= gains[counted].sum() / self._costs.marginal(every)[counted].sum()
        alive, left = np.ones(len(self._families), bool), -1
        while np.count_nonzero(alive) != left:
            left = np.count_nonzero(alive)
            rates, when = self._order(alive, price)
            count = self._fewest(alive, when, FACTOR * self._costs.of(alive))
            alive = alive & (when >= (np.inf if count is None else count))
        return alive

    def _round(self, alive, goal, limit):
        """What each group gains for its cost, and which stay when as few leave as a goal asks for."""
        for branches in (True, False):
            rates, when = self._order(alive, branches=branches)
            count = self._fewest(alive, when, goal)
            left = None if count is None else alive & (when >= count)
            # A branch is large: it does not leave where it would take the model far below the budget.
            if left is not None and self._costs.of(left) >= (1 - CLOSE) * limit:
                break
        return rates, left

    def _order(self, alive, price=np.inf, branches=True):
        """What each group gains for what it costs, and as the how manieth it may leave, infinite where it stays."""
        self._costs.renew(alive)
        gains = self._gains(alive)
        rates = gains / np.maximum(self._costs.marginal(alive), TINY)
        leaving = self._leaving(rates, alive)
        leaving = leaving[rates[leaving] < price]
        when = np.full(len(alive), np.inf)
        when[leaving] = np.arange(len(leaving))
        branch, rate = self._worst_branch(alive, gains) if branches else (None, np.inf)
        if rate < price:
            when[branch & alive] = np.minimum(when[branch & alive], np.searchsorted(rates[leaving], rate))
        return rates, when

    def _worst_branch(self, alive, gains):
        """The branch that gains least for its cost, and how much."""
        rates, cost = [np.inf], self._costs.of(alive)
        worth = self._branch_gains(alive, gains) if len(self._branches) else ()
        for branch, gain in zip(self._branches, worth, strict=True):
            saved = cost - self._costs.of(alive & ~branch)
            rates.append(gain / max(saved, TINY) if (branch & alive).any() else np.inf)
        worst = int(np.argmin(rates))
        return (self._branches[worst - 1] if worst else None), rates[worst]

    def _leaving(self, rates, alive):
        """The groups that may leave by themselves, in the order in which they do."""
        order = np.argsort(np.where(alive, -rates, np.inf), kind="stable")[: np.count_nonzero(alive)]
        # The rank of each in its family, the best first.
        by_family = order[np.argsort(self._families[order], kind="stable")]
        starts = np.searchsorted(self._families[by_family], self._families[by_family])
        protected = by_family[np.arange(len(by_family)) - starts < self._min_keep]
        may = np.isfinite(rates[order]) & ~np.isin(order, protected)
        return order[may][::-1]

    def _fewest(self, alive, when, goal):
        """How many that leave must, until what is left costs no more than a goal; None where all do not do."""
        low, high = 0, int(np.max(when, initial=-1, where=np.isfinite(when))) + 1
        if self._costs.of(alive & (when >= high)) > goal:
            return None
        while low < high:
            middle = (low + high) // 2
            if self._costs.of(alive & (when >= middle)) <= goal:
                high = middle
            else:
                low = middle + 1
        return low

    def _filled(self, rates, limit, alive):
        """With more groups, the best first: as long as they fit into what is left, or small ones can leave for them."""
        alone = np.isin(self._families, self._families[alive])  # not of a branch that has left
        by_rate = np.argsort(np.where(alone & ~alive, -rates, np.inf), kind="stable")
        by_rate = by_rate[: np.count_nonzero(alone & ~alive)]
        for group in by_rate:
            more = alive | (np.arange(len(alive)) == group)
            alive = more if self._costs.of(more) <= limit else alive
        for group in by_rate[:TRIES]:
            if limit - self._costs.of(alive) <= CLOSE * limit:
                break
            other = self._exchanged(rates, limit, alive | (np.arange(len(alive)) == group))
            alive = other if self._costs.of(alive) < self._costs.of(other) <= limit else alive
        return alive

    def _exchanged(self, rates, limit, alive):
        """With a group too much, small ones leaving for it as long as it is too much."""
        small = self._leaving(rates, alive)
        small = small[self._costs.marginal(alive)[small] <= CLOSE * limit]
        when = np.full(len(alive), np.inf)
        when[small] = np.arange(len(small))
        count = self._fewest(alive, when, limit)
        return alive if count is None else alive & (when >= count)
