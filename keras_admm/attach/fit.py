"""The fit that is running, of Keras 3 or of tf_keras: the callbacks it calls, where it begins, what it must find."""

import sys

import numpy as np

from keras_admm.weights import is_tf_keras


def running_callbacks():
    """The `CallbackList` that is calling us, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if is_kind(caller, "CallbackList"):
            return caller
        frame = frame.f_back
    return None


def is_kind(callback, *names):
    """Whether a callback is of one of the classes of these names, in either library."""
    return any(c.__name__ in names for c in type(callback).__mro__)


def forget_best(callback):
    """Let a callback that compares epochs begin anew: what it saw before was another problem."""
    if is_kind(callback, "EarlyStopping", "ReduceLROnPlateau"):
        callback.on_train_begin()
    elif is_kind(callback, "ModelCheckpoint"):
        worst = {np.less: np.inf, np.greater: -np.inf}  # tf_keras's comparisons; Keras 3 begins with None
        callback.best = worst.get(callback.monitor_op) if is_tf_keras(callback) else None


def resume_at(model, epoch):
    """Let the fit that is beginning start at `epoch`, as the library's own BackupAndRestore does."""
    if not is_tf_keras(model):
        model._initial_epoch = epoch
        return

    def counters(steps_per_epoch, initial_epoch):
        del model.__dict__["_maybe_load_initial_counters_from_ckpt"]
        return epoch, 0

    object.__setattr__(model, "_maybe_load_initial_counters_from_ckpt", counters)


def all_variables(model):
    """The variables that a resumed run must find as they were: the model's, and its optimizer's."""
    of_optimizer = model.optimizer.variables
    return [*model.variables, *(of_optimizer() if callable(of_optimizer) else of_optimizer)]
