"""The callbacks beside ours that compare epochs: early stopping, checkpoints of the best epoch, learning rates."""

import contextlib
import functools

import keras
import numpy as np

from keras_admm.attach.fit import is_kind
from keras_admm.weights import is_tf_keras

JUDGES = ("MonitorCallback", "EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint")


class Judges:
    """The callbacks of a fit that compare epochs: each phase of a run is another problem to them.

    Args:
        callbacks: list of callbacks of Keras 3 or of tf_keras, other ones among them.
        may_stop: function, whether an early stop counts in the epoch that is training.
    """

    def __init__(self, callbacks, may_stop):
        self._judges = [callback for callback in callbacks if is_kind(callback, *JUDGES)]
        self._begin = [_beginning(callback) for callback in self._judges]
        self._undo = contextlib.ExitStack()
        for callback in self._judges:
            if is_kind(callback, "EarlyStopping"):
                self._hold_back(callback, may_stop)

    def begin_anew(self):
        """Forget the epochs that were seen: a phase begins."""
        for begin in self._begin:
            begin()

    def release(self):
        """Leave the callbacks as they were found."""
        self._undo.close()

    def _hold_back(self, callback, may_stop):
        judge, fit = callback.on_epoch_end, callback.params

        def on_epoch_end(epoch, logs=None):
            stopped = callback.model.stop_training
            judge(epoch, logs)
            if callback.params is fit and not may_stop():
                callback.model.stop_training = stopped  # what others asked for stays

        callback.on_epoch_end = on_epoch_end
        self._undo.callback(callback.__dict__.pop, "on_epoch_end", None)


def _beginning(callback):
    """A function that lets a callback begin anew, as Keras's own class does; a subclass may open files to begin."""
    for kind in type(callback).__mro__:
        if kind.__name__ in ("EarlyStopping", "ReduceLROnPlateau"):
            return functools.partial(kind.on_train_begin, callback)
    return functools.partial(setattr, callback, "best", _first_best(callback))


def _first_best(callback):
    """The value that a callback's first epoch is compared with: None, or the user's `initial_value_threshold`."""
    if is_kind(callback, "ModelCheckpoint") and "_current_epoch" in vars(callback):
        # It has served another fit, whose best is another model's.
        worst = {np.less: np.inf, np.greater: -np.inf}  # tf_keras's comparisons; Keras 3 begins with None
        return worst.get(callback.monitor_op)
    return callback.best


UPWARD = ("acc", "accuracy", "auc")  # how names of metrics end that are the better the larger


def direction(name, model, monitor, mode):
    """1 where a larger value of a metric is better, -1 where a smaller is: as Keras's `EarlyStopping` knows it.

    Keras does not know it of a metric in whose name an output's comes first, of models with several, nor of a model
    that was not evaluated yet, as a run begins that is resumed; here it is known.

    Args:
        name: str, name used in error messages.
        model: compiled.
        monitor: name of the metric in the logs.
        mode: `"auto"`, `"min"` or `"max"`.

    Raises:
        ValueError: where it cannot be known.
    """
    if mode != "auto":
        return 1 if mode == "max" else -1
    if is_tf_keras(model):
        return 1 if monitor.endswith(UPWARD) else -1
    names = (monitor, *_without_outputs(model, monitor))
    for known_as in names:
        stopping = keras.callbacks.EarlyStopping(known_as)
        stopping.set_model(model)
        with contextlib.suppress(ValueError):
            stopping._set_monitor_op()
            return -1 if stopping.monitor_op is keras.ops.less else 1
    for known_as in names:
        way = _way(model, known_as.removeprefix("val_"))
        if way:
            return way
    raise ValueError(
        f"{name}: it must be known whether a metric is better when it is larger. Received: monitor={monitor!r}, "
        "mode='auto', which Keras cannot tell. Pass mode='max' or mode='min'."
    )


def _way(model, name):
    """1 or -1 as `direction`, by a metric that the model is compiled with or by its name; None where neither tells."""
    if name.endswith(UPWARD):
        return 1
    found = [each for each in _compiled_metrics(model) if each.name == name]
    with contextlib.suppress(ValueError, TypeError):
        found = found or [keras.metrics.get(name)]
    return {"up": 1, "down": -1}.get(getattr(found[0], "_direction", None)) if found else None


def _compiled_metrics(model):
    """The metrics that a model of Keras 3 is compiled with as objects; its first step makes those told by name."""
    given = keras.tree.flatten(getattr(model._compile_metrics, "_user_metrics", None))
    return [each for each in given if isinstance(each, keras.metrics.Metric)]


def _without_outputs(model, monitor):
    """The names that a metric of one of several outputs has without it."""
    starts = (f"val_{output}_" for output in getattr(model, "output_names", None) or ())
    return ["val_" + monitor.removeprefix(start) for start in starts if monitor.startswith(start)]
