"""How a pruning pattern sees a tensor: a pair of functions to `(pool, group, member)` and back.

A new pattern is a new view; what is kept is decided by `projection.largest` alone.
"""

import math
from typing import NamedTuple


class View(NamedTuple):
    """Shapes of one view of one tensor.

    Attributes:
        folded: `(pool, group, member)`, the shape in which groups compete.
        kept: shape that broadcasts the kept groups, `(pool, group)`, over the tensor.
    """

    folded: tuple
    kept: tuple


def element(shape):
    """Every weight alone, all competing with all: `(1, size, 1)`."""
    return View(folded=(1, math.prod(shape), 1), kept=tuple(shape))


VIEWS = {"element": element}
