"""What a run does and when: steps, each an ADMM phase and a retraining phase, laid over epochs."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from keras_admm import checks, weights
from keras_admm.allocate import check_how, check_min_keep, divide, starved
from keras_admm.attach import PENALTIES
from keras_admm.constraints import Sparse, Support, check_structure, group_norms
from keras_admm.constraints.sparse import check_sparsity
from keras_admm.names import idle, last_fitting
from keras_admm.schedules import check_growth, check_path, check_rho, tighten

A_SET = "a keras_admm.constraints object such as Sparse(0.9)"
RETRAINING = ("straight_through", "snap", "centroids")


class Step(NamedTuple):
    """One target and the epochs that lead to it.

    Attributes:
        constraints: the set of each weight. A `keras_admm.constraints` object for all of them, a mapping of names or
            patterns to such objects (the last that fits counts), or a callable `(arrays, fraction) -> {name:
            constraint}` given the float32 weights by name and the share of the step's updates that have passed, in
            `[0, 1]`. Weights that a mapping does not name stay as they are in this step.
        admm_epochs: int, epochs under the penalty; None shares out the epochs of the run.
        retrain_epochs: int, epochs inside the set; None shares them out, 0 ends with the projection.
    """

    constraints: Callable
    admm_epochs: int | None = None
    retrain_epochs: int | None = None

    def sets(self, arrays, fraction):
        """The constraint of each of `arrays`."""
        if isinstance(self.constraints, Mapping):
            _check_patterns(self.constraints, arrays)
            return last_fitting(self.constraints, list(arrays))
        if hasattr(self.constraints, "get_config"):
            return dict.fromkeys(arrays, self.constraints)
        return self.constraints(arrays, fraction)

    def decisive(self, fractions):
        """Those of the fractions at which `sets` can fail where it does not at the others."""
        if hasattr(self.constraints, "decisive"):
            return self.constraints.decisive(fractions)
        return fractions[:1] if self.fixed else fractions

    def takes(self, names):
        """Whether the step has sets for any of these names, as its `constraints` may say by a method `taken`."""
        taken = getattr(self.constraints, "taken", None)
        return taken is None or bool(taken(names))

    def starved(self, sets, arrays):
        """What the step's `sets` leave with next to nothing, as its `constraints` may say by a method of that name."""
        starved = getattr(self.constraints, "starved", None)
        return {} if starved is None else starved(sets, arrays)

    @property
    def fixed(self):
        """Whether the sets are the same whatever the weights."""
        return isinstance(self.constraints, Mapping) or hasattr(self.constraints, "get_config")

    @property
    def lasting(self):
        """Whether the sets stay those that the step began with, as the `constraints` say by an attribute."""
        return getattr(self.constraints, "lasting", False)


def check_sets(name, sets, arrays):
    """Raises the sentence that says what is wrong with what a step returns as its sets."""
    if not isinstance(sets, Mapping):
        raise TypeError(
            f"{name}: the sets of a step must be a dict {{name: constraint}}. Received: {sets!r:.200}, returned by a "
            "callable. Return a constraint for each of the names that it is given."
        )
    wrong = [key for key, each in sets.items() if key not in arrays or not callable(each)]
    if wrong or not sets:
        raise ValueError(
            f"{name}: the sets of a step must be constraints of some of {list(arrays)}. Received: {wrong or 'none'}. "
            "Return a constraint for each of the names that the callable is given."
        )


def _check_patterns(patterns, names):
    unused = idle(patterns, names)
    if unused:
        raise ValueError(
            f"constraints: each name or pattern of a mapping must fit a compressed weight. Received: {unused}, which "
            f"fit none of {list(names)}. Correct them, or take more weights with layers= or biases=True."
        )


