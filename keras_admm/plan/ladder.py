"""Progressive sparsities as far as a tolerance of accuracy holds: a `Ladder` of them, and its `LadderTarget`."""

from keras_admm import weights
from keras_admm.plan.divided import DividedTarget
from keras_admm.schedules import tighten

FACTOR = 4.0  # by which what is kept falls with each step, as long as none has broken the tolerance


class Ladder:
    """Which sparsity is tried next: a quarter of what was kept; once one was too much, the geometric mean of both.

    Attributes:
        held: float, the largest sparsity that held; 0 before there is one.
        broken: float, the least that did not; None before there is one.
        most: float, beyond which none is tried.

    Example:

    >>> ladder = Ladder()
    >>> for held in (True, False, True):
    ...     ladder.tell(held)
    >>> round(1 / (1 - ladder.held), 3), round(1 / (1 - ladder.broken), 3), round(1 / (1 - ladder.aim), 3)
    (8.0, 16.0, 11.314)
    """

    def __init__(self):
        self.held, self.broken, self.most = 0.0, None, 1.0

    @property
    def aim(self):
        """The sparsity that is tried now."""
        kept = 1 - self.held
        kept = kept / FACTOR if self.broken is None else (kept * (1 - self.broken)) ** 0.5
        return min(1 - kept, self.most)

    def tell(self, held):
        """Say whether the sparsity that was tried holds the tolerance."""
        if held:
            self.held = self.aim
        else:
            self.broken = self.aim


class LadderTarget(DividedTarget):
    """Weights that a step leaves of a model: what its `Ladder` tries, from what held before.

    Args:
        ladder: `Ladder`, the same for all steps.
        pruning, name: see `DividedTarget`.
    """

    def __init__(self, ladder, pruning, name="LadderTarget"):
        super().__init__(pruning, name)
        self.ladder = ladder

    def of(self, model, variables, layers=None, exclude=None):
        told = super().of(model, variables, layers, exclude)
        arrays = weights.views({n: v for n, v in variables.items() if n not in told.misfits})
        least, size = told.pruning.counts(arrays)
        self.ladder.most = 1 - least / size if arrays else 1.0
        return told

    @property
    def on_device(self):
        return self.pruning.on_device

    def sets(self, arrays, fraction):
        sparsity = tighten(self.ladder.held, self.ladder.aim, fraction, self.pruning.path)
        return self.pruning.at(arrays, sparsity, fraction)

    def outcome(self):
        return "as far as the tolerance holds"

    def get_config(self):
        return {"pruning": self.pruning}
