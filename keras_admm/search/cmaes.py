"""`CMAES`, covariance matrix adaptation, by the library `cma`."""

import numpy as np
from numpy.typing import ArrayLike

from keras_admm.search.base import Search, positive


class CMAES(Search):
    """Covariance matrix adaptation evolution strategy (CMA-ES): points from a Gaussian that learns the shape of the
    function. By the library `cma`, of the extra `keras-admm[search]`.

    Args:
        x0, bounds, budget, seed: see `Search`.
        sigma: float > 0, the first step size, as a share of the bounds.

    Raises:
        ImportError: where `cma` is not installed.

    Example:

    >>> search = CMAES([3.0, 3.0], (-5, 5), budget=300)
    >>> while not search.done:
    ...     search.tell((search.ask() ** 2).sum(axis=1))
    >>> search.value < 1e-3
    True

    Reference: Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772.
    """

    def __init__(
        self, x0: ArrayLike, bounds: tuple[ArrayLike, ArrayLike], budget: int, seed: int = 0, *, sigma: float = 0.2
    ):
        super().__init__(x0, bounds, budget, seed)
        self.sigma = positive("CMAES", "sigma", sigma)
        share = (self.x0 - self.low) / (self.high - self.low)
        # The library's arithmetic needs two coordinates: of one, another that nothing depends on stands beside it.
        self._strategy = _strategy(np.append(share, [0.5] * (share.size == 1)), self.sigma, self.rng)

    def settings(self):
        return {"sigma": self.sigma}

    def _begin(self, record):
        """Nothing: what x0 is worth tells nothing of a direction."""

    def _propose(self):
        self._shares = self._strategy.ask()
        shares = np.array(self._shares)[:, : self.x0.size]
        return np.clip(self.low + shares * (self.high - self.low), self.low, self.high)

    def _learn(self, points, records):
        self._strategy.tell(self._shares, self.merits(records).tolist())


def _strategy(x0, sigma, rng):
    try:
        import cma
    except ImportError:
        raise ImportError(
            "CMAES: method='cma' needs the library cma. Received: a Python without it. Install keras-admm[search], or "
            "take method='ncs'."
        ) from None
    # Neither NumPy's own generator nor its seed is touched.
    options = {"bounds": [0, 1], "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape), "verbose": -9}
    return cma.CMAEvolutionStrategy(x0, sigma, options)
