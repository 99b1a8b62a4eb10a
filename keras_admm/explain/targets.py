"""Which number of a model's outputs is explained: the score of a class, or a function of the user's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_admm import checks

Score = int | ArrayLike | Callable[[Any], Any] | None
TARGETS = "None, a class, an array of one class for each sample, or a function of the outputs"


class Chosen(NamedTuple):
    """A score of each sample, for `keras_admm.gradients.Gradient`.

    Attributes:
        score: function `(outputs, *tensors)` of tensors.
        tensors: tuple of arrays that it is given besides, the samples first.
        classes: array of ints, the class of each sample, or None for a function.
    """

    score: object
    tensors: tuple
    classes: object

    def values(self, outputs):
        """The score of each sample, of outputs as arrays."""
        flat = keras.tree.map_structure(ops.convert_to_tensor, outputs)
        return ops.convert_to_numpy(self.score(flat, *map(ops.convert_to_tensor, self.tensors)))

    def take(self, rows):
        """The same of some samples."""
        return self._replace(tensors=tuple(tensor[rows] for tensor in self.tensors))


def choose(name, target, outputs, log=False):
    """The score that a target means.

    Args:
        name: str, name used in error messages.
        target: None: of each sample the class that is predicted; an int or an array of ints: this class, of one output
            column 1 or, the other way round, 0; or a function of the outputs that returns one number for each sample.
        outputs: array of the outputs of the samples.
        log: bool: the logarithm of the class's probability in the place of its output.

    Raises:
        TypeError, ValueError: for a target that the outputs do not have.
    """
    if callable(target):
        return Chosen(checks.takes(name, "target", target, 1, TARGETS), (), None)
    columns = _columns(name, outputs)
    classes = _classes(name, target, columns)
    if columns.shape[1] == 1:
        weights = np.where(classes == 1, 1, -1).astype("float32")[:, None]
    else:
        weights = np.eye(columns.shape[1], dtype="float32")[classes]
    score = _log_score(is_probability(columns), columns.shape[1]) if log else _score
    return Chosen(score, (weights,), classes)


def is_probability(columns):
    """Whether outputs, an array of a column for each class, are probabilities; else they are logits."""
    whole = columns.shape[1] == 1 or np.allclose(columns.sum(1), 1, atol=1e-2)
    return bool(whole and columns.min() >= 0 and columns.max() <= 1 + 1e-3)


def _columns(name, outputs):
    flat = keras.tree.flatten(outputs)
    if len(flat) != 1 or flat[0].ndim > 2:
        received = ", ".join(str(tuple(each.shape)) for each in flat)
        raise ValueError(
            f"{name}: `target` must be a function where the outputs are not one number for each class. Received: "
            f"outputs of shapes {received}. Pass for example target=lambda outputs: outputs[0][:, 3]."
        )
    return np.asarray(flat[0]).reshape(len(flat[0]), -1)


def _classes(name, target, columns):
    size, count = columns.shape
    if target is None:
        return columns.argmax(1) if count > 1 else np.ones(size, int)
    classes = np.asarray(target)
    if isinstance(target, (bool, str, bytes)) or not np.issubdtype(classes.dtype, np.integer) or classes.ndim > 1:
        remedy = "Pass the number of a class, or y_test[:20]."
        raise TypeError(checks.refused(name, "target", TARGETS, target, remedy))
    if classes.ndim and len(classes) != size or classes.min() < 0 or classes.max() >= max(count, 2):
        must = f"one class for each of the {size} samples, from 0 to {max(count, 2) - 1}"
        raise ValueError(checks.refused(name, "target", must, target, "Look at the outputs of the model."))
    return np.broadcast_to(classes, size)


def _score(outputs, weights):
    """The output of the class that the weights choose; of one column its own."""
    flat = ops.reshape(ops.cast(keras.tree.flatten(outputs)[0], "float32"), ops.shape(weights))
    return ops.sum(flat * weights, -1)


def _log_score(probability, columns):
    """The same of the logarithm of the class's probability."""

    def score(outputs, weights):
        chosen = _score(outputs, weights)
        if probability:
            other = ops.cast(weights[:, 0] < 0, "float32") if columns == 1 else 0.0
            return ops.log(ops.maximum(chosen + other, 1e-7))
        if columns == 1:
            return ops.log_sigmoid(chosen)
        return chosen - ops.logsumexp(ops.cast(keras.tree.flatten(outputs)[0], "float32"), -1)

    return score
