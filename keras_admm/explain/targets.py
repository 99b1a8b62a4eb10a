"""Which number of a model's outputs is explained: the score of a class, or a function of the user's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_admm import checks, graph, weights
from keras_admm.explain.cut import inner

Score = int | ArrayLike | Callable[[Any], Any] | None
# What an activation gives for each class: its probability or not. Of others the outputs themselves are looked at.
PROBABILITY = {"softmax": True, "sigmoid": True, "hard_sigmoid": True, "linear": False, "log_softmax": False}
KEEPING = "Flatten", "Reshape", "Dropout", "Identity"  # what comes out is what goes in
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


def choose(name, target, outputs, log_of=None):
    """The score that a target means.

    Args:
        name: str, name used in error messages.
        target: None: of each sample the class that is predicted; an int or an array of ints: this class, of one output
            column 1 or, the other way round, 0; or a function of the outputs that returns one number for each sample.
        outputs: array of the outputs of the samples.
        log_of: the model, for the logarithm of the class's probability in the place of its output, or None.

    Raises:
        TypeError, ValueError: for a target that the outputs do not have.
    """
    if callable(target):
        return Chosen(checks.takes(name, "target", target, 1, TARGETS), (), None)
    columns = columns_of(name, outputs)
    classes = _classes(name, target, columns)
    if columns.shape[1] == 1:
        chosen = np.where(classes == 1, 1, -1).astype("float32")[:, None]
    else:
        chosen = np.eye(columns.shape[1], dtype="float32")[classes]
    score = _score if log_of is None else _log_score(_is_probability(log_of, columns), columns.shape[1])
    return Chosen(score, (chosen,), classes)


def predicted(model, columns):
    """The class of each sample by a model's outputs, an array of a column for each class, or of one for class 1."""
    if columns.shape[1] > 1:
        return columns.argmax(1)
    return (columns[:, 0] > (0.5 if _is_probability(model, columns) else 0)).astype(int)


def _is_probability(model, columns):
    """Whether outputs are probabilities, by the activation that gives them or else by their values; or logits."""
    told = PROBABILITY.get(_activation(model))
    if told is not None:
        return told
    whole = columns.shape[1] == 1 or np.allclose(columns.sum(1), 1, atol=1e-2)
    return bool(whole and columns.min() >= 0 and columns.max() <= 1 + 1e-3)


def _activation(model):
    """The name of what gives a model's output, None where it is not known."""
    if not graph.calls.has_graph(model):
        return None
    calls = graph.calls.of(model, "its activation is known")
    made = {tensor: call for call in calls.calls for tensor in call.outputs}
    call = made.get(keras.tree.flatten(calls.outputs)[0])
    while call is not None:
        layer = inner(call.layer)
        name = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__.lower())
        if not weights.of_class(layer, *KEEPING) and not (weights.of_class(layer, "Activation") and name == "linear"):
            return name
        call = made.get(call.reads()[0])
    return None


def columns_of(name, outputs):
    """Outputs as an array of a column for each class, or what is wrong with them."""
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