class Pruning(NamedTuple):
    """The `constraints` of a pruning step: a budget divided over the tensors anew at every update.

    Attributes: see `keras_admm.ADMMPrune`; `start` is the sparsity where the step begins.
    """

    sparsity: float
    start: float = 0.0
    allocation: object = "global"
    min_keep: int = 1
    structure: str = "element"
    path: str | None = None

    def __call__(self, arrays, fraction):
        how = self.allocation
        if isinstance(how, Mapping):
            how = {p: tighten(min(self.start, s), s, fraction, self.path) for p, s in how.items()}
        sparsity = tighten(self.start, self.sparsity, fraction, self.path)
        groups = weights.Lazy(arrays, lambda n: self._groups(n, arrays[n]))
        sizes = {n: g.size for n, g in groups.items()}
        counts = divide(groups, sizes, sparsity, how, self.min_keep)
        return {
            n: Sparse(1 - counts[n] / size, self.structure) if counts[n] else Support(np.zeros(arrays[n].shape))
            for n, size in sizes.items()
        }

    def decisive(self, fractions):
        """The ends of a path, for what a budget leaves only falls on the way; all, where a callable divides it."""
        if callable(self.allocation):
            return fractions
        return fractions[-1:] if self.path is None else [fractions[0], fractions[-1]]

    def starved(self, sets, arrays):
        """`"kept of all"` of each tensor that is left with next to nothing by a way of dividing that is not the user's.

        See `allocate.starved`.
        """
        kept = {n: s.kept(arrays[n].shape) for n, s in sets.items() if isinstance(s, Sparse)}
        if not isinstance(self.allocation, str) or not kept:
            return {}
        counts, sizes = ({n: pair[i] for n, pair in kept.items()} for i in range(2))
        return {n: f"{counts[n]:,} of {sizes[n]:,}" for n in starved(counts, sizes, self.min_keep)}

    def _groups(self, name, array):
        try:
            return group_norms(array, self.structure)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def check_constraints(name, constraints):
    """Raises what is wrong with the `constraints` of a step, as far as it shows without weights."""
    if isinstance(constraints, Mapping):
        if not constraints:
            raise ValueError(
                checks.refused(
                    name,
                    "constraints",
                    "a mapping of one pattern at least",
                    constraints,
                    "Pass {'*kernel': Sparse(0.9)}.",
                )
            )
        for pattern, each in constraints.items():
            checks.text(name, "constraints", pattern)
            _check_set(name, f"constraints[{pattern!r}]", each)
    elif hasattr(constraints, "get_config") or not callable(constraints) or isinstance(constraints, type):
        _check_set(name, "constraints", constraints)
    else:
        checks.takes(name, "constraints", constraints, 2, f"{A_SET}, or a callable of (arrays, fraction)")


def _check_set(name, argument, constraint):
    if not callable(constraint) or isinstance(constraint, type):
        raise TypeError(checks.refused(name, argument, A_SET, constraint, "Pass for example Sparse(0.9)."))


def _check_snap(name, snap):
    must = "rising shares in (0, 1], the last of them 1"
    remedy = "Write for example (0.5, 0.75, 1.0), or (1.0,) to put all in its place at once."
    if not isinstance(snap, (list, tuple)):
        raise TypeError(checks.refused(name, "snap", must, snap, remedy))
    shares = [checks.number(name, "snap", share, 0, must, remedy) for share in snap]
    if not shares or any(a >= b for a, b in zip([0.0, *shares], shares, strict=False)) or shares[-1] != 1:
        raise ValueError(checks.refused(name, "snap", must, snap, remedy))


class Moment(NamedTuple):
    """One epoch of a run.

    Attributes:
        step: int, which step, from 0.
        phase: `"admm"` or `"retrain"`.
        epoch: int, which epoch of this phase, from 0.
        epochs: int, how many epochs this phase has.
    """

    step: int
    phase: str
    epoch: int
    epochs: int


