"""Recipes of `ADMMPrune`: what is taken for the arguments that are left out."""

from typing import NamedTuple

from keras_admm import checks, penalties
from keras_admm.penalties import GradientPenalty, Penalty, ProximalPenalty


class Recipe(NamedTuple):
    """Defaults of `ADMMPrune`.

    Attributes:
        path, penalty, update_every, admm_epochs: its arguments.
    """

    path: str
    penalty: Penalty
    update_every: int | str
    admm_epochs: float | None


RECIPES = {
    "default": Recipe(
        "root", ProximalPenalty(rho=0.03, rho_end=0.3, rescale_dual=False, penalize_kept=False), "auto", 0.75
    ),
    "paper": Recipe("constant", GradientPenalty(rho=1e-3, rho_growth=1.3), 1, None),
}


def completed(name, value, penalty, update_every, admm_epochs):
    """The arguments of `ADMM` that a recipe stands for where they are None, a dict."""
    by_default = recipe(name, value)
    if update_every is None:
        own = None if penalty is None else penalties.get(penalty, name)
        update_every = 1 if own is not None and own.grows_by_moves else by_default.update_every
    return {
        "penalty": by_default.penalty if penalty is None else penalty,
        "update_every": update_every,
        "admm_epochs": by_default.admm_epochs if admm_epochs is None else admm_epochs,
    }


def recipe(name, value):
    """The `Recipe` of a name."""
    return RECIPES[checks.choice(name, "recipe", value, tuple(RECIPES))]
