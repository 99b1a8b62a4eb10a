"""How often Z and U move: every so many epochs, or training steps."""

import re
from typing import NamedTuple

import numpy as np

from keras_admm import checks

FORM = re.compile(r"([1-9]\d*) (epoch|step)s?")


class Every(NamedTuple):
    """A number of epochs or of training steps.

    Attributes:
        count: int, how many.
        steps: bool, whether of training steps, rather than of epochs.
    """

    count: int
    steps: bool


def every(name, value):
    """`update_every` as it is given, in epochs or as text.

    Args:
        name: str, name used in error messages.
        value: int >= 1, epochs; or text such as `"100 steps"`.

    Returns:
        An `Every`.

    Raises:
        ValueError, TypeError: for anything else.

    Example:

    >>> every("me", "100 steps")
    Every(count=100, steps=True)
    """
    must = "an integer >= 1, of epochs, or text such as '100 steps'"
    remedy = "Use 1 to move Z and U after every epoch."
    if isinstance(value, str):
        form = FORM.fullmatch(value)
        if not form:
            raise ValueError(checks.refused(name, "update_every", must, value, remedy))
        return Every(int(form[1]), form[2] == "step")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(checks.refused(name, "update_every", must, value, remedy))
    if value < 1:
        raise ValueError(checks.refused(name, "update_every", must, value, remedy))
    return Every(int(value), False)
