"""The score of a model on a batch, such as its accuracy, with other values in the places of some of its variables."""

import keras
import numpy as np
from keras import ops

from keras_admm import checks, inference, weights
from keras_admm.compiling import compiled


class Score:
    """The score of a Keras model on a batch, in one forward pass that changes nothing of the model.

    Args:
        name: str, name used in error messages.
        model: a built model of Keras 3.
        metric: `"accuracy"`, or a function `(y_true, y_pred)` of tensors that returns a number for each sample, or one,
            the larger the better, such as `keras.metrics.sparse_categorical_accuracy`.
        variables: dict of names to variables that other values stand for.
        values: pure function `(arrays, *tensors)` of the values of these variables by name, and of more tensors, that
            returns a dict of names to what stands in their places.

    Raises:
        ValueError, TypeError: for another kind of metric.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
    >>> kernel = {"kernel": model.layers[0].kernel}
    >>> score = Score("me", model, "accuracy", kernel, lambda w, factor: {"kernel": factor * w["kernel"]})
    >>> batch = np.eye(2, dtype="float32"), np.array([0, 1])
    >>> score(batch, 1.0), score(batch, -1.0)
    (1.0, 0.0)
    """

    def __init__(self, name, model, metric, variables, values):
        self._name, self._model, self._values = name, model, values
        self._metric = _metric(name, metric)
        self._variables = variables
        self._others = [v for v in model.variables if id(v) not in {id(each) for each in variables.values()}]
        self._compiled = compiled(self._score)

    def __call__(self, batch, *tensors):
        """The score, a float, on a pair of inputs and labels."""
        arrays = {name: ops.convert_to_tensor(v) for name, v in self._variables.items()}
        others = [ops.convert_to_tensor(v) for v in self._others]
        return float(ops.convert_to_numpy(self._compiled(batch, arrays, others, *tensors)))

    def _score(self, batch, arrays, others, *tensors):
        values = {id(v): value for v, value in zip(self._others, others, strict=True)}
        placed = self._values(arrays, *tensors)
        values |= {id(v): ops.cast(placed[name], v.dtype) for name, v in self._variables.items()}
        scores = self._metric(batch[1], inference.call(self._model, batch[0], values))
        return ops.mean(ops.cast(scores, "float32"))


def checked_pair(name, argument, data):
    """A pair of inputs and labels, arrays or structures of arrays of one length, as a tuple."""
    must = "a pair (x, y) of arrays, as many labels as inputs"
    remedy = "Pass arrays, for example (x_train[-6000:], y_train[-6000:]); what is a dataset is to be read first."
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(checks.refused(name, argument, must, data, remedy))
    check_samples(name, argument, tuple(data), must, remedy)
    return tuple(data)


def check_samples(name, argument, data, must, remedy):
    """Raises unless a structure of arrays has as many samples in each, one at least.

    Args:
        name, argument, must, remedy: see `keras_admm.checks.refused`.
        data: array, or a structure of arrays.
    """
    flat = [checks.array(name, argument, each, must) for each in keras.tree.flatten(data)]
    if len({len(each) if each.ndim else 0 for each in flat}) != 1 or not flat[0].ndim or not len(flat[0]):
        received = [each.shape for each in flat]
        raise ValueError(f"{name}: `{argument}` must be {must}. Received: shapes {received}. {remedy}")


def check_metric(name, metric):
    """Returns a metric as `Score` takes it, or raises what is wrong with it."""
    _metric(name, metric)
    return metric


def _metric(name, metric):
    if isinstance(metric, str) and metric == "accuracy":
        return accuracy
    return checks.takes(
        name, "metric", metric, 2, "'accuracy', or a function of (y_true, y_pred), the larger the better"
    )


def accuracy(y_true, y_pred):
    """What Keras means by `"accuracy"`, by the shapes of labels and outputs."""
    if isinstance(y_pred, (dict, list, tuple)):
        raise ValueError(
            "metric: 'accuracy' must have one output to look at. Received: a model of several. Pass a function of "
            "(y_true, y_pred) that says which counts."
        )
    y_true = ops.convert_to_tensor(y_true)
    if y_pred.shape[-1] == 1:
        return keras.metrics.binary_accuracy(ops.reshape(y_true, ops.shape(y_pred)), y_pred)
    if tuple(y_true.shape) == tuple(y_pred.shape):
        return keras.metrics.categorical_accuracy(y_true, y_pred)
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)


def drawn(data, count, seed):
    """A pair of `count` samples of a pair, drawn by a seed, as NumPy arrays; all where count is None."""
    size = len(keras.tree.flatten(data[0])[0])
    if count is None or count >= size:
        return keras.tree.map_structure(np.asarray, data)
    chosen = np.sort(np.random.default_rng(seed).choice(size, count, replace=False))
    return keras.tree.map_structure(lambda each: np.asarray(each)[chosen], data)


def check_model(name, model):
    """Raises for a model of tf_keras, whose variables nothing else can stand for."""
    weights.check_keras_3(name, model, "Load it with Keras 3, or prune it with keras_admm.ADMMPrune.")
