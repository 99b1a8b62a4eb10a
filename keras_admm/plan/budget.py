"""`Budget`: how much of a model may be left, in MACs, parameters or bytes."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_admm import checks
from keras_admm.errors import named_few

UNITS = ("macs", "params", "bytes")


class Budget(NamedTuple):
    """What may be left of a model.

    Attributes:
        unit: `"macs"`, `"params"` or `"bytes"`.
        amount: an int, that many; or a float in `(0, 1)`, that share of what the dense model has.
    """

    unit: str
    amount: int | float

    def of(self, dense):
        """The budget as a number, of what the dense model has."""
        return self.amount * dense if isinstance(self.amount, float) else self.amount


def check_budget(name, budget):
    """A `Budget` from what a user gives: `{"macs": 0.5}`; or raises ValueError or TypeError.

    Args:
        name: str, name used in error messages.
        budget: a dict of one of `"macs"`, `"params"` and `"bytes"` to a float in `(0, 1)`, the share of the dense
            model that is left, or to an int >= 1, the number left.

    Example:

    >>> check_budget("me", {"macs": 0.5}).of(1000)
    500.0
    """
    must = "a dict such as {'macs': 0.5}, of one of 'macs', 'params' and 'bytes'"
    remedy = "A float in (0, 1) is the share that is left of the dense model, an int >= 1 the number left."
    if not isinstance(budget, Mapping):
        raise TypeError(checks.refused(name, "budget", must, budget, remedy))
    (unit, amount), *more = budget.items() if budget else [(None, None)]
    whole = isinstance(amount, (int, np.integer)) and type(amount) is not bool and amount >= 1
    share = isinstance(amount, (float, np.floating)) and 0 < amount < 1
    if more or unit not in UNITS or not (whole or share):
        raise ValueError(checks.refused(name, "budget", must, budget, remedy))
    return Budget(unit, int(amount) if whole else float(amount))


def warn_of_uncounted(name, names):
    """Warns that a budget in MACs is without some layers or kernels.

    Args:
        name: str, name used in error messages.
        names: list of those whose MACs are not known; empty: nothing is said.
    """
    if names:
        warnings.warn(
            f"{name}: the MACs of each kernel must be known, or they are not in the budget. Received: "
            f"{named_few(names)} without. Say how often such a layer uses its weights, by "
            "keras_admm.graph.register(TheirClass, Kind(uses=...)); or give the budget in params.",
            stacklevel=5,
        )
