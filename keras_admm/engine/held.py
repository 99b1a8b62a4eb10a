"""Whether the weights of a run were trained as they should be, and stayed where they are held."""

import warnings

from keras_admm import attach


def held(model, variables, optimizers, penalty, in_fit, look):
    """The `attach.Hold` of a run, and the `attach.StepRule` of its pull: None where no optimizer applies that."""
    pull = None if optimizers is None else penalty.rule()
    once = pull is None or not in_fit or attach.has_own_train_step(model)
    any_of = attach.AnyOfThese(attach.Rest() if pull is None else pull) if once else None
    hold = attach.Hold(model, variables, optimizers, any_of, look)
    if pull is not None and penalty.in_loss:
        hold.add_to_loss()
    return hold, pull


class HeldWeights:
    """The checks of a run's weights.

    Args:
        name: str, name used in error messages.
        hold: the `attach.Hold` of the model.
    """

    def __init__(self, name, hold):
        self._name = name
        self._hold = hold
        self._handed = False

    def check_epoch(self, arrays):
        """Raises when an epoch's steps were not those that the run needs, or weights did not stay where held."""
        if not self._handed:
            self._hold.check_handed(self._name)
        self._handed = True
        self._hold.check_current(self._name)
        moved = self._moved(arrays)
        if moved:
            raise ValueError(
                f"{self._name}: weights that are held at zero or at a value must stay there. Received: {moved}, "
                "how many weights of each did not. Let nothing but the optimizers that are hooked change them "
                "(optimizer=), call hold() after each update in a loop with optimizer=None, and write into the "
                "variables what a step returns."
            )

    def stayed(self, arrays):
        """Whether the weights are where they are held when the run is finished; warns if not."""
        moved = self._moved(arrays)
        if moved:
            warnings.warn(
                f"{self._name}: weights that are held at zero or at a value must stay there until the run is finished. "
                f"Received: {moved}, how many weights of each did not; they are left as they are. Call project() to "
                "project them.",
                stacklevel=4,
            )
        return not moved

    def _moved(self, arrays):
        # Averages that an optimizer writes over the weights know nothing of what is held: they are put back later.
        return {} if self._hold.writes_averages else astray(self._hold.rules, arrays)


def astray(rules, arrays):
    """How many weights are not where their rules hold them, by name, where any are not."""
    counts = {name: rules[name].astray(arrays[name]) for name in arrays}
    return {name: count for name, count in counts.items() if count}
