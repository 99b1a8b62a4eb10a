"""`minimize`, a whole search in one call, and its `Result`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_admm.search.base import Search, shown
from keras_admm.search.cmaes import CMAES
from keras_admm.search.level_switch import LevelSwitch
from keras_admm.search.ncs import NCS

NAMED = {"ncs": NCS, "cma": CMAES, "levels": LevelSwitch}


class Result(NamedTuple):
    """What a search has found.

    Attributes:
        x: float64 array (d,), the allowed point of least value; where none is allowed, that of least violation.
        value: float, of `x`.
        evaluations: int, how many points were valued.
        history: float64 array, the least value of an allowed point after each round of points; NaN before any.
        violation: float, by how much `x` is off what is allowed: 0 where it is.
    """

    x: np.ndarray
    value: float
    evaluations: int
    history: np.ndarray
    violation: float


def minimize(
    f: Callable[[np.ndarray], float] | Sequence[Callable[[np.ndarray], float]],
    x0: ArrayLike,
    bounds: tuple[ArrayLike, ArrayLike],
    budget: int,
    seed: int = 0,
    constraint: Callable[[np.ndarray], float] | None = None,
    callback: Callable[[Search], bool | None] | None = None,
    *,
    method: str | type[Search] = "ncs",
    **settings: Any,
) -> Result:
    """The x within bounds for which a function is least, subject to a constraint, without gradients.

    Solves `argmin f(x) subject to constraint(x) <= 0, low <= x <= high`.

    Args:
        f: function of a float64 array (d,) that returns a finite number; or for methods of several stages a list of
            them, one for each.
        x0: floats of shape (d,) or a number, where it begins: the first point that is valued.
        bounds: (low, high), each a number or of shape (d,).
        budget: int >= 1, how often `f` is called.
        seed: int >= 0; the same seed, the same search.
        constraint: function of such an array that returns a number: at most 0 where x is allowed, else by how much it
            is not. `f` is called there too.
        callback: function of the `Search`, called after each round of points; True ends the search.
        method: `"ncs"`, negatively correlated search; `"cma"`, CMA-ES by the library `cma`; `"levels"`, integer levels
            whose sum stays; or a subclass of `Search`.
        **settings: of the method: see `NCS`, `CMAES`, `LevelSwitch`.

    Returns:
        A `Result`.

    Raises:
        ValueError, TypeError: for arguments out of their range, and values that are not finite.

    Example:

    >>> found = minimize(lambda x: x.sum(), [4.0, 4.0], (0, 10), 500, constraint=lambda x: 6 - x[0] - x[1] / 2)
    >>> bool(found.value < 6.3), found.violation
    (True, 0.0)
    """
    search = check_method("minimize", method)(x0, bounds, budget, seed, **settings)
    functions = f if isinstance(f, (list, tuple)) else [f]
    if len(functions) != search.stages or not all(map(callable, functions)):
        raise ValueError(
            f"minimize: `f` must be a function for each of the {search.stages} stage(s) of the method. Received: "
            f"{len(functions)}: {shown(f)}. Pass one function, or a list with survivors=."
        )
    history, stop = [], False
    while not (search.done or stop):
        points = search.ask()
        violations = None if constraint is None else [constraint(x) for x in points]
        search.tell([functions[search.stage](x) for x in points], violations)
        history.append(np.nan if search.violation else search.value)
        told = None if callback is None else callback(search)
        stop = isinstance(told, (bool, np.bool_)) and bool(told)
    return Result(search.x, search.value, search.evaluations, np.array(history), search.violation)


def check_method(name, method):
    """A `Search` class by its name, or as it is."""
    if isinstance(method, str) and method in NAMED:
        return NAMED[method]
    if isinstance(method, type) and issubclass(method, Search):
        return method
    raise ValueError(
        f"{name}: `method` must be one of {', '.join(map(repr, NAMED))}, or a subclass of keras_admm.search.Search. "
        f"Received: method={shown(method)}. Choose one of these."
    )
