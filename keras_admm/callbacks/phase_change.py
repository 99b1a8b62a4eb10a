"""The last callback of a fit: weights are projected between two epochs, after all callbacks have seen the epoch."""

import keras


class PhaseChange(keras.callbacks.Callback):
    """Stands last among the callbacks of a fit, so that weights change when all others have seen them.

    Args:
        run: the `ADMM` whose phases change.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        self.run.end_epoch(epoch)

    def on_epoch_begin(self, epoch, logs=None):
        self.run.change_phase(epoch)
        self.run.begin_phase()

    def on_train_end(self, logs=None):
        self.run.end()
