"""Which ranks of all kernels lose least for what they may cost together."""

from typing import NamedTuple

import numpy as np


class Choice(NamedTuple):
    """The ranks that a kernel may have, and what each loses and costs.

    Attributes:
        ranks: int array, rising, the full rank last: the layer is then left as it is.
        losses: float array, falling to 0: minus the logarithm of the share of the squared singular values that stays,
            so that the sum over kernels is that of the product of their shares, and no kernel is cut to next to nothing
            for what it costs (Kim et al., "Efficient Neural Network Compression", arXiv:1811.12781).
        costs: float array, rising.
    """

    ranks: np.ndarray
    losses: np.ndarray
    costs: np.ndarray


def choice(squares, each, whole):
    """The `Choice` of a kernel: ranks that save something, and the full one.

    Args:
        squares: array of its squared singular values, falling.
        each: what each rank of the two layers in its place costs.
        whole: what the layer costs as it is.

    Example:

    >>> np.exp(-choice(np.array([6.0, 3.0, 1.0]), each=4, whole=9).losses)
    array([0.6, 0.9, 1. ])
    """
    ranks = np.arange(1, len(squares))
    ranks = ranks[ranks * each < whole]
    total = squares.sum()
    kept = np.cumsum(squares)[ranks - 1] / total if total else np.ones(len(ranks))
    return Choice(np.append(ranks, len(squares)), np.append(-np.log(kept), 0.0), np.append(ranks * each, whole))


def within(choices, budget):
    """The index of a rank for each of some `Choice`s: about the least loss in all whose cost is within a budget.

    Solves `argmin sum_i losses_i[r_i] subject to sum_i costs_i[r_i] <= budget` up to what single ranks leave open: for
    a price of cost each kernel has its own best rank, and the lowest price whose ranks cost no more than the budget is
    found by halving; then what is left of the budget is spent where it gains most.

    Args:
        choices: list of `Choice`.
        budget: float, at least the sum of the least costs.

    Returns:
        A list of ints.

    Example:

    >>> strong, weak = choice(np.array([9.0, 1, 0]), 4, 9), choice(np.array([4.0, 3, 3]), 4, 9)
    >>> within([strong, weak], 12), within([strong, weak], 13)
    ([0, 1], [0, 2])
    """
    low, high = 0.0, max(_price_of_least(each) for each in choices) + 1e-300
    if _cost(choices, _best(choices, low)) <= budget:
        return _best(choices, low)
    for _ in range(100):
        middle = (low + high) / 2 if low else high / 2
        low, high = (low, middle) if _cost(choices, _best(choices, middle)) <= budget else (middle, high)
    chosen = _best(choices, high)
    _spend(choices, chosen, budget - _cost(choices, chosen))
    return chosen


def _best(choices, price):
    """The index of the least loss and price of each."""
    return [int(np.argmin(each.losses + price * each.costs)) for each in choices]


def _cost(choices, chosen):
    return sum(each.costs[i] for each, i in zip(choices, chosen, strict=True))


def _price_of_least(each):
    """A price at which the lowest rank is the best."""
    gains, costs = each.losses[0] - each.losses[1:], each.costs[1:] - each.costs[0]
    return float(np.max(gains / costs, initial=0.0)) * 2


def _spend(choices, chosen, left):
    """Raise ranks as long as something fits into what is left, where that gains most for its cost."""
    while True:
        steps = [_step(each, i, left) for each, i in zip(choices, chosen, strict=True)]
        gain, _, _ = best = max(steps)
        if gain <= 0:
            return
        at = steps.index(best)
        left -= best[2]
        chosen[at] = best[1]


def _step(each, at, left):
    """The `(gain for its cost, index, cost)` of the best higher rank of a kernel that fits; a gain of 0 for none."""
    costs, gains = each.costs[at + 1 :] - each.costs[at], each.losses[at] - each.losses[at + 1 :]
    fits = costs <= left
    if not fits.any():
        return 0.0, at, 0.0
    rates = np.where(fits, gains / costs, 0.0)
    best = int(np.argmax(rates))
    return float(rates[best]), at + 1 + best, float(costs[best])
