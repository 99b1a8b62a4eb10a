"""`Saliency`: what a loss feels of each weight, by its gradient, decides how many of a tensor stay."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_admm import checks, hints, inference, scoring, weights
from keras_admm.allocation.division import above_threshold
from keras_admm.allocation.measured import MeasuredAllocation
from keras_admm.gradients import autodiff

LOSS = "a loss of Keras, its name, or a function of (y_true, y_pred)"


class Saliency(MeasuredAllocation):
    """A tensor keeps as many weights as it has among those of the largest saliency in the model.

    The saliency of a weight is `|w * dL/dw|`, how much the loss would change, to first order, were it zero: of the mean
    loss L of a batch, summed over the batches of `data`; under a `structure`, summed over each group as well. It is
    measured at inference, at the weights that the run begins with. It decides only how many weights each tensor keeps;
    which, ADMM does.

    Args:
        data: pair `(x, y)` of arrays, or structures of arrays: a few hundred training samples.
        loss: a loss of Keras, its name, or a function of `(y_true, y_pred)`, such as the one that the model is compiled
            with. Mind that `"sparse_categorical_crossentropy"` by its name is of probabilities, not of logits.
        batch_size: int, samples in one batch. The smaller, the less do the gradients of samples cancel.

    Raises:
        ValueError, TypeError: for values out of their range; as the run begins for a model of tf_keras, and for
            gradients that are not finite.

    Example:

    >>> from keras_admm.callbacks import ADMMPrune
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(2)])
    >>> model.compile("adam", "mse")
    >>> prune = ADMMPrune(0.75, allocation=Saliency((x, x[:, :2]), "mse"))
    >>> history = model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[prune])
    >>> round(history.history["sparsity"][-1], 2)
    0.75

    Reference: Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", arXiv:1810.02340, there
    of one batch, at random weights, and for which weights stay.
    """

    by_weight = True

    def __init__(
        self, data: hints.Data, loss: str | keras.losses.Loss | Callable[[Any, Any], Any], *, batch_size: int = 32
    ):
        self.data = keras.tree.map_structure(np.asarray, scoring.checked_pair("Saliency", "data", data))
        self.loss = _loss(loss)
        self.batch_size = checks.integer("Saliency", "batch_size", batch_size)

    def measure(self, model, variables):
        weights.check_keras_3("Saliency", model, "Load it with Keras 3, or take another allocation.")
        others = [v for v in model.variables if id(v) not in {id(each) for each in variables.values()}]
        points = {name: ops.convert_to_tensor(v) for name, v in variables.items()}
        values = [ops.convert_to_tensor(v) for v in others]

        def loss(points, values, x, y):
            at = {id(v): value for v, value in zip(others, values, strict=True)}
            at |= {id(v): points[name] for name, v in variables.items()}
            return ops.reshape(ops.mean(self.loss(y, inference.call(model, x, at))), (1,))

        gradient, found = autodiff.of(model).gradient(loss), dict.fromkeys(points, np.float32(0))
        for x, y in inference.batches(self.data, self.batch_size):
            for name, g in gradient(points, values, x, y)[1].items():
                found[name] += self._saliency(name, points[name], g)
        return found

    def _saliency(self, name, w, gradient):
        found = 0.0 if gradient is None else np.abs(ops.convert_to_numpy(ops.cast(w * gradient, "float32")))
        if not np.isfinite(found).all():
            raise ValueError(
                f"Saliency: the gradient of the loss must be finite. Received: NaN or infinity at {name}. Look at the "
                "data, and at the loss of the model on them."
            )
        return np.broadcast_to(np.float32(found), tuple(w.shape))

    def shares(self, measured, sizes, budget):
        return above_threshold(lambda name: measured[name].ravel(), measured, sizes, budget)

    def get_config(self):
        return {name: getattr(self, name) for name in ("data", "loss", "batch_size")}


def _loss(loss):
    try:
        found = keras.losses.get(loss)
    except Exception:  # whatever an object's own repr raises
        found = None
    if found is None:
        raise ValueError(
            checks.refused("Saliency", "loss", LOSS, loss, "Pass the one that the model is compiled with.")
        )
    return checks.takes("Saliency", "loss", found, 2, LOSS)
