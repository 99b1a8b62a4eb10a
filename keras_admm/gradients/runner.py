"""`Runner`: a model at inference on batches of arrays, compiled, and differentiated by whoever asks for it."""

import contextlib

import keras
import numpy as np
from keras import ops, tree

from keras_admm import checks, inference, weights
from keras_admm.gradients import autodiff, inputs
from keras_admm.weights import is_tf_keras


class Runner:
    """Runs functions of a model batch by batch, each batch of one size, with the weights as they are then.

    Args:
        name: str, name used in error messages.
        model: a built model of Keras 3, or of tf_keras. It runs at inference, and nothing of it changes.
        batch_size: int, samples in one run.

    Attributes:
        name, model, batch_size: these.
        autodiff: the `Autodiff` of the model.
    """

    def __init__(self, name, model, batch_size=128):
        weights.check_model(name, model)
        if not model.built:
            raise ValueError(
                f"{name}: the model must be built. Received: {model.name}, a model without variables. Call "
                "model.build(input_shape), or the model on a batch of data, first."
            )
        self.name, self.model = name, model
        self.autodiff = autodiff.of(model)
        self.batch_size = checks.integer(name, "batch_size", batch_size)

    def read(self, x):
        """The `Inputs` that arrays are."""
        return inputs.read(self.name, self.model, x)

    def call(self, x, variables=()):
        """The outputs of the model for tensors, with tensors in the places of its variables."""
        own = self.model.variables if variables else ()
        return inference.call(self.model, x, {id(v): value for v, value in zip(own, variables, strict=True)})

    def scope(self, variables):
        """A context in which tensors stand in the places of the model's variables."""
        if not variables:
            return contextlib.nullcontext()
        return keras.StatelessScope(list(zip(self.model.variables, variables, strict=True)))

    def variables(self):
        """What a compiled function would else keep as it was when it was compiled."""
        return [] if is_tf_keras(self.model) else [ops.convert_to_tensor(v) for v in self.model.variables]

    def tensors(self, arrays, rows=slice(None)):
        """A structure of arrays as tensors, of some samples."""
        return tree.map_structure(lambda array: self.autodiff.tensor(np.asarray(array)[rows]), arrays)

    def run(self, function, size, *arrays):
        """A function of a batch's tensors and of the variables, on all samples.

        Args:
            function: compiled function `(variables, *tensors)`.
            size: int, how many samples there are.
            arrays: structures of arrays, the samples first.

        Returns:
            What the function returns, as float32 arrays of all samples; None stays.
        """
        step = min(self.batch_size, size)
        # The last batch is filled up, for one shape alone is compiled; a whole one is not copied.
        batches = [slice(start, start + step) for start in range(0, size - step + 1, step)]
        batches += [np.minimum(np.arange(size - size % step, size - size % step + step), size - 1)] * (size % step > 0)
        parts = [function(self.variables(), *self.tensors(arrays, rows)) for rows in batches]
        return tree.map_structure(lambda *each: self._joined(each)[:size], *parts)

    def run_whole(self, function, *arrays):
        """The same in one run, of a function that returns another number of samples than it is given."""
        return tree.map_structure(lambda part: self._joined([part]), function(self.variables(), *self.tensors(arrays)))

    def _joined(self, parts):
        return np.concatenate([self.autodiff.numpy(part).astype("float32") for part in parts])


class Forward:
    """A model's outputs as float32 arrays, like `model.predict` without its callbacks.

    Args:
        name, model, batch_size: see `Runner`.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    >>> Forward("me", model)(np.array([[1.0, -1.0]])).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, name, model, batch_size=128):
        self._runner = Runner(name, model, batch_size)
        self._outputs = self._runner.autodiff.compiled(lambda variables, x: self._runner.call(x, variables))

    def __call__(self, x):
        given = self._runner.read(x)
        return self._runner.run(self._outputs, given.size, given.structure)
