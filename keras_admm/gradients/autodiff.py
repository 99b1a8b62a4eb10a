"""How each backend differentiates and compiles a function of tensors."""

from abc import ABC, abstractmethod

import keras
import numpy as np
from keras import ops

from keras_admm.compiling import compiled
from keras_admm.weights import is_tf_keras


class Autodiff(ABC):
    """The gradient of a backend."""

    @abstractmethod
    def compiled(self, function):
        """A function of structures of tensors, compiled as the backend compiles."""

    def of_lengths(self, function):
        """The same for a function that is called with many lengths of an axis: compiled for all of them, or not."""
        return function

    @abstractmethod
    def gradient(self, scores):
        """Of a function `scores(points, *rest)` a compiled one that returns its scores, and the gradients of their sum.

        Args:
            scores: function of a dict of float tensors and of more structures, that returns one number a sample.

        Returns:
            Function that returns the scores, and a dict of gradients, None where the scores do not depend on a point.
        """

    def tensor(self, array):
        """An array as a tensor of the backend."""
        return ops.convert_to_tensor(array)

    def numpy(self, tensor):
        """A tensor as an array."""
        return ops.convert_to_numpy(tensor)

    def cast(self, tensor, dtype):
        """A tensor in the dtype of another."""
        return ops.cast(tensor, dtype)


class TensorFlow(Autodiff):
    """`tf.GradientTape`; of tf_keras too."""

    def compiled(self, function):
        return compiled(function)

    def of_lengths(self, function):
        return compiled(function, reduce_retracing=True)

    def gradient(self, scores):
        import tensorflow as tf

        def both(points, *rest):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                found = scores(points, *rest)
            return found, tape.gradient(found, points)

        return self.compiled(both)

    def tensor(self, array):
        import tensorflow as tf

        return tf.convert_to_tensor(array)

    def numpy(self, tensor):
        return np.asarray(tensor)

    def cast(self, tensor, dtype):
        import tensorflow as tf

        return tf.cast(tensor, dtype)


class JAX(Autodiff):
    """`jax.vjp`."""

    def compiled(self, function):
        return compiled(function)

    def gradient(self, scores):
        import jax

        def both(points, *rest):
            found, back = jax.vjp(lambda each: scores(each, *rest), points)
            return found, back(jax.numpy.ones_like(found))[0]

        run, lost = self.compiled(both), {}

        def checked(points, *rest):
            found, gradients = run(points, *rest)
            if not lost:  # zeros stand for none: only the program tells them from zeros that were computed
                program = jax.make_jaxpr(both)(points, *rest).jaxpr
                named = zip(sorted(points), program.outvars[1:], strict=True)
                lost.update({name: _is_constant(program, each) for name, each in named})
            return found, {name: None if lost[name] else each for name, each in gradients.items()}

        return checked


def _is_constant(program, output):
    """Whether an output of a jaxpr is one number everywhere, whatever the inputs are."""
    from jax.extend.core import Literal

    for equation in program.eqns:
        if output in equation.outvars:
            numbers = all(isinstance(each, Literal) for each in equation.invars)
            return equation.primitive.name == "broadcast_in_dim" and numbers
    return isinstance(output, Literal)


class Torch(Autodiff):
    """`torch.autograd.grad`: gradients of the variables are not touched."""

    def compiled(self, function):
        import torch

        return torch.no_grad()(function)

    def of_lengths(self, function):
        return self.compiled(function)

    def gradient(self, scores):
        import torch

        def both(points, *rest):
            with torch.enable_grad():
                points = {name: point.detach().requires_grad_() for name, point in points.items()}
                found = scores(points, *rest)
                if not found.requires_grad:
                    return found, dict.fromkeys(points)
                gradients = torch.autograd.grad(found.sum(), list(points.values()), allow_unused=True)
            return found.detach(), dict(zip(points, gradients, strict=True))

        return both


def of(model):
    """The `Autodiff` of a model."""
    if is_tf_keras(model):
        return TensorFlow()
    return {"tensorflow": TensorFlow, "jax": JAX, "torch": Torch}[keras.backend.backend()]()