class Plan(NamedTuple):
    """A whole run.

    Attributes:
        steps: tuple of `Step`s, each starting from where the last one ended.
        update_every: int >= 1, epochs between two moves of Z and U.
        rho: float >= 0, the penalty at the start of each step; with `penalty="proximal"` the strength of the pull.
        rho_growth: float > 0, the factor per update, or `"balance"`; see `schedules.rho_factor`.
        rescale_dual: bool, whether U shrinks as rho grows (Boyd) or stays as it is (the ADMM pruning authors).
        masked_progressive: bool, whether weights that a step zeroed stay zero in the ADMM epochs of the next.
        penalty: `"gradient"`, `"proximal"` or `"loss"`; see `attach.Hold`.
        pull_kept: bool, whether the weights that Z keeps are pulled to where Z has them, or Z follows them.
        snap: tuple of ascending shares, the last 1: for sets that say more than what is zero, how much of each weight
            is put where the set has it at the start of each equal part of retraining.
        retraining: one of `RETRAINING`, how the weights of such sets are retrained; see `keras_admm.ADMM`.
    """

    steps: tuple
    update_every: int = 1
    rho: float = 1e-3
    rho_growth: float | str = 1.3
    rescale_dual: bool = True
    masked_progressive: bool = True
    penalty: str = "gradient"
    pull_kept: bool = True
    snap: tuple = (0.5, 0.75, 0.9, 1.0)
    retraining: str = "straight_through"

    def snapped(self, epoch, epochs):
        """The share that is in its place when so many of the epochs of retraining have passed."""
        if epoch >= epochs:
            return self.snap[-1]
        return self.snap[epoch * len(self.snap) // epochs]

    def check(self, name):
        """Raises the sentence that says what is wrong with this plan."""
        if not isinstance(self.steps, (list, tuple)) or not all(isinstance(step, Step) for step in self.steps):
            must = "a tuple of keras_admm.Step objects"
            raise TypeError(checks.refused(name, "steps", must, self.steps, "Pass (Step(Sparse(0.9)),)."))
        if not self.steps:
            raise ValueError(
                f"{name}: a run must have at least one step. Received: none. Give one constraint or sparsity."
            )
        for step in self.steps:
            check_constraints(name, step.constraints)
            per_step(name, "admm_epochs", step.admm_epochs, 1, least=1)
            per_step(name, "retrain_epochs", step.retrain_epochs, 1, least=0)
        checks.integer(name, "update_every", self.update_every, remedy="Use 1 to move Z and U after every epoch.")
        checks.choice(name, "penalty", self.penalty, PENALTIES)
        checks.choice(name, "retraining", self.retraining, RETRAINING)
        for argument in ("rescale_dual", "masked_progressive", "pull_kept"):
            checks.boolean(name, argument, getattr(self, argument))
        _check_snap(name, self.snap)
        check_rho(name, self.rho)
        check_growth(name, self.rho_growth)

    def timeline(self, name, epochs=None, more=0):
        """The `Moment` of every epoch.

        Args:
            name: str, who asks, for the sentence of an error.
            epochs: int, how many epochs the run has. None: as many as the steps say, which must all say it.
            more: int, epochs that the last retraining has beyond these.

        Raises:
            ValueError: when the epochs do not suffice, or are not known.
        """
        lengths = self._lengths(name, epochs)
        lengths[-1] = lengths[-1][0], lengths[-1][1] + more
        timeline = []
        for i, (admm, retrain) in enumerate(lengths):
            timeline += [Moment(i, "admm", e, admm) for e in range(admm)]
            timeline += [Moment(i, "retrain", e, retrain) for e in range(retrain)]
        return timeline

    def _lengths(self, name, epochs):
        asked = [n for s in self.steps for n in (s.admm_epochs, s.retrain_epochs)]
        fixed = sum(n for n in asked if n is not None)
        unknown = asked.count(None)
        if epochs is None and unknown:
            raise ValueError(
                f"{name}: the number of epochs must be known. Received: admm_epochs or retrain_epochs of None in "
                "a loop of your own. Give both in every step."
            )
        epochs = fixed if epochs is None else epochs
        spare = epochs - fixed
        if spare < unknown:
            raise ValueError(
                f"{name}: the {len(self.steps)} step(s) need at least {fixed + unknown} epochs (one for each ADMM "
                f"and each retraining phase not given). Received: epochs={epochs}. Fit for more epochs, or give "
                "fewer steps, admm_epochs or retrain_epochs."
            )
        shares = [spare // unknown + (i < spare % unknown) for i in range(unknown)] if unknown else []
        lengths = [shares.pop(0) if n is None else n for n in asked]
        lengths[-1] += epochs - sum(lengths)
        return list(zip(lengths[::2], lengths[1::2], strict=True))


def pruning_steps(name, sparsity, allocation, min_keep, structure, path, admm_epochs, retrain_epochs):
    """The steps of `ADMMPrune`: one for each sparsity, each starting at the one before."""
    sparsities = _ascending(name, sparsity)
    check_how(name, allocation)
    check_min_keep(name, min_keep)
    check_path(name, path)
    check_structure(name, structure)
    admm = per_step(name, "admm_epochs", admm_epochs, len(sparsities), least=1)
    retrain = per_step(name, "retrain_epochs", retrain_epochs, len(sparsities), least=0)
    goals = [
        Pruning(end, start, allocation, min_keep, structure, path)
        for start, end in zip([0.0, *sparsities], sparsities, strict=False)
    ]
    return tuple(Step(*parts) for parts in zip(goals, admm, retrain, strict=True))


def _ascending(name, sparsity):
    sparsities = [check_sparsity(name, s) for s in (sparsity if isinstance(sparsity, (list, tuple)) else [sparsity])]
    if not sparsities or any(a >= b for a, b in zip(sparsities, sparsities[1:], strict=False)):
        raise ValueError(
            f"{name}: a list of sparsities must ascend, each step starting from the last. "
            f"Received: sparsity={checks.shown(sparsity)}. Sort it and drop what is equal."
        )
    return sparsities


def per_step(name, argument, epochs, count, least):
    """The epochs of each step, from one number for all or a list; raises the sentence that says what is wrong."""
    values = list(epochs) if isinstance(epochs, (list, tuple)) else [epochs] * count
    good = all(e is None or (isinstance(e, (int, np.integer)) and type(e) is not bool and e >= least) for e in values)
    if not good or len(values) != count:
        raise ValueError(
            f"{name}: `{argument}` must be an integer >= {least}, or a list of one for each of the {count} step(s). "
            f"Received: {argument}={checks.shown(epochs)}. Leave it out to have the epochs of fit divided."
        )
    return [None if e is None else int(e) for e in values]
