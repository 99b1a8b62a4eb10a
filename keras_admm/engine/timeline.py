"""Where a run is in its epochs: the phase to come, and the share of a step that has passed."""


class Timeline:
    """The epochs of a run, and how many of them have passed.

    Args:
        epochs: list of `plan.EpochInfo`s, one for each epoch.
        update_every: int, epochs between two moves of Z and U.
        epoch: int, how many have passed.
    """

    def __init__(self, epochs, update_every, epoch=0):
        self._epochs = epochs
        self._update_every = update_every
        self.epoch = epoch

    def __len__(self):
        return len(self._epochs)

    @property
    def done(self):
        """Whether all epochs have passed."""
        return self.epoch >= len(self._epochs)

    @property
    def coming(self):
        """The `EpochInfo` of the epoch to come, or None when all have passed."""
        return None if self.done else self._epochs[self.epoch]

    @property
    def passed(self):
        """The `EpochInfo` of the last epoch that has passed."""
        return self._epochs[self.epoch - 1]

    def retrain_epochs(self, step):
        """How many epochs of retraining a step has."""
        return next((e.epochs for e in self._epochs if e.step == step and e.phase == "retrain"), 0)

    def moves(self, info):
        """Whether Z and U move at the end of an epoch of ADMM: every so many, and at the last of a step."""
        return info.epoch + 1 == info.epochs or (info.epoch + 1) % self._update_every == 0

    def fractions(self, step):
        """The shares of a step at which its sets are asked for."""
        moves = -(-sum(e.step == step and e.phase == "admm" for e in self._epochs) // self._update_every)
        return [i / moves for i in range(moves + 1)]

    def fraction(self, info, epochs):
        """The share of a step's moves that have passed when so many of its ADMM epochs have."""
        updates = -(-info.epochs // self._update_every)
        moved = updates if epochs == info.epochs else epochs // self._update_every
        return moved / updates
