"""The training steps of a fit, counted where Z and U move within epochs."""

import keras


class StepCount(keras.callbacks.Callback):
    """Tells an `ADMM` callback of training steps that have been taken.

    Args:
        run: the `ADMM`.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run
        self._counted = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._counted = 0

    def on_train_batch_end(self, batch, logs=None):
        # Of several steps in one call (`steps_per_execution`) the number of the last is told.
        self.run.end_steps(batch + 1 - self._counted)
        self._counted = batch + 1
