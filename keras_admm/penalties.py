"""ADMM penalties: how the pull `rho * (W - Z + U)` enters training: by gradient, after the update, or in the loss."""

import abc
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from keras_admm import attach, checks
from keras_admm.schedules import TINY, check_growth, check_rho, rho_factor

AUTHORS = 1.3  # the growth of rho in the ADMM pruning authors' codes


@dataclass(frozen=True, kw_only=True)
class Penalty(abc.ABC):
    """The penalty `rho / 2 * ||W - Z + U||^2` of ADMM, and how its gradient enters training.

    Args:
        rho: float >= 0, the penalty at the start of each step.
        rho_growth: float > 0, the factor per move of Z and U (1 holds rho; by default 1.3, the ADMM authors'),
            or `"balance"`, which balances the primal and dual residuals; see `schedules.rho_factor`.
        rho_end: float > 0, in the place of `rho_growth`: where rho ends, by a constant factor for each share of the
            step's ADMM epochs, however many moves these have.
        rescale_dual: bool, whether U shrinks as rho grows (Boyd et al. 2011, section 3.4.1), or stays as it is, as in
            the ADMM pruning authors' codes.
        penalize_kept: bool, whether the weights that Z keeps are pulled to where Z has them, as in the papers, or are
            free: Z then follows them between its moves, which for sparse sets is the exact projection on its support,
            and lets them learn at full speed while the others are pulled to zero.

    Raises:
        ValueError, TypeError: for values out of these ranges.
    """

    rho: float = 1e-3
    rho_growth: float | str | None = None
    rho_end: float | None = None
    rescale_dual: bool = True
    penalize_kept: bool = True

    in_loss: ClassVar[bool] = False

    def __post_init__(self):
        name = type(self).__name__
        check_rho(name, self.rho)
        if self.rho_end is not None:
            self._check_end(name)
        elif self.rho_growth is None:
            object.__setattr__(self, "rho_growth", AUTHORS)
        else:
            check_growth(name, self.rho_growth)
        checks.boolean(name, "rescale_dual", self.rescale_dual)
        checks.boolean(name, "penalize_kept", self.penalize_kept)

    @abc.abstractmethod
    def rule(self) -> attach.StepRule:
        """What a training step does to a variable that is pulled: an `attach.StepRule`, of this package or your own."""

    @property
    def grows_by_moves(self) -> bool:
        """Whether rho grows by a factor with each move of Z and U: how far depends on how many these are."""
        return isinstance(self.rho_growth, (int, float)) and self.rho_growth > 1

    def growth(self, rho: float, residuals: Any, fraction: float) -> float:
        """The factor by which rho changes with a move of Z and U.

        Args:
            rho: float, the one before.
            residuals: `admm.Residuals` of the move.
            fraction: float in `[0, 1]`, the share of the step's ADMM epochs that has passed.
        """
        if self.rho_end is None:
            return rho_factor(self.rho_growth, rho, residuals)
        return self.rho / rho * (self.rho_end / self.rho) ** fraction

    def get_config(self) -> dict[str, Any]:
        return asdict(self)

    def _check_end(self, name):
        must = "a finite number > 0, where rho > 0 ends, in the place of rho_growth"
        remedy = "Write for example rho=0.03, rho_end=0.3."
        if self.rho_growth is not None or self.rho == 0:
            given = f"rho={self.rho}, rho_growth={self.rho_growth} with it"
            raise ValueError(f"{name}: `rho_end` must be {must}. Received: {given}. {remedy}")
        checks.number(name, "rho_end", self.rho_end, TINY, must, remedy)


@dataclass(frozen=True, kw_only=True)
class GradientPenalty(Penalty):
    """The pull is added to the gradient that the optimizer is given; `loss` and `val_loss` stay the user's own.

    Example:

    >>> GradientPenalty(rho=0.01).rho_growth
    1.3

    Reference: Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating Direction Method of
    Multipliers", arXiv:1804.03294.
    """

    def rule(self):
        return attach.GradientPull()


@dataclass(frozen=True, kw_only=True)
class ProximalPenalty(Penalty):
    """The pull moves the weights after each update, `w <- (w + rho * (Z - U)) / (1 + rho)`.

    So the optimizer's scaling leaves it alone, and `rho / (1 + rho)` is the share of the way to the target: decoupled
    as AdamW decouples its weight decay (Loshchilov and Hutter, arXiv:1711.05101).
    """

    def rule(self):
        return attach.ProximalPull()


@dataclass(frozen=True, kw_only=True)
class LossPenalty(Penalty):
    """The penalty is a regularizer, `keras_admm.ADMMRegularizer`, so that it shows in `loss` (TensorFlow and torch)."""

    in_loss: ClassVar[bool] = True

    def rule(self):
        return attach.Rest()


NAMED = {"gradient": GradientPenalty, "proximal": ProximalPenalty, "loss": LossPenalty}


def get(penalty: str | Penalty, name: str = "penalty") -> Penalty:
    """A penalty by its name, with its defaults, or as it is.

    Example:

    >>> get("proximal")
    ProximalPenalty(rho=0.001, rho_growth=1.3, rho_end=None, rescale_dual=True, penalize_kept=True)
    """
    if isinstance(penalty, Penalty):
        return penalty
    if not isinstance(penalty, str) or penalty not in NAMED:
        must = f"one of {', '.join(map(repr, NAMED))}, or a keras_admm.penalties object"
        remedy = "Pass for example ProximalPenalty(rho=0.01)."
        raise ValueError(checks.refused(name, "penalty", must, penalty, remedy))
    return NAMED[penalty]()
