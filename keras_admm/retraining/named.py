"""Ways of retraining by their names, and the one that goes with a set."""

from keras_admm import checks
from keras_admm.retraining.base import MaskedWeights, Projected, Retraining
from keras_admm.retraining.few_values import SharedValues, Snap, StraightThrough

NAMED = {"straight_through": StraightThrough, "snap": Snap, "shared_values": SharedValues}


def get(retraining: str | Retraining, name: str = "retraining") -> Retraining:
    """A way of retraining on few values by its name, with its defaults, or as it is.

    Example:

    >>> get("snap")
    Snap(fractions=(0.5, 0.75, 0.9, 1.0))
    """
    if isinstance(retraining, Retraining):
        return retraining
    if not isinstance(retraining, str) or retraining not in NAMED:
        must = f"one of {', '.join(map(repr, NAMED))}, or a keras_admm.retraining object"
        raise ValueError(checks.refused(name, "retraining", must, retraining, "Pass for example Snap((0.5, 1.0))."))
    return NAMED[retraining]()


def retraining_of(constraint, on_few_values):
    """How the weights of a set are retrained, those on few values in the given way."""
    if constraint.says_support:
        return MaskedWeights()
    return on_few_values if constraint.says_codes else Projected()
