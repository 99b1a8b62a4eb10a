"""`LevelSwitch`, evolution of integer levels whose sum, the budget of a compression, stays what it is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_admm.search.base import Search, whole


class LevelSwitch(Search):
    """Evolution by level switches (EvoPress): one level up here, one down there, so that a fixed budget is kept.

    Where each level costs the same (as many weights more pruned, as many bits fewer), the sum of all is what the whole
    costs. Of each generation's children the best takes its parent's place where it is better. The choice may go in
    stages, of more and more data: with `survivors=(8, 2, 1)` all children are valued by the first of three functions,
    the best 8 by the second, of these the best 2 by the third, by which the last is compared with its parent.

    Args:
        x0, bounds, budget, seed: see `Search`; integers. Evaluations of all stages count.
        offspring: int >= 1, children of a generation.
        survivors: falling ints, how many are left by each stage, the last 1.
        switches: int >= 1: a child is the lesser of two throws from 1 to this many switches away.

    Raises:
        ValueError: for levels that are no integers, or where no level can be switched.

    Example, the budget goes where it is worth most:

    >>> search = LevelSwitch([2, 2, 2], (0, 4), budget=200)
    >>> while not search.done:
    ...     search.tell(search.ask() @ [3.0, 2.0, 1.0])
    >>> search.x.tolist()
    [0.0, 2.0, 4.0]

    Reference: Sieberling et al., "EvoPress: Accurate Dynamic Model Compression via Evolutionary Search",
    arXiv:2410.14649.
    """

    def __init__(
        self,
        x0: ArrayLike,
        bounds: tuple[ArrayLike, ArrayLike],
        budget: int,
        seed: int = 0,
        *,
        offspring: int = 16,
        survivors: Sequence[int] = (1,),
        switches: int = 3,
    ):
        super().__init__(x0, bounds, budget, seed)
        self.offspring = whole("LevelSwitch", "offspring", offspring, 1)
        self.survivors = [whole("LevelSwitch", "survivors", n, 1) for n in survivors]
        self.switches = whole("LevelSwitch", "switches", switches, 1)
        self.stages = len(self.survivors)
        self._check()

    def settings(self):
        return {"offspring": self.offspring, "survivors": self.survivors, "switches": self.switches}

    def _check(self):
        sizes = [self.offspring, *self.survivors]
        if not self.survivors or sizes[-1] != 1 or any(a < b for a, b in zip(sizes, sizes[1:], strict=False)):
            raise ValueError(
                f"LevelSwitch: `survivors` must fall from at most the {self.offspring} offspring to 1. Received: "
                f"{tuple(self.survivors)}. Write for example offspring=64, survivors=(8, 2, 1)."
            )
        if any((array != np.round(array)).any() for array in (self.x0, self.low, self.high)):
            raise ValueError(
                f"LevelSwitch: levels must be integers. Received: x0={self.x0.tolist()}, bounds="
                f"{self.low.tolist(), self.high.tolist()}. Number the levels of each from 0."
            )
        up, down = self.x0 < self.high, self.x0 > self.low
        if not (up.any() and down.any() and (up | down).sum() > 1):
            raise ValueError(
                "LevelSwitch: one level must be able to rise while another falls. Received: x0="
                f"{self.x0.tolist()}, bounds={self.low.tolist(), self.high.tolist()}. Begin with a budget in between."
            )
        # Valued by the last stage, as the parent of the first generation.
        self.stage = self.stages - 1

    def _begin(self, record):
        self._parent, self._worth = self.x0, record
        self.stage = 0

    def _propose(self):
        if self.stage == 0:
            self._children = np.array([self._child() for _ in range(self.offspring)])
        return self._children

    def _child(self):
        child = self._parent.copy()
        for _ in range(self.rng.integers(1, self.switches + 1, 2).min()):
            down = self.rng.choice(np.flatnonzero(child > self.low))
            rising = np.flatnonzero((child < self.high) & (np.arange(child.size) != down))
            if rising.size:
                child[self.rng.choice(rising)] += 1
                child[down] -= 1
        return child

    def _learn(self, points, records):
        best = np.argsort(self.merits(records), kind="stable")[: self.survivors[self.stage]]
        self._children, self.stage = points[best], self.stage + 1
        if self.stage < self.stages:
            return
        self.stage = 0
        child, parent = self.merits([records[best[0]], self._worth])
        if child <= parent:
            self._parent, self._worth = points[best[0]], records[best[0]]
