"""Warnings of layers that keep next to nothing, or less than was promised."""

import warnings

from keras_admm.errors import named_few


class Scarcity:
    """What is said, once of each layer, of a run whose sets leave too little.

    Args:
        name: str, name used in error messages.
        steps: the `keras_admm.plan.Step`s of the run.
    """

    def __init__(self, name, steps):
        self._name = name
        self._steps = steps
        self._told = set()

    def look(self, step, sets, arrays, final):
        """Warn of layers that a budget leaves with next to nothing.

        At the first move at which there are any, when it is not too late (before, what a model is built with says
        little: a layer may begin with zeros); and at the projection of those that came since: as a path tightens, one
        more might at every move.

        Args:
            step: int, which of the steps.
            sets: dict of names to the sets that its weights are projected on.
            arrays: dict of names to arrays of their shapes.
            final: bool, whether this is the projection.
        """
        if self._told and not final:
            return
        found = self._steps[step].target.starved(sets, arrays)
        found = {name: kept for name, kept in found.items() if name not in self._told}
        self._told.update(found)
        if found:
            pruning = self._steps[step].target
            warnings.warn(
                f"{self._name}: every layer should keep enough weights for a model to learn. Received: "
                f"{_listed(found)}, which is what allocation={pruning.allocation!r} leaves with "
                f"min_keep={pruning.min_keep}. Use allocation='erk' or 'lamp', which divide by layer, "
                "or raise min_keep.",
                stacklevel=3,
            )


def say_missing(name, missing):
    """Warn of layers with fewer weights than were promised to stay; `{name: "kept of promised"}`."""
    if missing:
        warnings.warn(
            f"{name}: a layer should keep as many weights (or blocks) as it was to. Received: {_listed(missing)}: the "
            "others are 0 though nothing holds them there, and the model is sparser than promised. Look whether these "
            "layers are trained at all, and how they are initialized; or leave them out with exclude=.",
            stacklevel=3,
        )


def _listed(layers):
    return named_few([f"{name} ({kept})" for name, kept in layers.items()], most=20)
