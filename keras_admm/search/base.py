"""`Search`, the base class of derivative-free searches: ask for points, tell what they are worth."""

import abc
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class Search(abc.ABC):
    """A search for the x within bounds that has the least value, where points may be forbidden.

    What it asks for depends on its arguments and on what it was told, on nothing else: so its state is these, and
    `load_state_dict` asks and tells them again. The first point that it asks for is `x0`.

    Args:
        x0: floats of shape (d,) or a number, where it begins.
        bounds: (low, high), each a number or of shape (d,).
        budget: int, the largest number of points.
        seed: int >= 0.

    Attributes:
        x: float64 array (d,), the best point so far: of least value, or where none is allowed, least violation.
        value, violation: floats, of `x`; None before the first point.
        evaluations: int, of how many points it was told.
        stage: int, by which of several functions, of more and more data, the points of `ask` are to be valued.

    Raises:
        ValueError, TypeError: for arguments out of their range.

    Example:

    >>> from keras_admm.search import NCS
    >>> search = NCS([3.0], bounds=(-5, 5), budget=400)
    >>> while not search.done:
    ...     search.tell([float(x[0] ** 2) for x in search.ask()])
    >>> bool(abs(search.x[0]) < 0.1)
    True
    """

    stage = 0
    stages = 1

    def __init__(self, x0: ArrayLike, bounds: tuple[ArrayLike, ArrayLike], budget: int, seed: int = 0):
        name = type(self).__name__
        self.x0, self.low, self.high = checked_box(name, x0, bounds)
        self.budget = whole(name, "budget", budget, 1)
        self.seed = whole(name, "seed", seed, 0)
        self.rng = np.random.default_rng(self.seed)
        self.x, self.value, self.violation = self.x0, None, None
        self._told, self._asked, self._ceiling = [], None, -np.inf

    @property
    def evaluations(self) -> int:
        return sum(len(records) for records in self._told)

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.evaluations >= self.budget

    def ask(self) -> np.ndarray:
        """The points to be valued next: float64 array (n, d), n >= 1. The same until they are told."""
        if self.done:
            raise ValueError(
                f"{type(self).__name__}: a search asks for points until its budget is spent. Received: one more call "
                f"of ask() after {self.budget:,}. Look at x and value, or begin another with a larger budget."
            )
        if self._asked is None:
            points = self._propose() if self._told else self.x0[None]
            self._asked = np.array(points[: self.budget - self.evaluations], float)
        return self._asked.copy()

    def tell(self, values: ArrayLike, violations: ArrayLike | None = None) -> None:
        """Say what the points that `ask` gave are worth.

        Args:
            values: floats, one for each.
            violations: floats, one for each, by how much it is off what is allowed: 0, or less, where it is allowed.
                None: all are.
        """
        points, records = self.ask(), self._records(values, violations)
        stage, self._asked = self.stage, None
        self._told.append(records)
        self._ceiling = max(self._ceiling, records[:, 0].max())
        if stage == self.stages - 1:
            self._note_best(points, records)
        if len(self._told) == 1:
            self._begin(records[0])
        elif not self.done:
            self._learn(points, records)

    def merits(self, records: np.ndarray) -> np.ndarray:
        """Values by which any two points compare: that of a forbidden one is above all values of allowed ones.

        Args:
            records: array (n, 2) of values and violations.
        """
        value, violation = np.asarray(records).T
        return np.where(violation > 0, self._ceiling + violation, value)

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that a search of the same class and arguments needs to go on from here: a flat dict of arrays."""
        told = np.concatenate(self._told) if self._told else np.zeros((0, 2))
        return {"search": np.array(self._identity), "told": told}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state_dict`, as if there had been no break.

        Raises:
            ValueError: for the state of a search of other arguments, or in the middle of a search.
        """
        identity = str(state["search"])
        if identity != self._identity or self._told:
            received = "a search that has begun" if self._told else identity
            raise ValueError(
                f"{type(self).__name__}: a state is loaded into a new search of the same class and arguments. "
                f"Received: {received}, here: {self._identity}. Make it with those."
            )
        told = np.array(state["told"])
        while len(told):
            count = len(self.ask())
            self.tell(*told[:count].T)
            told = told[count:]

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it was made with beside the arguments of every search: a dict of numbers and lists."""

    @abc.abstractmethod
    def _begin(self, record):
        """The value and the violation of `x0` are known: the first points come next."""

    @abc.abstractmethod
    def _propose(self):
        """The next points, an array (n, d) within bounds, n >= 1."""

    @abc.abstractmethod
    def _learn(self, points, records):
        """What the points of `_propose` were worth: an array (n, 2) of values and violations."""

    @property
    def _identity(self):
        given = {"x0": self.x0.tolist(), "bounds": [self.low.tolist(), self.high.tolist()]}
        given |= {"budget": self.budget, "seed": self.seed, **self.settings()}
        return json.dumps({"search": type(self).__name__, **given})

    def _records(self, values, violations):
        count, name = len(self.ask()), type(self).__name__
        violations = np.zeros(count) if violations is None else violations
        records = np.stack([floats(name, "values", values, count), floats(name, "violations", violations, count)], 1)
        return np.maximum(records, [-np.inf, 0.0])

    def _note_best(self, points, records):
        best = np.lexsort((records[:, 0], records[:, 1]))[0]
        value, violation = (float(x) for x in records[best])
        if self.value is None or (violation, value) < (self.violation, self.value):
            self.x, self.value, self.violation = points[best].copy(), value, violation


def shown(value):
    """A value as error messages show it: short, and never an error itself."""
    try:
        return f"{value!r:.120}"
    except Exception:  # of an object whose own repr fails
        return f"an object of {type(value).__name__}"


def floats(name, argument, given, count):
    """Finite numbers, `count` of them, as a float64 array."""
    try:
        array = np.asarray(given, float).reshape(-1)
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(
            f"{name}: `{argument}` must be {count} finite number(s), one for each point. Received: {shown(given)}. "
            "Say with violations=, or minimize's constraint=, which points are not allowed."
        )
    return array


def whole(name, argument, value, least):
    """An integer of at least so much."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: `{argument}` must be an integer >= {least}. Received: {shown(value)}. Pass an int.")
    if value < least:
        raise ValueError(f"{name}: `{argument}` must be an integer >= {least}. Received: {value}. Pass a larger one.")
    return int(value)


