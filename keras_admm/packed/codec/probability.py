"""Probabilities that learn, in whole numbers: every machine computes the same ones."""

import functools
from bisect import bisect_left
from decimal import Decimal, localcontext

ONE = 1 << 22
EDGE = 3071  # the largest log-odds, in 256ths: 12
MEMORY = 255
RATES = [65536 // (n + 2) for n in range(MEMORY + 1)]


@functools.cache
def logistic():
    """The probability, in parts of ONE, for each log-odds from -EDGE to EDGE: `decimal` rounds it alike everywhere."""
    with localcontext() as context:
        context.prec = 28
        step = (Decimal(1) / 256).exp()
        odds, table = (Decimal(-EDGE) / 256).exp(), []
        for _ in range(2 * EDGE + 1):
            table.append(int(ONE * odds / (1 + odds)))
            odds *= step
        return table


class BitModel:
    """The probability of a 1 in one context, and how often it has been seen.

    Args:
        p: to begin with, in parts of ONE.
        seen: how many bits the beginning is worth.
    """

    __slots__ = ("p", "seen")

    def __init__(self, p=ONE // 2, seen=0):
        self.p = p
        self.seen = seen

    def learn(self, bit):
        self.p += ((bit << 22) - self.p) * RATES[self.seen] >> 16
        if self.seen < MEMORY:
            self.seen += 1


class Mixer:
    """Weighs the log-odds of several models, and learns whom to trust.

    Args:
        weights: in 65536ths, one for each model.
        rate: of learning.
    """

    __slots__ = ("_odds", "_p", "_rate", "_table", "_weights")

    def __init__(self, weights, rate):
        self._weights = list(weights)
        self._rate = rate
        self._table = logistic()

    def predict(self, models):
        """The probability of a 1, in parts of ONE."""
        table = self._table
        self._odds = [bisect_left(table, model.p) - EDGE for model in models]
        mixed = sum(w * o for w, o in zip(self._weights, self._odds, strict=True)) >> 16
        self._p = table[min(max(mixed, -EDGE), EDGE) + EDGE]
        return self._p

    def learn(self, bit):
        error = ((bit << 22) - self._p) * self._rate
        self._weights = [w + (o * error >> 26) for w, o in zip(self._weights, self._odds, strict=True)]
