"""`BudgetTarget`: single weights are pruned until a model meets a budget of parameters, or of a file's bytes."""

import warnings

import numpy as np

from keras_admm import weights
from keras_admm.plan.divided import DividedTarget
from keras_admm.schedules import tighten

ROUNDS = 4  # of measuring
STAYS = np.float32(1e-30)  # what stands for weights that may stay though they are 0 as yet
LIMIT = "budget limit"  # of its state


class BudgetTarget(DividedTarget):
    """The sparsity that meets a budget, found anew at every move of Z and U.

    Solves `argmin_Z ||Z - W - U|| subject to amount(Z) <= budget` over the sets that one sparsity and a way of dividing
    it make of all weights: their sparsity is found by estimates of the amount, and where weights are projected by its
    measure, a little of the budget being left to retraining; where the measure is above the budget when the run ends,
    the smallest weights go until it is not.

    Args:
        budget: `plan.Budget`.
        amount: `plan.Amount`, what it counts.
        pruning: `plan.PruningTarget` of any sparsity, which divides.
        name: str, name used in error messages.

    Raises:
        ValueError: before training, for a budget below the least model.
    """

    shrinks = True

    def __init__(self, budget, amount, pruning, name="BudgetTarget"):
        super().__init__(pruning, name)
        self.budget, self.amount = budget, amount
        self._found = None

    def of(self, model, variables, layers=None, exclude=None):
        told = super().of(model, variables, layers, exclude)
        pruned = {name: v for name, v in variables.items() if name not in told.misfits}
        told.amount, told._found = self.amount.of(model, pruned), None
        return told

    def sets(self, arrays, fraction):
        sparsity = self._sparsity(arrays, self._aim(arrays))
        return self.pruning.at(arrays, tighten(0.0, sparsity, fraction, self.pruning.path), fraction)

    def last_sets(self, arrays):
        return self.pruning.at(arrays, self._measured(arrays, self._aim(arrays)), 1.0)

    def corrections(self, arrays):
        found, limit = self.amount.measure(arrays), self._limit(arrays)
        if found <= limit:
            return {}
        sets = self.at(arrays, self._measured(arrays, limit))
        left = self.amount.measure({name: each.project(arrays[name]) for name, each in sets.items()})
        told = "its smallest weights are zero for it now" if left <= limit else "with the least model it is above"
        warnings.warn(
            f"{self.name}: the model must meet its budget where training ends. Received: {found:,.0f} "
            f"{self.amount.unit} of {limit:,.0f} after retraining; {told}: {left:,.0f}. Evaluate it again.",
            stacklevel=5,
        )
        return sets

    def state(self):
        return super().state() | ({} if self._found is None else {LIMIT: np.array(self._found)})

    def load(self, state):
        self._found = float(state[LIMIT]) if LIMIT in state else None
        super().load({name: array for name, array in state.items() if name != LIMIT})

    def _limit(self, arrays):
        """The budget as a number: the first weights that it is asked of are those of the dense model."""
        if self._found is None:
            limit = self.budget.of(self.amount.measure(arrays) if isinstance(self.budget.amount, float) else 0)
            self._check(arrays, limit)
            self._found = limit
        return self._found

    def _check(self, arrays, limit):
        least = self.amount.least(self._left(arrays, self.pruning.counts(arrays)[0]))
        if least > limit:
            raise ValueError(
                f"{self.name}: `budget` must hold the least model, of {self.pruning.min_keep} weight(s) in each pruned "
                f"tensor and all that is not pruned. Received: budget={self._shown}, {limit:,.0f} "
                f"{self.amount.unit}, where the least has {least:,.0f}. Raise it, or prune more layers (layers=, "
                "exclude=, biases=True)."
            )

    def _sparsity(self, arrays, limit):
        """The sparsity whose estimate meets a limit."""
        least, all_of_them = self.pruning.counts(arrays)
        estimate = self.amount.estimator()
        kept = met(lambda n: estimate(self._left(arrays, n)), limit, least, all_of_them, self.amount.near)
        return 1 - kept / all_of_them

    def _measured(self, arrays, limit):
        """The sparsity whose measure meets a limit: estimates are scaled by what they were wrong by."""
        least, all_of_them = self.pruning.counts(arrays)
        aim, found, estimate = limit, 1 - least / all_of_them, self.amount.estimator()
        for _ in range(ROUNDS):
            sparsity = self._sparsity(arrays, aim)
            left = self._left(arrays, round((1 - sparsity) * all_of_them))
            measured = self.amount.measure(left)
            if measured <= limit:
                found = min(found, sparsity)
            if (1 - self.amount.near) * limit <= measured <= limit or sparsity in (0.0, 1 - least / all_of_them):
                break
            # Of the estimate itself: where groups are large it is well below what was aimed at.
            aim = (1 - self.amount.near / 2) * limit * estimate(left) / measured
        return found

    def _left(self, arrays, count):
        """The weights with so many groups of them left, each that may stay other than 0."""
        size = self.pruning.counts(arrays)[1]
        sets = self.at(arrays, min(1 - count / size, np.nextafter(1.0, 0.0)))
        return weights.Lazy(sets, lambda name: sets[name].project(_other_than_0(arrays[name])))

    def _aim(self, arrays):
        return self._limit(arrays) * (1 - self.amount.room)

    @property
    def _shown(self):
        return {self.budget.unit: self.budget.amount}

    def get_config(self):
        return {"budget": self._shown, "pruning": self.pruning}


def _other_than_0(array):
    return np.where(array == 0, STAYS, array)


def met(count, limit, low, high, near=0.0):
    """The largest whole number of which a count is at most a limit, or one that comes near it from below.

    Args:
        count: function of an int that grows about evenly.
        limit: number, at least `count(low)`; else `low` is returned.
        low, high: ints.
        near: float, how near, as a share of the limit.

    Example:

    >>> met(lambda n: 7 + 3 * n, 100, 0, 1000)
    31
    """
    at_low, at_high = count(low), count(high)
    if at_high <= limit or at_low > limit:
        return high if at_high <= limit else low
    while high - low > 1 and limit - at_low > near * limit:
        between = low + int((high - low) * (limit * (1 - near / 2) - at_low) / (at_high - at_low))
        between = min(max(between, low + 1), high - 1)
        at = count(between)
        if at <= limit:
            low, at_low = between, at
        else:
            high, at_high = between, at
    return low