def positive(name, argument, value):
    """A finite number > 0."""
    good = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not good or not 0 < value < np.inf:
        kind = ValueError if good else TypeError
        raise kind(f"{name}: `{argument}` must be a finite number > 0. Received: {shown(value)}. Pass one.")
    return float(value)


def checked_box(name, x0, bounds):
    """x0 and the two bounds as float64 arrays of one shape (d,), or an error that says what is wrong."""
    try:
        x0 = np.atleast_1d(np.array(x0, float))
        low, high = (np.broadcast_to(np.asarray(end, float), x0.shape).copy() for end in bounds)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: `x0` must be numbers and `bounds` a pair (low, high), each a number or as many as x0 has. "
            f"Received: x0={shown(x0)}, bounds={shown(bounds)}. Write for example x0=[1.0, 1.0], bounds=(0, 10)."
        ) from None
    if x0.ndim != 1 or not x0.size or not (np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError(
            f"{name}: `bounds` must be finite and low < high, x0 one row of numbers. Received: x0={x0.tolist()}, "
            f"bounds={low.tolist(), high.tolist()}. Leave out of x what cannot move."
        )
    if not ((low <= x0) & (x0 <= high)).all():  # nor is NaN
        raise ValueError(
            f"{name}: `x0` must be within bounds. Received: x0={x0.tolist()}, bounds={low.tolist(), high.tolist()}. "
            "Begin inside of them."
        )
    return x0, low, high
