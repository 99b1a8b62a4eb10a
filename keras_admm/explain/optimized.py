"""Class optimisation: the input that a model finds most typical of a class."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks, hints
from keras_admm.explain import channels, named_array, sequences, targets
from keras_admm.explain.named_array import NamedArray
from keras_admm.gradients import Forward, Gradient

DECAY = 0.99  # of RMSprop's mean square, as torch has it, in which the authors wrote it


def optimize_input(
    model: hints.Model,
    target: int | Callable[[Any], Any],
    like: ArrayLike,
    count: int = 1,
    steps: int = 1000,
    learning_rate: float = 0.05,
    penalty: float = 0.009,
    seed: int = 0,
) -> NamedArray:
    """Class optimisation: an input of which a model is as sure as can be that it is of a class.

    Solves `min over X of -log P(class | X) + penalty * ||X||^2` by RMSprop from uniform random numbers. A sequence of
    letters (those of `like` have no number below 0, and in each place the sum 1, or 0 for padding) is then clamped to
    [0, 1], divided by its maximum, 0.01 is added, and the letters of each place are normalised to 1: a position weight
    matrix, as in the Deep Motif Dashboard. Another input is clamped to the range of `like`.

    Args:
        model: a built model of Keras 3 or tf_keras, with one input of floats.
        target: int, the class, or a function of the outputs that returns one number for each sample, which is then
            maximised in the place of the logarithm.
        like: array of samples, which the input is to be like in shape and range.
        count: int, how many inputs, each from a start of its own.
        steps: int, of RMSprop.
        learning_rate: float, of RMSprop.
        penalty: float, of the square of the input.
        seed: int, of the start.

    Returns:
        A `NamedArray` of the shape `(count, *like.shape[1:])`, axes as those of `saliency`.

    Raises:
        TypeError, ValueError: for arrays that do not fit, or a model without a gradient to its inputs.

    References:
        Deep Motif Dashboard (arXiv:1608.03644); Deep Inside Convolutional Networks (arXiv:1312.6034).

    Example: of two letters the second one speaks for class 1.

    >>> import keras
    >>> layers = [keras.layers.Flatten(), keras.layers.Dense(2, "softmax", use_bias=False)]
    >>> model = keras.Sequential([keras.Input((1, 2)), *layers])
    >>> model.set_weights([np.array([[1.0, -1.0], [-1.0, 1.0]])])
    >>> optimize_input(model, 1, like=np.eye(2)[:, None], steps=100).values.round(2)
    array([[[0.01, 0.99]]], dtype=float32)
    """
    name = "optimize_input"
    for argument, value in (("count", count), ("steps", steps)):
        checks.integer(name, argument, value)
    for argument, value in (("learning_rate", learning_rate), ("penalty", penalty)):
        checks.number(name, argument, value, 0, "a number >= 0")
    checks.integer(name, "seed", seed, 0)
    channels.check_last(name, model)
    outputs, given = Forward(name, model)(like), np.asarray(checks.array(name, "like", like), "float32")
    if target is None:
        raise TypeError(checks.refused(name, "target", "a class, or a function of the outputs", target, "Name one."))
    chosen = targets.choose(name, target, outputs, log_of=model)
    gradient = Gradient(name, model, chosen.score, count)
    tensors = tuple(np.repeat(tensor[:1], count, 0) for tensor in chosen.tensors)
    x = np.random.default_rng(seed).uniform(size=(count, *given.shape[1:])).astype("float32")
    point, square = next(iter(gradient.points(x))), np.zeros_like(x)
    if gradient.points(x)[point].shape != x.shape:
        raise ValueError(
            f"{name}: the model must have an input of floats. Received: {model.name}, whose input goes to an Embedding "
            "layer. Build a model of what comes after it."
        )
    for _ in range(steps):
        slope = 2 * penalty * x - gradient(x, tensors, {point: x})[1][point]
        square += (1 - DECAY) * (slope**2 - square)
        x -= learning_rate * slope / (np.sqrt(square) + 1e-8)
    letters = sequences.are_letters(given)
    return named_array.of_input(_as_matrix(x) if letters else np.clip(x, given.min(), given.max()))


def _as_matrix(x):
    clamped = np.clip(x, 0, 1)
    scaled = clamped / np.maximum(clamped.max((1, 2), keepdims=True), 1e-7) + 0.01
    return scaled / scaled.sum(-1, keepdims=True)
