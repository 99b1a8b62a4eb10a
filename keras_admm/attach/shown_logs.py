"""The progress bar of a fit: what it shows of the logs of an epoch."""

from keras_admm.attach.fit import is_kind


class ShownLogs:
    """Has the progress bar of a fit show other logs than the other callbacks see.

    Args:
        callbacks: list of callbacks of Keras 3 or of tf_keras.
        shown: function of the logs of an epoch, a dict, to a dict of what is shown of them.
    """

    def __init__(self, callbacks, shown):
        self._bars = [callback for callback in callbacks if is_kind(callback, "ProgbarLogger")]
        for bar in self._bars:
            self._show(bar, bar.on_epoch_end, shown)

    def _show(self, bar, show, shown):
        bar.on_epoch_end = lambda epoch, logs=None: show(epoch, shown(logs or {}))

    def release(self):
        """Leave the progress bar as it was found."""
        for bar in self._bars:
            bar.__dict__.pop("on_epoch_end", None)
