"""`NCS`, negatively correlated search: several searches side by side that keep away from one another."""

import numpy as np
from numpy.typing import ArrayLike

from keras_admm.search.base import Search, positive, whole


class NCS(Search):
    """Negatively correlated search: parents that each make one Gaussian child, which takes its parent's place where it
    is better, or further away from the other parents.

    A child is taken where `lambda * d' / (d + d') > f' / (f + f')`: d is the least Bhattacharyya distance to the other
    parents, f the value above the best so far, of the parent and, with a prime, of the child. `lambda` is near 1, with
    a deviation that falls from 0.1 to 0 over the budget. Step sizes follow the rule of one fifth.

    Args:
        x0, bounds, budget, seed: see `Search`.
        population: int >= 1, parents.
        sigma: float > 0, the first step size, as a share of the bounds; by default `1 / population`.
        spread: bool, whether the other parents begin anywhere within bounds, as its authors have it, or all at `x0`.
        as_released: bool, what the code of OLMP, where this was used for pruning, does in fact: all parents begin at
            `x0`, never move, and points beyond the bounds are clipped rather than reflected.

    Example:

    >>> search = NCS([3.0, 3.0], (-5, 5), budget=1000)
    >>> while not search.done:
    ...     search.tell((search.ask() ** 2).sum(axis=1))
    >>> search.value < 0.01
    True

    Reference: Tang, Yang and Yao, "Negatively Correlated Search", arXiv:1504.04914; Li et al., "Optimization based
    Layer-wise Magnitude-based Pruning for DNN Compression", IJCAI 2018.
    """

    def __init__(
        self,
        x0: ArrayLike,
        bounds: tuple[ArrayLike, ArrayLike],
        budget: int,
        seed: int = 0,
        *,
        population: int = 10,
        sigma: float = None,
        spread: bool = True,
        as_released: bool = False,
    ):
        super().__init__(x0, bounds, budget, seed)
        self.population = whole("NCS", "population", population, 1)
        self.sigma = 1 / self.population if sigma is None else positive("NCS", "sigma", sigma)
        self.spread = bool(spread) and not as_released
        self.as_released = bool(as_released)

    def settings(self):
        names = "population", "sigma", "spread", "as_released"
        return {name: getattr(self, name) for name in names}

    def _begin(self, record):
        self._parents = np.tile(self.x0, (self.population, 1))
        self._worth = np.tile(record, (self.population, 1))
        self._sigmas = np.tile(self.sigma * (self.high - self.low), (self.population, 1))
        self._taken = np.zeros(self.population, int)
        self._generation, self._unsure = 0, LAMBDA
        self._to_spread = self.spread and self.population > 1

    def _propose(self):
        if self._to_spread:
            shares = self.rng.random((self.population - 1, self.x0.size))
            return self.low + shares * (self.high - self.low)
        children = self._parents + self._sigmas * self.rng.standard_normal(self._parents.shape)
        return np.clip(children if self.as_released else self._reflected(children), self.low, self.high)

    def _reflected(self, x):
        x = np.where(x < self.low, 2 * self.low - x, x)
        return np.where(x > self.high, 2 * self.high - x, x)

    def _learn(self, points, records):
        if self._to_spread:
            self._parents[1:], self._worth[1:] = points, records
            self._to_spread = False
            return
        self._generation += 1
        taken = self._accepted(points, records)
        if self.as_released:
            taken[:] = False
        self._parents[taken], self._worth[taken] = points[taken], records[taken]
        self._taken += taken
        if self._generation % self.population == 0:
            self._adapt()

    def _accepted(self, children, records):
        """Booleans: whose child is better, or further away, than the parent."""
        both = self.merits(np.concatenate([self._worth, records]))
        least = both.min() if self.violation else min(self.value, both.min())
        old, new = both.reshape(2, -1) - least
        near, far = self._distances(self._parents), self._distances(children)
        sure = 1 + self._unsure * self.rng.standard_normal(self.population)
        self._unsure = LAMBDA * max(0.0, 1 - self._generation * self.population / self.budget)
        return sure * _share(far, near) > _share(new, old)

    def _distances(self, points):
        """The least Bhattacharyya distance of each point, with its parent's step size, to the other parents."""
        if self.population == 1:
            return np.zeros(1)
        squares = self._sigmas**2
        between = (squares[:, None] + squares[None]) / 2
        logs = np.log(squares)
        spread = (np.log(between) - (logs[:, None] + logs[None]) / 2).sum(axis=2) / 2
        apart = ((points[:, None] - self._parents[None]) ** 2 / between).sum(axis=2) / 8 + spread
        np.fill_diagonal(apart, np.inf)
        return apart.min(axis=1)

    def _adapt(self):
        """The rule of one fifth."""
        share = (self._taken / self.population)[:, None]
        self._sigmas *= np.where(share > 0.2, 1 / RATE, np.where(share < 0.2, RATE, 1.0))
        self._taken[:] = 0


LAMBDA = 0.1
RATE = 0.99


def _share(x, y):
    """`x / (x + y)`; of two zeros neither is the larger."""
    total = x + y
    return np.where(total > 0, x / np.where(total > 0, total, 1), 0.5)
