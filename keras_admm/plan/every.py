"""How often Z and U move: every so many epochs, or training steps."""

import re
from typing import NamedTuple

import numpy as np

from keras_admm import checks

FORM = re.compile(r"([1-9]\d*) (epoch|step)s?")


class Every(NamedTuple):
    """A number of epochs or of training steps between two moves of Z and U.

    Attributes:
        count: int, how many.
        steps: bool, whether of training steps, rather than of epochs.
        moves: int, how many moves a phase of ADMM has at least, as far as it has as many training steps.
    """

    count: int
    steps: bool
    moves: int = 0

    def within(self, steps):
        """How many training steps lie between two moves in a phase of so many, 0 where that is not known."""
        return min(self.count, max(1, steps // self.moves)) if steps and self.moves else self.count


AUTO = Every(count=100, steps=True, moves=40)


def every(name, value):
    """`update_every` as it is given, in epochs or as text.

    Args:
        name: str, name used in error messages.
        value: int >= 1, epochs; or text such as `"100 steps"`; or `"auto"`, 100 training steps, or fewer where there
            would be less than 40 moves in a phase of ADMM.

    Returns:
        An `Every`.

    Raises:
        ValueError, TypeError: for anything else.

    Example:

    >>> every("me", "100 steps")
    Every(count=100, steps=True, moves=0)
    """
    must = "an integer >= 1, of epochs, text such as '100 steps', or 'auto'"
    remedy = "Use 1 to move Z and U after every epoch."
    if isinstance(value, str) and value == "auto":
        return AUTO
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
