"""`Plan` and `Step`: ADMM epochs and retraining epochs, laid over the epochs of a fit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from keras_admm import checks, hints, penalties, retraining
from keras_admm.penalties import Penalty
from keras_admm.plan.every import Every, every
from keras_admm.plan.target import AnyTarget, as_target
from keras_admm.retraining import Retraining


@dataclass(frozen=True, kw_only=True)
class Step:
    """One target and the epochs that lead to it.

    Args:
        target: what to aim at: a `Target`; a `keras_admm.constraints` object for every weight; a mapping of names or
            patterns to such objects (the last that fits counts); or a callable `(arrays, fraction) -> {name:
            constraint}` given the float32 weights by name and the share of the step's moves that have passed, in
            `[0, 1]`. Weights that have no set stay as they are in this step.
        admm_epochs: int >= 1, epochs under the penalty; or a float in `(0, 1)`, their share of the epochs of the run
            that are the step's. None is half of these.
        retrain_epochs: int >= 0, epochs of retraining in the set; None is what ADMM leaves, 0 ends with the projection.
        retraining: how weights on few values are retrained: `"straight_through"`, `"snap"`, `"shared_values"`, or a
            `keras_admm.retraining` object.
        keep_pruned: bool, whether what the step before zeroed stays zero in the ADMM epochs of this one, as the authors
            do, or may come back.

    Raises:
        ValueError, TypeError: for anything else.
    """

    target: AnyTarget
    admm_epochs: int | float | None = None
    retrain_epochs: int | None = None
    retraining: str | Retraining = "straight_through"
    keep_pruned: bool = True

    def __post_init__(self):
        (admm,) = per_step("Step", "admm_epochs", self.admm_epochs, 1, least=1, shares=True)
        (retrain,) = per_step("Step", "retrain_epochs", self.retrain_epochs, 1, least=0)
        checks.boolean("Step", "keep_pruned", self.keep_pruned)
        _set(self, target=as_target("Step", self.target), admm_epochs=admm, retrain_epochs=retrain)
        _set(self, retraining=retraining.get(self.retraining, "Step"))

    def get_config(self) -> dict[str, Any]:
        return _config(self)


class EpochInfo(NamedTuple):
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run.

    Args:
        steps: tuple of `Step`s, each starting from where the last one ended.
        penalty: `"gradient"`, `"proximal"`, `"loss"`, or a `keras_admm.penalties` object.
        update_every: int >= 1, epochs between two moves of Z and U; or text such as `"100 steps"`, training steps; or
            `"auto"`: 100 training steps, or fewer where there would be less than 40 moves in a step's ADMM epochs.

    Raises:
        ValueError, TypeError: for anything else.

    Example:

    >>> from keras_admm.constraints import Sparse
    >>> plan = Plan(steps=(Step(target=Sparse(0.9), admm_epochs=2, retrain_epochs=1),))
    >>> [(epoch.phase, epoch.epoch) for epoch in plan.timeline("plan")]
    [('admm', 0), ('admm', 1), ('retrain', 0)]
    """

    steps: Sequence[Step]
    penalty: str | Penalty = "gradient"
    update_every: int | str = 1

    def __post_init__(self):
        steps = self.steps
        if not isinstance(steps, (list, tuple)) or not all(isinstance(step, Step) for step in steps):
            must = "a tuple of keras_admm.Step objects"
            raise TypeError(checks.refused("Plan", "steps", must, steps, "Pass (Step(target=Sparse(0.9)),)."))
        if not steps:
            raise ValueError(
                "Plan: a run must have at least one step. Received: none. Give one constraint or sparsity."
            )
        every("Plan", self.update_every)
        _set(self, steps=tuple(steps), penalty=penalties.get(self.penalty, "Plan"))

    @property
    def every(self) -> Every:
        """`update_every` as an `Every`."""
        return every("Plan", self.update_every)

    def of(
        self,
        model: hints.Model,
        variables: Mapping[str, Any],
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
    ) -> "Plan":
        """The plan for a model: targets that know it, without the steps that have no sets for any of its variables.

        Args:
            model, variables, layers, exclude: see `Target.of`.
        """
        steps = [replace(s, target=s.target.of(model, variables, layers, exclude)) for s in self.steps]
        return replace(self, steps=tuple(step for step in steps if step.target.takes(list(step.target.wants))))

    @property
    def wants(self) -> dict[str, Any]:
        """All variables that its targets want, by name."""
        return {name: variable for step in self.steps for name, variable in step.target.wants.items()}

    def left_out(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the names whose kernels the structure of no step fits, with the last one's reason: a dict."""
        misfits = [step.target.misfits for step in self.steps]
        return {name: misfits[-1][name] for name in names if all(name in each for each in misfits)}

    def get_config(self) -> dict[str, Any]:
        return _config(self)

    def timeline(self, name: str, epochs: int | None = None, more: int = 0) -> list[EpochInfo]:
        """The `EpochInfo` of every epoch.

        Args:
            name: str, name used in error messages.
            epochs: int, how many epochs the run has. None: as many as the steps say, which must all say it.
            more: int, epochs that the last retraining has beyond these.

        Raises:
            ValueError: when the epochs do not suffice, or are not known.
        """
        lengths = self._lengths(name, epochs)
        lengths[-1] = lengths[-1][0], lengths[-1][1] + more
        timeline = []
        for i, (admm, retrain) in enumerate(lengths):
            timeline += [EpochInfo(i, "admm", e, admm) for e in range(admm)]
            timeline += [EpochInfo(i, "retrain", e, retrain) for e in range(retrain)]
        return timeline

    def _lengths(self, name, epochs):
        asked = [n for s in self.steps for n in (_known(s.admm_epochs), s.retrain_epochs)]
        fixed = sum(n for n in asked if n is not None)
        unknown = asked.count(None)
        if epochs is None and unknown:
            raise ValueError(
                f"{name}: the number of epochs must be known. Received: admm_epochs or retrain_epochs of None in "
                "a custom training loop. Give both in every step."
            )
        epochs = fixed if epochs is None else epochs
        spare = epochs - fixed
        if spare < unknown:
            raise ValueError(
                f"{name}: the {len(self.steps)} step(s) need at least {fixed + unknown} epochs (one for each ADMM "
                f"and each retraining phase not given). Received: epochs={epochs}. Fit for more epochs, or give "
                "fewer steps, admm_epochs or retrain_epochs."
            )
        parts = [part for step in self.steps for part in _parts(step)]
        shares = divided(spare, [part for part, n in zip(parts, asked, strict=True) if n is None])
        lengths = [shares.pop(0) if n is None else n for n in asked]
        lengths[-1] += epochs - sum(lengths)
        return list(zip(lengths[::2], lengths[1::2], strict=True))


def per_step(name, argument, epochs, count, least, shares=False):
    """The epochs of each step, from one number for all or a list; or raises ValueError or TypeError.

    Args:
        name, argument: str, names used in error messages.
        epochs: int or None, or with `shares` a float in (0, 1); or a list of these.
        count: int, of steps.
        least: int, epochs.
        shares: bool.
    """
    values = list(epochs) if isinstance(epochs, (list, tuple)) else [epochs] * count
    good = all(e is None or _is_whole(e) and e >= least or shares and _is_share(e) for e in values)
    if not good or len(values) != count:
        or_share = ", a float in (0, 1), their share of the step's epochs" if shares else ""
        raise ValueError(
            f"{name}: `{argument}` must be an integer >= {least}{or_share}, or a list of one for each of the {count} "
            f"step(s). Received: {argument}={checks.shown(epochs)}. Leave it out to have the epochs of fit divided."
        )
    return [None if e is None else int(e) if _is_whole(e) else float(e) for e in values]


def divided(epochs, parts):
    """Epochs divided over phases: one each, and the rest by their parts, a whole number each by largest remainder.

    Args:
        epochs: int, at least one for each phase.
        parts: list of floats > 0.

    Example:

    >>> divided(10, [0.75, 0.25]), divided(5, [0.5, 0.5])
    ([7, 3], [3, 2])
    """
    rest = epochs - len(parts)
    exact = [rest * part / sum(parts) for part in parts]
    whole = [int(x + 1e-9) for x in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (round(whole[i] - exact[i], 9), -parts[i]))
    first = by_remainder[: rest - sum(whole)]
    return [1 + n + (i in first) for i, n in enumerate(whole)]


def _parts(step):
    """The parts of a step's epochs that ADMM and retraining take where they are not told."""
    share = step.admm_epochs if _is_share(step.admm_epochs) else 0.5
    return share, 1 - share


def _known(epochs):
    return None if _is_share(epochs) else epochs


def _is_whole(value):
    return isinstance(value, (int, np.integer)) and type(value) is not bool


def _is_share(value):
    return isinstance(value, (float, np.floating)) and 0 < value < 1


def _set(frozen, **values):
    for field, value in values.items():
        object.__setattr__(frozen, field, value)


def _config(thing):
    return {field.name: getattr(thing, field.name) for field in fields(thing)}
