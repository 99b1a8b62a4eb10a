"""Where a run is in its epochs: the phase to come, and the share of a step that has passed."""


class Timeline:
    """The epochs of a run, and how many of them, and of their training steps, have passed.

    Args:
        epochs: list of `plan.EpochInfo`s, one for each epoch.
        every: `plan.every.Every`, between two moves of Z and U.
        epoch: int, how many epochs have passed.
        steps: int, how many training steps of ADMM epochs have passed.
        steps_an_epoch: int, how many an epoch has, or 0 as long as that is not known.
    """

    def __init__(self, epochs, every, epoch=0, steps=0, steps_an_epoch=0):
        self._epochs = epochs
        self._every = every
        self.epoch = epoch
        self.steps = steps
        self.steps_an_epoch = steps_an_epoch
        self._in_epoch = 0
        self._moved_after = None

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

    def end_epoch(self):
        """Count an epoch."""
        self.epoch += 1
        self.steps_an_epoch, self._in_epoch = self._in_epoch or self.steps_an_epoch, 0

    def end_steps(self, count):
        """Count training steps. Returns whether Z and U are to move now, within the epoch."""
        if self.done or self.coming.phase != "admm":
            return False
        before = self.steps
        self.steps += count
        self._in_epoch += count
        period = self._every.within(self.coming.epochs * self.steps_an_epoch)
        due = self._every.steps and self.steps // period > before // period
        self._moved_after = self.steps if due else self._moved_after
        return due

    @property
    def uncounted(self):
        """Whether an epoch of ADMM ends whose training steps nobody has counted, though Z and U move by them."""
        return self._every.steps and self.coming.phase == "admm" and not self._in_epoch

    def moves(self, info):
        """Whether Z and U move at the end of an epoch of ADMM: every so many, and at the last of a step."""
        if info.epoch + 1 == info.epochs:
            return self._moved_after != self.steps or self.present < 1  # else they have, after its last training step
        return not self._every.steps and (info.epoch + 1) % self._every.count == 0

    @property
    def present(self):
        """The share of the present step's ADMM epochs that has passed; of the present epoch as far as it is known."""
        passed = self._in_epoch / self.steps_an_epoch if self.steps_an_epoch else 0.0
        return (self.coming.epoch + min(passed, 1.0)) / self.coming.epochs

    def fractions(self, step):
        """The shares of a step at which its sets are asked for."""
        epochs = sum(e.step == step and e.phase == "admm" for e in self._epochs)
        moves = epochs if self._every.steps else -(-epochs // self._every.count)
        return [i / moves for i in range(moves + 1)]

    def fraction(self, info, epochs):
        """The share of a step's moves that have passed when so many of its ADMM epochs have."""
        if self._every.steps:
            return epochs / info.epochs
        updates = -(-info.epochs // self._every.count)
        moved = updates if epochs == info.epochs else epochs // self._every.count
        return moved / updates
