"""The fit that is running: the callbacks it calls, where it begins, what it must find as it was."""

import sys

import keras


def running_callbacks():
    """The `keras.callbacks.CallbackList` that is calling us, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return caller
        frame = frame.f_back
    return None


def resume_at(model, epoch):
    """Let the fit that is beginning start at `epoch`, as Keras's own BackupAndRestore does."""
    model._initial_epoch = epoch


def all_variables(model):
    """The variables that a resumed run must find as they were: the model's, and its optimizer's."""
    return [*model.variables, *model.optimizer.variables]
