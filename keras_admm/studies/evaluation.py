"""The metrics of a compiled model on validation data, as often as a study asks for them."""

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from keras_admm import attach, checks, scoring, weights

MUST = "a pair (x, y) of arrays, or (x, y, sample_weight), or a dataset that can be read again and again"
REMEDY = "Pass for example (x_train[-6000:], y_train[-6000:])."


class Evaluation:
    """What `model.evaluate` says of a compiled model on data that are not trained on.

    Args:
        name: str, name used in error messages.
        model: a built, compiled model, of Keras 3 or tf_keras.
        data: tuple of arrays `(x, y)` or `(x, y, sample_weight)`; or a dataset that `evaluate` takes.
        batch_size: int, of arrays.
        monitor: name of the metric that counts; None: see `monitor_of`.

    Raises:
        ValueError, TypeError: for a model that is not compiled, for other data, and in the first call for a monitor
            that is none of the metrics.
    """

    def __init__(self, name, model, data, batch_size, monitor=None):
        weights.check_model(name, model)
        self._name, self._model, self._batch_size = name, model, batch_size
        self._data = checked(name, data)
        self.monitor = monitor if monitor is None else checks.text(name, "monitor", monitor)
        if not (model._is_compiled if weights.is_tf_keras(model) else model.compiled):
            raise ValueError(
                f"{name}: the model must be compiled, for its loss and metrics say what it is worth. Received: model "
                f"{model.name!r} as it was built. Call model.compile(loss=..., metrics=['accuracy'])."
            )

    def __call__(self):
        """`{metric: float}`, the loss among them."""
        x, y, sample_weight = (*self._data, None)[:3] if isinstance(self._data, tuple) else (self._data, None, None)
        how = {"batch_size": self._batch_size} if isinstance(self._data, tuple) else {}
        scores = self._model.evaluate(x, y, sample_weight=sample_weight, verbose=0, return_dict=True, **how)
        scores = attach.numbers(scores)
        self.monitor = self.monitor or monitor_of(scores)
        if self.monitor not in scores:
            raise ValueError(
                f"{self._name}: `monitor` must be a metric of one number that the model is compiled with. Received: "
                f"monitor={self.monitor!r}, beside {list(scores)}. Choose one of these, or compile the model with it."
            )
        return scores


def monitor_of(scores):
    """The name of the score that counts where none is told: the one metric there is, or else the loss, which is of all.

    Example:

    >>> monitor_of({"accuracy": 0.9, "loss": 0.3}), monitor_of({"a_loss": 0.2, "a_mae": 0.1, "b_mae": 0.1, "loss": 0.3})
    ('accuracy', 'loss')
    """
    metrics = [each for each in scores if not each.endswith("loss")]
    return metrics[0] if len(metrics) == 1 else "loss" if "loss" in scores else "val_loss"


def checked(name, data):
    """Validation data: a tuple of arrays, or a dataset; or raises what is wrong with it."""
    if isinstance(data, (tuple, list)):
        if len(data) not in (2, 3):
            raise TypeError(checks.refused(name, "validation_data", MUST, data, REMEDY))
        scoring.check_samples(name, "validation_data", tuple(data), MUST, REMEDY)
        return tuple(data)
    once = isinstance(data, Iterator)
    many = isinstance(data, (Iterable, keras.utils.PyDataset)) and not isinstance(data, (str, bytes, dict, np.ndarray))
    if once or not many or isinstance(data, type):
        remedy = "A generator is read once: make arrays of it first." if once else REMEDY
        raise TypeError(checks.refused(name, "validation_data", MUST, data, remedy))
    return data
