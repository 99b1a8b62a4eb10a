"""`Gradient`: of a score of a model's outputs with respect to its inputs, batch by batch."""

import itertools

import numpy as np
from keras import tree

from keras_admm import graph, weights
from keras_admm.gradients.runner import Runner


class Gradient:
    """The gradient of a score of a model's outputs with respect to its inputs (`tf.GradientTape`, `jax.grad`).

    Whole numbers have no gradient: where an input is fed to `Embedding` layers, what they return stands for it. The
    arrays that a gradient is taken at are the *points*: a dict by the names of inputs, and of embedding layers.

    Args:
        name: str, name used in error messages.
        model: a built model of Keras 3, or of tf_keras. It runs at inference, and nothing of it changes.
        score: function `(outputs, *tensors)` of the model's outputs and of more tensors, the samples first, that
            returns one number for each sample, shape `(batch,)`.
        batch_size: int, samples in one run.

    Raises:
        TypeError, ValueError: for what is no such model or function.

    Example: the gradient of `3 a + 4 b`.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[3.0], [4.0]])])
    >>> scores, gradients = Gradient("me", model, lambda outputs: outputs[:, 0])(np.ones((1, 2)))
    >>> scores.tolist(), gradients["x"].tolist()
    ([7.0], [[3.0, 4.0]])
    """

    def __init__(self, name, model, score, batch_size=128):
        self._runner = Runner(name, model, batch_size)
        self._score = score
        self._embeddings = [x for x in graph.every_layer(model) if weights.of_class(x, "Embedding")]
        self._embed = self._runner.autodiff.compiled(self._embedded)
        self._gradient = self._runner.autodiff.gradient(self._scored)
        self._taken = self._given = None

    def points(self, x):
        """The float32 arrays that a gradient is taken at, a dict by name.

        Args:
            x: array, or list or dict of arrays, as the model is called with.

        Raises:
            ValueError: for arrays that do not fit the model, or a model without gradient to its inputs.
        """
        given = self._read(x)
        replaced = set().union(*(which for _, which in self._taken.values()))
        flat = enumerate(zip(given.names, given.arrays, given.floats, strict=True))
        points = {name: array for i, (name, array, is_float) in flat if is_float and i not in replaced}
        if self._taken:
            outputs = self._runner.run(self._embed, given.size, given.structure)
            points |= {name: each for (name, _), each in zip(self._taken.values(), outputs, strict=True)}
        if not points:
            raise ValueError(self._without("whole numbers that no Embedding layer takes"))
        return {name: np.asarray(array, "float32") for name, array in points.items()}

    def __call__(self, x, tensors=(), points=None):
        """The score of each sample, and its gradient.

        Args:
            x: as in `points`.
            tensors: tuple of arrays, the samples first, that the score is given besides.
            points: dict of arrays in the places of those of `x`; None: those.

        Returns:
            Array `(samples,)`, and a dict of arrays like the points; all float32.

        Raises:
            ValueError: for arrays that do not fit the model, a model without gradient to its inputs, or a score or
                gradient that is not finite.
        """
        points = self.points(x) if points is None else points
        given = self._read(x)

        def checked(variables, at, *more):
            found, gradients = self._gradient(at, variables, *more)
            lost = [name for name, each in gradients.items() if each is None]
            if lost:
                raise ValueError(self._without(f"none to {', '.join(lost)}"))
            return found, gradients

        scores, gradients = self._runner.run(checked, given.size, points, given.structure, *tensors)
        for what, array in {"the score": scores, **gradients}.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{self._runner.name}: the score and its gradient must be finite. Received: NaN or infinity in "
                    f"{what}, from {self._runner.model.name}. Look at the weights and the outputs of the model."
                )
        return scores, gradients

    def _read(self, x):
        """The inputs; the first time it is found out which embeddings stand for them."""
        self._given = self._runner.read(x)
        if self._taken is None:
            self._taken = self._find() if self._embeddings else {}
        return self._given

    def _find(self):
        """Which calls of embeddings stand for inputs: dict of their numbers to a name and the set of these inputs."""
        given, calls, taken = self._given, [], {}
        with graph.observe(self._embeddings, calls.append):
            self._runner.call(self._runner.tensors(given.structure, np.zeros(2, int)))
        for number, call in enumerate(calls):
            ids = self._runner.autodiff.numpy(call.inputs)
            alike = [i for i, a in enumerate(given.arrays) if (2, *a.shape[1:]) == ids.shape]
            same = {i for i in alike if not given.floats[i] or (given.arrays[i][0].astype(int) == ids[0]).all()}
            if same:
                others = sum(call.layer is calls[other].layer for other in taken)
                taken[number] = (f"{call.layer.name}_{others}" if others else call.layer.name, same)
        return taken

    def _embedded(self, variables, x):
        outputs = []
        with graph.observe(self._embeddings, lambda call: outputs.append(call.outputs)):
            self._runner.call(x, variables)
        return [outputs[number] for number in self._taken]

    def _scored(self, points, variables, x, *tensors):
        """The scores as a function of the points; what is no point comes from `x`."""
        numbers = itertools.count()

        def at_point(call):
            name, _ = self._taken.get(next(numbers), (None, None))
            return call.outputs if name is None else self._runner.autodiff.cast(points[name], call.outputs.dtype)

        with graph.alter(self._embeddings, at_point):
            outputs = self._runner.call(self._given._replace(arrays=tree.flatten(x)).replaced(points), variables)
        scores = self._score(outputs, *tensors)
        if len(scores.shape) != 1:
            raise ValueError(
                f"{self._runner.name}: a score must be one number for each sample. Received: shape "
                f"{tuple(scores.shape)}. Choose an output, for example lambda outputs: outputs[:, 0]."
            )
        return scores

    def _without(self, received):
        return (
            f"{self._runner.name}: the score of {self._runner.model.name} must have a gradient with respect to its "
            f"inputs. Received: {received}. Give inputs of floats, or of whole numbers that Embedding layers take, "
            "with no rounding or comparison on the way."
        )
