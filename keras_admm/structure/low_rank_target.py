"""`LowRankTarget`: the ranks of all kernels, given, by energy, or by one budget of the model."""

import warnings
from collections.abc import Mapping

import numpy as np

from keras_admm import checks, hints, macs, weights
from keras_admm.constraints import LowRank, check_energy, check_scheme, least_rank, spectrum
from keras_admm.errors import named_few
from keras_admm.plan import Target, check_budget, warn_of_uncounted
from keras_admm.schedules import check_path, tighten
from keras_admm.structure.candidates import candidates, total
from keras_admm.structure.ranks import choice, within

HOW = "one of `rank`, `energy` and `budget`"


class LowRankTarget(Target):
    """Low ranks for the kernels of a model: one for all, by the energy that stays, or by what the model may cost.

    With a budget it solves `argmax prod_i kept_i(r_i) subject to MACs(r) <= budget` over the ranks of all kernels, anew
    at every move of Z and U: `kept_i` is the share of the squared singular values of a kernel that stays (Kim et al.,
    "Efficient Neural Network Compression", arXiv:1811.12781), MACs those of the model that `keras_admm.factorize` makes
    of it. Kernels whose rank would save no MACs keep the full one.

    Args:
        rank, energy, budget, scheme: see `keras_admm.ADMMLowRank`.
        name: str, name used in error messages.

    Raises:
        ValueError, TypeError: for values out of their range; before training, for a budget below what ranks of 1 cost,
            a rank above the full one of a kernel, or a model none of whose layers comes apart into two.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="a"), keras.layers.Dense(8, name="b")])
    >>> arrays = {"a": np.diag([4.0, 4, 4, 0, 0, 0, 0, 0]), "b": np.diag([9.0, 1, 0, 0, 0, 0, 0, 0])}
    >>> target = LowRankTarget(budget={"macs": 0.5}).of(model, {each.name: each.kernel for each in model.layers})
    >>> {name: each.rank for name, each in target.sets(arrays, 1.0).items()}
    {'a': 3, 'b': 1}
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        energy: float | None = None,
        budget: hints.Budget | None = None,
        scheme: hints.Scheme = "spatial",
        path: hints.Tightening = "constant",
        name: str = "LowRankTarget",
    ):
        self.name = checks.text("LowRankTarget", "name", name)
        if sum(each is not None for each in (rank, energy, budget)) != 1:
            given = f"rank={checks.shown(rank)}, energy={checks.shown(energy)}, budget={checks.shown(budget)}"
            raise ValueError(f"{name}: {HOW} must be given. Received: {given}. Pass for example energy=0.9.")
        self.rank = None if rank is None else checks.integer(name, "rank", rank)
        self.energy = None if energy is None else check_energy(name, energy)
        self.budget = None if budget is None else check_budget(name, budget)
        self.scheme = check_scheme(name, scheme)
        check_path(name, path)
        self.path = path
        self._candidates, self._dense, self._allowed = None, 0, 0

    def of(self, model, variables, layers=None, exclude=None):
        weights.check_keras_3(self.name, model, "Load it with Keras 3: what is factorized is a model of it.")
        bound = super().of(model, variables)
        bound._candidates, refused = candidates(model, variables, self.scheme)
        told = named_few(f"{each} ({reason})" for each, reason in refused.items())
        if not bound._candidates:
            raise ValueError(
                f"{self.name}: at least one layer must come apart into two for low rank to save anything. Received: "
                f"{told or 'no kernel'}. Choose Dense, EinsumDense or convolutional layers."
            )
        if refused:
            warnings.warn(
                f"{self.name}: kernels must be of layers that come apart into two, or stay as they are. Received: "
                f"{told}. Leave them out with exclude=, to be without this warning.",
                stacklevel=4,
            )
        if self.rank is not None:
            self._check_ranks(bound._candidates)
        if self.budget is not None:
            bound._dense, bound._allowed = self._for_candidates(model, bound._candidates)
        return bound

    def takes(self, names):
        return names if self._candidates is None else [name for name in names if name in self._candidates]

    def decisive(self, fractions):
        return fractions[:1]

    def sets(self, arrays, fraction):
        if self._candidates is None:
            raise ValueError(
                f"{self.name}: the model must be known before its ranks are chosen. Received: a target of no model. "
                "Give it to ADMM or to an Engine, or call of(model, variables) first."
            )
        names = self.takes(list(arrays))
        return self.of_spectra({n: spectrum(arrays[n], self._candidates[n].split.scheme) for n in names}, fraction)

    def of_spectra(self, squares: Mapping[str, np.ndarray], fraction: float) -> dict[str, LowRank]:
        """The sets, where what a rank keeps of each kernel is told by squares of another kind than singular values.

        Args:
            squares: dict of names to arrays, falling.
            fraction: see `Target.sets`.
        """
        ranks = dict.fromkeys(squares, self.rank) if self.rank is not None else self._ranks(squares, fraction)
        return {name: LowRank(rank, scheme=self._candidates[name].split.scheme) for name, rank in ranks.items()}

    def get_config(self):
        budget = None if self.budget is None else {self.budget.unit: self.budget.amount}
        return {"rank": self.rank, "energy": self.energy, "budget": budget, "scheme": self.scheme, "path": self.path}

    def _ranks(self, squares, fraction):
        names = list(squares)
        if self.energy is not None:
            return {name: self._by_energy(squares[name], self._candidates[name]) for name in names}
        choices = [choice(squares[name], *self._candidates[name].costs(self.budget.unit)) for name in names]
        cut = 1 - self._allowed / self._dense
        chosen = within(choices, self._dense * (1 - tighten(0.0, cut, fraction, self.path)))
        return {name: int(each.ranks[i]) for name, each, i in zip(names, choices, chosen, strict=True)}

    def _by_energy(self, squares, candidate):
        rank = max(1, least_rank(squares, self.energy))
        return rank if candidate.saves(rank) else len(squares)

    def _check_ranks(self, found):
        above = [f"{name}, {each.split.full_rank}" for name, each in found.items() if self.rank > each.split.full_rank]
        if above:
            raise ValueError(
                f"{self.name}: `rank` must be at most the full rank of each kernel. Received: rank={self.rank}, above "
                f"that of {named_few(above)}. Lower it, leave them out with exclude=, or pass energy= or budget=."
            )

    def _for_candidates(self, model, found):
        """What the kernels that come apart cost as they are, and what the budget leaves for them."""
        unit = self.budget.unit
        dense = total(model, unit)
        if dense is None:
            raise ValueError(
                f"{self.name}: a budget in MACs needs a model whose inputs have known sizes. Received: {model.name}, "
                "where they are open. Build it with fixed ones, or pass energy= or a budget of 'params'."
            )
        warn_of_uncounted(self.name, macs.uncounted(model, macs.uses(model)[0]) if unit == "macs" else [])
        costs = [each.costs(unit) for each in found.values()]
        rest = dense - sum(whole for _, whole in costs)
        least = rest + sum(min(costs_of) for costs_of in costs)
        allowed = self.budget.of(dense)
        if allowed < least:
            raise ValueError(
                f"{self.name}: `budget` must be at least what the model costs with ranks of 1. Received: "
                f"budget={self.get_config()['budget']}, {allowed:,.0f} of {dense:,} {unit}, where ranks of 1 leave "
                f"{least:,}. Raise it, or take more layers."
            )
        return dense - rest, allowed - rest
