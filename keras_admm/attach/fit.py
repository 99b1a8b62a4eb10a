"""The fit that is running, of Keras 3 or of tf_keras: its callbacks, its data, where it begins."""

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


def tell_of_batches(callbacks):
    """Have a `CallbackList` tell of each batch before the next begins, not beside it, or not at all."""
    if is_tf_keras(callbacks):
        callbacks._should_call_train_batch_hooks = True
    else:
        callbacks._async_train = False


def is_running(callbacks):
    """Whether any thread is in the fit of a `CallbackList`. One that has ended in an exception may be kept with it."""
    for frame in sys._current_frames().values():
        while frame is not None:
            if frame.f_code.co_name == "fit" and frame.f_locals.get("callbacks") is callbacks:
                return True
            frame = frame.f_back
    return False


def is_kind(callback, *names):
    """Whether a callback is of one of the classes of these names, in either library."""
    return any(c.__name__ in names for c in type(callback).__mro__)


def resume_at(model, epoch):
    """Let the fit that is beginning start at `epoch`, as the library's own BackupAndRestore does."""
    if not is_tf_keras(model):
        model._initial_epoch = epoch
        return

    def counters(steps_per_epoch, initial_epoch):
        del model.__dict__["_maybe_load_initial_counters_from_ckpt"]
        return epoch, 0

    object.__setattr__(model, "_maybe_load_initial_counters_from_ckpt", counters)


def begin_anew(model):
    """Let a later fit begin with its first epoch: Keras 3 remembers where a model has been resumed."""
    if not is_tf_keras(model):
        model._initial_epoch = None


def has_own_train_step(model):
    """Whether a model has a `train_step` of the user's, which may hold compiled functions of its own."""
    step = model.__dict__.get("train_step", type(model).train_step)
    return getattr(step, "__module__", "").split(".")[0] not in ("keras", "tf_keras")


def validation_scores(model):
    """`{metric: value}` of the model as it is on the validation data of the running fit; empty where it has none.

    Data that can be read only once, such as a generator, are left to the fit.
    """
    mine = fit_locals(model)
    data = mine.get("val_x") if mine.get("validation_data") is not None else None
    if data is None or hasattr(data, "__next__"):
        return {}
    scores = model.evaluate(
        data,
        mine.get("val_y"),
        sample_weight=mine.get("val_sample_weight"),
        batch_size=mine.get("validation_batch_size") or mine.get("batch_size"),
        steps=mine.get("validation_steps"),
        verbose=0,
        return_dict=True,
    )
    # Those of the epoch that begins are counted from nothing.
    model.reset_metrics()
    return {f"val_{name}": value for name, value in numbers(scores).items()}


def numbers(scores):
    """The scores that are one number each, as floats: a metric may return one for each class, too.

    Args:
        scores: dict of names to scalars and arrays.

    Example:

    >>> numbers({"loss": np.float32(0.5), "f1_score": np.array([0.1, 0.9])})
    {'loss': 0.5}
    """
    return {name: float(value) for name, value in scores.items() if not np.shape(value)}


def fit_locals(model):
    """The local variables of the model's running `fit`."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit" and "epochs" in frame.f_locals and frame.f_locals.get("self") is model:
            return frame.f_locals
        frame = frame.f_back
    return {}
