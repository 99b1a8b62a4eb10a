"""Schedules of sparsity and rho over the epochs. Pure functions of numbers."""

from typing import Any, Literal

from keras_admm import checks, hints

# Of each path: the fraction before which nothing leaves, and the power of what remains of it by which the logarithm of
# the kept share falls. Without its delay "root" prunes a model that is trained from scratch before it has learned.
FALLING = {"geometric": (0.0, 1.0), "root": (0.1, 0.25)}
TINY = 1e-12  # what a factor is at least: it is divided by


def tighten(start: float, end: float, fraction: float, path: hints.Tightening = "constant") -> float:
    """The sparsity at a `fraction` of the way from `start` to `end`.

    Args:
        start: float in `[0, 1)`, the share of zeros where the step began.
        end: float in `[0, 1)`, the step's own share of zeros.
        fraction: float in `[0, 1]`, how much of the step has passed.
        path: `"constant"` holds `end` all the way. `"geometric"`: the kept share falls by a constant factor. `"root"`:
            nothing in the first tenth, then the same with the fourth root of the time: most weights leave at once, the
            last ones slowly.
            `"cubic"`: `end + (start - end) * (1 - fraction)^3`, the polynomial decay of Zhu and Gupta, "To prune, or
            not to prune", arXiv:1710.01878, as in TFMOT.

    Returns:
        A float in `[0, 1)`.

    Raises:
        ValueError: for an unknown path.

    Example:

    >>> round(tighten(0.0, 0.99, 0.5, "geometric"), 6)
    0.9
    >>> round(tighten(0.0, 0.8, 0.5, "cubic"), 6)
    0.7
    """
    check_path("tighten", path)
    share = "a number in [0, 1), a share of zeros"
    start, end = (checks.share("tighten", *each, share) for each in (("start", start), ("end", end)))
    if checks.number("tighten", "fraction", fraction, 0, "a number from 0 to 1") > 1 + 1e-9:
        raise ValueError(checks.refused("tighten", "fraction", "a number from 0 to 1", fraction, checks.IN_RANGE))
    if path == "constant" or fraction >= 1:
        return end
    if path in FALLING:
        delay, power = FALLING[path]
        passed = max(0.0, fraction - delay) / (1 - delay)
        return 1 - (1 - start) * ((1 - end) / (1 - start)) ** passed**power
    return end + (start - end) * (1 - fraction) ** 3


def check_path(name, path):
    """Raises ValueError for an unknown path."""
    checks.choice(name, "path", path, ("constant", "cubic", *FALLING))


def rho_factor(
    growth: float | Literal["balance"], rho: float, residuals: Any, ratio: float = 10.0, change: float = 2.0
) -> float:
    """The factor by which rho changes after an ADMM step.

    Args:
        growth: float > 0, the constant factor (1 holds rho, the ADMM authors use 1.3), or `"balance"`: rho doubles
            when the primal residual is more than ten times the dual one, halves in the opposite case, and else
            holds (Boyd et al. 2011, section 3.4.1, with mu = 10 and tau = 2).
        rho: float, the penalty in force.
        residuals: `admm.Residuals` of the step.
        ratio: float, Boyd's mu.
        change: float, Boyd's tau.

    Returns:
        A float > 0.

    Example:

    >>> rho_factor(1.3, 1e-3, None)
    1.3
    """
    check_growth("rho_factor", growth)
    if growth != "balance":
        return growth
    rho = check_rho("rho_factor", rho)
    for argument, value in (("ratio", ratio), ("change", change)):
        checks.number("rho_factor", argument, value, 1, "a finite number >= 1")
    primal, dual = residuals.primal, rho * residuals.dual
    if primal > ratio * dual:
        return change
    return 1 / change if dual > ratio * primal else 1.0


def check_growth(name, growth):
    """Raises ValueError or TypeError for a wrong `rho_growth`."""
    if isinstance(growth, str) and growth == "balance":
        return
    must, remedy = "a finite factor > 0 or 'balance'", "Use 1.0 to hold rho, 1.3 as the authors do."
    checks.number(name, "rho_growth", growth, TINY, must, remedy)


def check_rho(name, rho):
    """Returns rho as a float, or raises ValueError or TypeError."""
    return checks.number(name, "rho", rho, 0, "a finite number >= 0, the ADMM penalty", "Start with 1e-3.")
