"""`PruningTarget`: a budget of non-zeros, divided over the weights anew at every update of Z."""

import math
from collections.abc import Mapping

import numpy as np

from keras_admm import checks, hints, weights
from keras_admm.allocation import Allocation, MeasuredAllocation, check_how, check_min_keep, divide, starved
from keras_admm.constraints import (
    Pattern,
    Set,
    Sparse,
    Support,
    check_sparsity,
    group_norms,
    group_sums,
    pattern,
    says_sparsity,
    view,
)
from keras_admm.plan.target import Target
from keras_admm.schedules import check_path, tighten

START = "a number in [0, 1), the share of zeros that the model has already", "Leave it out for a dense model."


class PruningTarget(Target):
    """A budget of non-zeros for all weights, divided over them anew at every move of Z and U.

    Args:
        sparsity: float in `[0, 1)`, the share of zeros where the step ends; None, and only then, with a `structure` of
            the form `"m:n"`, which says what each kernel keeps: nothing is divided then.
        start: float in `[0, 1)`, the share where it begins.
        keep_zeros: bool, whether what is zero as the step begins stays zero, as in a model that is pruned already.
        allocation, min_keep, structure, path: see `keras_admm.ADMMPrune`.
        name: str, name used in error messages.

    Raises:
        ValueError, TypeError: for values out of their range.

    Example:

    >>> sets = PruningTarget(0.5).sets({"a": np.array([1.0, 2.0, 5.0]), "b": np.array([3.0, 0.5, 0.1])}, 1.0)
    >>> sets["a"](np.array([1.0, 2.0, 5.0], "float32"))
    array([0., 2., 5.], dtype=float32)
    """

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        start: float = 0.0,
        allocation: Allocation | None = None,
        min_keep: int = 1,
        structure: str | Pattern = "element",
        path: hints.Tightening = "constant",
        keep_zeros: bool = False,
        name: str = "PruningTarget",
    ):
        checks.text("PruningTarget", "name", name)
        self.fixed = says_sparsity(name, sparsity, structure)
        if self.fixed and (start, allocation, min_keep, path) != (0.0, None, 1, "constant"):
            raise ValueError(
                f"{name}: structure={structure!r} says what each kernel keeps: there is no budget to divide or to come "
                f"to. Received: {allocation=}, {min_keep=}, {path=}. Leave these out."
            )
        self.sparsity = None if self.fixed else check_sparsity(name, sparsity)
        self.start = check_sparsity(name, start)
        by_default = "global" if pattern(name, structure).alike else "uniform"
        self.allocation = by_default if allocation is None else allocation
        check_how(name, self.allocation)
        check_path(name, path)
        self.min_keep = check_min_keep(name, min_keep)
        self.structure = structure
        self.path = path
        self.keep_zeros = checks.boolean(name, "keep_zeros", keep_zeros)
        self._model, self._measured = None, {}

    def of(self, model, variables, layers=None, exclude=None):
        told = super().of(model, variables, layers, exclude)
        told._model, told._measured = model, {}
        if pattern("PruningTarget", self.structure).ends_outputs:
            last = set(map(id, weights.last(model)))
            told.misfits |= {name: self._last(variable) for name, variable in variables.items() if id(variable) in last}
        return told

    def _last(self, variable):
        return (
            f"structure={self.structure!r} is for kernels that others follow: this one writes outputs of the model, "
            f"which would be constant. Received: a tensor of shape {tuple(variable.shape)}. Exclude it, or use "
            "structure='element'."
        )

    @property
    def on_device(self):
        return self.allocation != "lamp" and not callable(self.allocation)

    def sets(self, arrays, fraction):
        if self.fixed:
            return dict.fromkeys(arrays, Sparse(structure=self.structure))
        return self.at(arrays, tighten(self.start, self.sparsity, fraction, self.path), fraction)

    def at(self, arrays: Mapping[str, np.ndarray], sparsity: float | None, fraction: float) -> dict[str, Set]:
        """The sets of a sparsity, whatever the target's own; see `sets`."""
        how = self.allocation
        if isinstance(how, Mapping):
            how = {p: tighten(min(self.start, s), s, fraction, self.path) for p, s in how.items()}
        groups = weights.Lazy(arrays, lambda n: self._groups(n, arrays[n]))
        sizes = {n: math.prod(g.shape) for n, g in groups.items()}
        looked_at = self._scores() if isinstance(how, MeasuredAllocation) else groups
        counts = divide(looked_at, sizes, sparsity, how, self.min_keep)
        return {
            n: Sparse(1 - counts[n] / size, self.structure) if counts[n] else Support(np.zeros(tuple(arrays[n].shape)))
            for n, size in sizes.items()
        }

    def counts(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """How many groups are kept at least, and how many there are, of weights of these shapes."""
        sizes = [Sparse(0.0, self.structure, self.axes.get(n)).kept(arrays[n].shape)[1] for n in arrays]
        return max(1, sum(min(self.min_keep, size) for size in sizes)), sum(sizes)

    def check(self, name, shape):
        view(self.structure, shape, self.axes.get(name))

    def decisive(self, fractions):
        """The ends of a path, for what a budget leaves only falls on the way; all, where a callable divides it."""
        if callable(self.allocation):
            return fractions
        return fractions[-1:] if self.path == "constant" else [fractions[0], fractions[-1]]

    def starved(self, sets, arrays):
        """`"kept of all"` of each tensor that is left with next to nothing by a way of dividing that is not the user's.

        See `allocate.starved`.
        """
        kept = {n: s.kept(arrays[n].shape) for n, s in sets.items() if isinstance(s, Sparse)}
        if not isinstance(self.allocation, (str, MeasuredAllocation)) or not kept or self.fixed:
            return {}
        counts, sizes = ({n: pair[i] for n, pair in kept.items()} for i in range(2))
        return {n: f"{counts[n]:,} of {sizes[n]:,}" for n in starved(counts, sizes, self.min_keep)}

    def state(self):
        return self._measured

    def load(self, state):
        self._measured = state

    def _scores(self):
        """What an allocation has measured of the model, as the run began."""
        if not self._measured:
            if self._model is None:
                how = type(self.allocation).__name__
                raise ValueError(
                    f"PruningTarget: an allocation by {how} must know the model, which it measures. Received: a target "
                    "that was asked for sets before it was told. Ask what of(model, variables) returns."
                )
            fitting = {name: variable for name, variable in self.wants.items() if name not in self.misfits}
            self._measured = dict(self.allocation.measure(self._model, fitting))
        if not self.allocation.by_weight:
            return self._measured
        return weights.Lazy(self._measured, lambda n: self._groups(n, self._measured[n], group_sums))

    def get_config(self):
        names = ("sparsity", "start", "allocation", "min_keep", "structure", "path", "keep_zeros")
        return {name: getattr(self, name) for name in names}

    def _groups(self, name, array, of_each=group_norms):
        try:
            return of_each(array, self.structure, self.axes.get(name))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def pruning_targets(name, sparsity, start=0.0, **arguments):
    """The targets of progressive pruning: one for each sparsity, each starting at the one before.

    Args:
        name: str, name used in error messages.
        sparsity: float, or a list of ascending ones; None where the structure says it.
        start: float, the share of zeros that the model has already, and keeps.
        **arguments: of `PruningTarget`.
    """
    start = check_start(name, start)
    if sparsity is None:
        return [PruningTarget(start=start, name=name, **arguments)]
    sparsities = ascending(name, sparsity)
    if 0 < start >= sparsities[0]:
        raise ValueError(checks.refused(name, "start", "below the sparsity that is aimed at", start, START[1]))
    first = PruningTarget(sparsities[0], start=start, keep_zeros=start > 0, name=name, **arguments)
    later = zip(sparsities, sparsities[1:], strict=False)
    return [first, *(PruningTarget(end, start=begin, name=name, **arguments) for begin, end in later)]


def check_start(name, start):
    """Returns the share of zeros that a model has already as a float, or raises ValueError or TypeError."""
    return checks.share(name, "start", start, *START)


def ascending(name, sparsity):
    """A sparsity, or ascending ones, as a list of floats; or raises."""
    several = isinstance(sparsity, (list, tuple)) or isinstance(sparsity, np.ndarray) and sparsity.ndim == 1
    sparsities = [check_sparsity(name, s) for s in (sparsity if several else [sparsity])]
    if not sparsities or any(a >= b for a, b in zip(sparsities, sparsities[1:], strict=False)):
        raise ValueError(
            f"{name}: a list of sparsities must ascend, each step starting from the last. "
            f"Received: sparsity={checks.shown(sparsity)}. Sort it and drop what is equal."
        )
    return sparsities
