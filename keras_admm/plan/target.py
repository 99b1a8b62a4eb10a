"""`Target`: which set each weight is to reach in a step; and the forms that it may be given in."""

import abc
import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from keras_admm import checks, hints, weights
from keras_admm.constraints import Set, as_set, is_foreign
from keras_admm.names import idle, last_fitting

A_SET = "a keras_admm.constraints object such as Sparse(0.9)"


class Target(abc.ABC):
    """What a step aims at: the set of each weight, for the weights as they are and the share of the step that has
    passed.

    Attributes:
        fixed_at_start: bool, whether the sets stay those that the step began with.
        fixed: bool, whether they are the same whatever the weights.
        on_device: bool, whether `sets` takes tensors of the backend in the place of arrays, and all its sets do.
        wants: dict of names to the variables of a run that it is asked for the sets of, from `of`.
        axes: dict of names to the `constraints.Axes` of the kernels of a model, from `of`.
        keep_zeros: bool, whether weights that are 0 as the step begins stay 0, whatever their set says.
        shrinks: bool, whether a smaller model is what it is for, so that what is left of it is told after each step.
        misfits: dict of names to sentences, why a structure does not fit these kernels: the target has no sets for
            them. From `of`.

    Example, a target that keeps all positive weights:

    >>> import numpy as np
    >>> from keras_admm.constraints import Support
    >>> class Positive(Target):
    ...     def sets(self, arrays, fraction):
    ...         return {name: Support(w > 0) for name, w in arrays.items()}
    ...     def get_config(self):
    ...         return {}
    >>> Positive().sets({"a": np.array([1.0, -1.0])}, 0.0)["a"].mask.tolist()
    [True, False]
    """

    fixed_at_start = False
    fixed = False
    on_device = False
    keep_zeros = False
    shrinks = False
    wants = None
    axes = misfits = MappingProxyType({})

    def __repr__(self):
        return checks.with_settings(self, self.get_config())

    def of(
        self,
        model: hints.Model,
        variables: Mapping[str, Any],
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
    ) -> "Target":
        """The target for the weights of one model: one that knows what it needs of that model.

        Args:
            model: built.
            variables: dict of names to the variables that are compressed, those that `layers` and `exclude` choose.
            layers, exclude: see `keras_admm.weights.select`.

        Returns:
            A copy that wants these, with their `axes` and the `misfits` among them. A target that wants others, such as
            gammas beside kernels, overrides it.
        """
        told = copy.copy(self)
        told.wants = variables
        told.axes = weights.axes(model, variables)
        told.misfits = {n: why for n, v in variables.items() if (why := told._misfit(n, tuple(v.shape)))}
        return told

    @abc.abstractmethod
    def sets(self, arrays: Mapping[str, np.ndarray], fraction: float) -> Mapping[str, Set]:
        """The set of each weight.

        Args:
            arrays: dict of names to float32 arrays, the weights.
            fraction: float in `[0, 1]`, the share of the step's moves of Z and U that have passed.

        Returns:
            A dict of names to `keras_admm.constraints.Set`s, or other Keras constraints. Weights that are not in it
            stay as they are in this step.
        """

    def last_sets(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, Set]:
        """The sets that weights are projected on where the step's ADMM ends: those of `sets`, or others."""
        return self.sets(arrays, 1.0)

    def corrections(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, Set]:
        """The sets that the weights have to be projected on once more where the run has ended: none, or some."""
        return {}

    def _misfit(self, name, shape):
        try:
            self.check(name, shape)
        except ValueError as error:
            return str(error)

    def check(self, name: str, shape: Sequence[int]) -> None:  # noqa: B027, nothing is refused unless a subclass does
        """Raises ValueError where a structure does not fit a kernel of that shape."""

    def projected(self, sets: Mapping[str, Set]) -> None:  # noqa: B027, nothing follows unless a subclass says so
        """What else of the model has to change once weights were projected on these sets: moving statistics."""

    def state(self) -> dict[str, np.ndarray]:
        """What it has measured as the run began, for `load` when it is resumed: a dict of arrays, by weights' names or
        names of its own."""
        return {}

    def load(self, state: Mapping[str, np.ndarray]) -> None:  # noqa: B027, nothing is measured unless a subclass says so
        """Go on with a `state`, in the place of measuring anew."""

    def outcome(self) -> str | None:
        """What the model comes to, to be told before training, such as `"3,000 MACs to 1,500"`; None: see the sets."""
        return None

    def takes(self, names: Sequence[str]) -> list[str]:
        """The names, of those of all weights, that `sets` will have sets for."""
        return list(names)

    def decisive(self, fractions: Sequence[float]) -> list[float]:
        """Those of the fractions at which `sets` can fail where it does not at the others: they are tried first."""
        return fractions[:1] if self.fixed else list(fractions)

    def starved(self, sets: Mapping[str, Set], arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        """What the sets leave with next to nothing though nobody asked for it: `{name: "kept of all"}`."""
        return {}

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """What the target was made with, by which a run that is resumed is known."""


AnyTarget = Target | Set | Mapping[str, Set] | Callable[..., Mapping[str, Set]]


class OneSet(Target):
    """One set for every weight.

    Args:
        constraint: a `keras_admm.constraints.Set`.
    """

    fixed = True

    def __init__(self, constraint):
        self.constraint = constraint

    @property
    def on_device(self):
        return self.constraint.on_device

    def sets(self, arrays, fraction):
        return dict.fromkeys(arrays, self.constraint)

    def check(self, name, shape):
        self.constraint.along(self.axes[name]).check_shape(shape)

    def get_config(self):
        return {"constraint": self.constraint}


class Patterns(Target):
    """A set for each name pattern; of several that fit a name the last counts.

    Args:
        patterns: dict of names or patterns to `keras_admm.constraints.Set`s.
    """

    fixed = True

    def __init__(self, patterns):
        self.patterns = patterns

    @property
    def on_device(self):
        return all(each.on_device for each in self.patterns.values())

    def sets(self, arrays, fraction):
        unused = idle(self.patterns, arrays)
        if unused:
            raise ValueError(
                f"constraints: each name or pattern of a mapping must fit a compressed weight. Received: {unused}, "
                f"which fit none of {list(arrays)}. Correct them, or take more weights with layers= or biases=True."
            )
        return last_fitting(self.patterns, list(arrays))

    def check(self, name, shape):
        for each in last_fitting(self.patterns, [name]).values():
            each.along(self.axes[name]).check_shape(shape)

    def get_config(self):
        return {"patterns": self.patterns}


class Computed(Target):
    """Sets that a function gives.

    Args:
        function: `(arrays, fraction) -> {name: constraint}`, as `Target.sets`.
    """

    def __init__(self, function):
        self.function = function

    def sets(self, arrays, fraction):
        return self.function(arrays, fraction)

    def get_config(self):
        return {"function": self.function}


def sets_of(name, target, arrays, fraction, last=False):
    """What a target's `sets` gives, or an error that says what is wrong with it.

    Args:
        name: str, name used in error messages.
        target, arrays, fraction: see `Target.sets`.
        last: bool, whether to ask for `last_sets`.
    """
    wanted = arrays if target.wants is None else target.wants
    arrays = weights.Lazy((key for key in wanted if key not in target.misfits), arrays.__getitem__)
    sets = target.last_sets(arrays) if last else target.sets(arrays, fraction)
    remedy = "Return a constraint for each of the names that it is given."
    if not isinstance(sets, Mapping):
        must = "a dict of names to constraints, as a step's target must return"
        raise TypeError(checks.refused(name, "sets", must, sets, remedy))
    wrong = [key for key, each in sets.items() if key not in arrays or not _is_constraint(each)]
    if wrong or not sets:
        raise ValueError(
            f"{name}: the sets of a step must be constraints of some of {list(arrays)}. Received: {wrong or 'none'}. "
            f"{remedy}"
        )
    sets = {key: as_set(each) for key, each in sets.items()}
    return {key: each.along(target.axes[key]) if key in target.axes else each for key, each in sets.items()}


def as_target(name, target):
    """A target from any of the forms that it may be given in.

    Args:
        name: str, name used in error messages.
        target: a `Target`; a constraint for every weight; a mapping of names or patterns to constraints; or a function
            `(arrays, fraction) -> {name: constraint}`.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, Mapping):
        return _patterns(name, target)
    if isinstance(target, Set) or is_foreign(target) or not callable(target) or isinstance(target, type):
        return OneSet(_set(name, "constraints", target))
    return Computed(checks.takes(name, "constraints", target, 2, f"{A_SET}, or a callable of (arrays, fraction)"))


def _patterns(name, mapping):
    if not mapping:
        must = "a mapping of one pattern at least"
        raise ValueError(checks.refused(name, "constraints", must, mapping, "Pass {'*kernel': Sparse(0.9)}."))
    return Patterns(
        {checks.text(name, "constraints", p): _set(name, f"constraints[{p!r}]", each) for p, each in mapping.items()}
    )


def _is_constraint(thing):
    return callable(thing) and not isinstance(thing, type)


def _set(name, argument, constraint):
    if not _is_constraint(constraint):
        raise TypeError(checks.refused(name, argument, A_SET, constraint, "Pass for example Sparse(0.9)."))
    return as_set(constraint)
