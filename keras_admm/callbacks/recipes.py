"""Recipes of `ADMMPrune`: what is taken for the arguments that are left out."""

from typing import Literal, NamedTuple, get_args

from keras_admm import checks, penalties
from keras_admm.penalties import GradientPenalty, Penalty, ProximalPenalty

Name = Literal["default", "paper"]


class Recipe(NamedTuple):
    """Defaults of `ADMMPrune`.

    Attributes:
        path, penalty, update_every, admm_epochs: its arguments.
        channel_epochs: `admm_epochs` where whole channels leave: what stays is then trained for longer, for less of the
            model can make up for more that has left.
    """

    path: str
    penalty: Penalty
    update_every: int | str
    admm_epochs: float | None
    channel_epochs: float | None


RECIPES = {
    "default": Recipe(
        "root", ProximalPenalty(rho=0.03, rho_end=0.3, rescale_dual=False, penalize_kept=False), "auto", 0.75, 1 / 3
    ),
    "paper": Recipe("constant", GradientPenalty(rho=1e-3, rho_growth=1.3), 1, None, None),
}


def completed(name, value, penalty, update_every, admm_epochs, channels=False):
    """The arguments of `ADMM` that a recipe stands for where they are None, a dict; `channels`: if channels leave."""
    by_default = recipe(name, value)
    if update_every is None:
        own = None if penalty is None else penalties.get(penalty, name)
        update_every = 1 if own is not None and own.grows_by_moves else by_default.update_every
    share = by_default.channel_epochs if channels else by_default.admm_epochs
    return {
        "penalty": by_default.penalty if penalty is None else penalty,
        "update_every": update_every,
        "admm_epochs": share if admm_epochs is None else admm_epochs,
    }


def recipe(name, value):
    """The `Recipe` of a name."""
    return RECIPES[checks.choice(name, "recipe", value, get_args(Name))]
