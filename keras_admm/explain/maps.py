"""Saliency maps: the gradient of a class's score with respect to the input, and what is made of it."""

from typing import Literal, get_args

import numpy as np
from keras import tree
from numpy.typing import ArrayLike

from keras_admm import checks, hints
from keras_admm.explain import channels, named_array, targets
from keras_admm.explain.named_array import NamedArray
from keras_admm.gradients import Forward, Gradient

Method = Literal["saliency", "gradient_x_input", "integrated_gradients", "smoothgrad"]


def saliency(
    model: hints.Model,
    x: hints.Data,
    target: targets.Score = None,
    method: Method = "saliency",
    steps: int = 32,
    noise: float = 0.1,
    baseline: ArrayLike = 0.0,
    seed: int = 0,
    batch_size: int = 128,
) -> NamedArray | dict[str, NamedArray]:
    """What of its input a model looks at: a saliency map of each sample.

    With `g(x)` the gradient of the score of a class with respect to the input:

    - `"saliency"`: `|g(x)| * x`, the saliency map of the Deep Motif Dashboard as its authors compute it. The score is
      the output of the class; with log-softmax outputs that is their negative log-likelihood but for the sign.
    - `"gradient_x_input"`: `g(x) * x`.
    - `"integrated_gradients"`: `(x - b)` times the mean of `g(b + t (x - b))` over the middles t of `steps`
      equal parts of [0, 1], b the baseline. The sum over the input is about `score(x) - score(b)`.
    - `"smoothgrad"`: the mean of `g(x + e)` over `steps` draws of normal noise e.

    Args:
        model: a built model of Keras 3 or tf_keras.
        x: array of samples, or list or dict of arrays for several inputs.
        target: which score: None: of each sample the class that is predicted (of one output, this one); an int, or one
            int for each sample: this class; or a function of the outputs that returns one number for each sample.
        method: one of those above.
        steps: int, gradients of each sample for the last two methods.
        noise: float, of SmoothGrad: the deviation as a share of the range of each sample.
        baseline: float, or array of the shape of one sample, for integrated gradients.
        seed: int, of the noise.
        batch_size: int, samples in one run.

    Returns:
        A `NamedArray` of the shape of `x`, axes `("sample", "position", "channel")` for sequences and
        `("sample", "row", "column", "channel")` for images; of whole numbers that go to an Embedding layer, of what
        this returns for each. A dict of them by name for several inputs.

    Raises:
        TypeError, ValueError: for arrays that do not fit, or a model without a gradient to its inputs.

    References:
        Deep Motif Dashboard (arXiv:1608.03644); Axiomatic Attribution for Deep Networks (arXiv:1703.01365);
        SmoothGrad (arXiv:1706.03825).

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    >>> model.set_weights([np.array([[1.0, 3.0], [2.0, -4.0]])])
    >>> saliency(model, np.array([[1.0, 5.0]]), target=1).values.tolist()
    [[3.0, 20.0]]
    """
    checks.choice("saliency", "method", method, get_args(Method))
    checks.integer("saliency", "steps", steps)
    checks.number("saliency", "noise", noise, 0, "a number >= 0")
    checks.integer("saliency", "seed", seed, 0)
    baseline = checks.array("saliency", "baseline", baseline)
    channels.check_last("saliency", model)
    chosen = targets.choose("saliency", target, Forward("saliency", model, batch_size)(x))
    gradient = Gradient("saliency", model, chosen.score, batch_size)
    points = gradient.points(x)

    def at(moved):
        return gradient(x, chosen.tensors, moved)[1]

    ways = {
        "saliency": lambda: {name: np.abs(each) * points[name] for name, each in at(points).items()},
        "gradient_x_input": lambda: {name: each * points[name] for name, each in at(points).items()},
        "integrated_gradients": lambda: _integrated(at, points, baseline, steps),
        "smoothgrad": lambda: _smooth(at, points, noise, steps, seed),
    }
    return named_array.by_name(ways[method]())


def _integrated(at, points, baseline, steps):
    base = {name: np.broadcast_to(np.float32(baseline), point.shape) for name, point in points.items()}
    ways = {name: point - base[name] for name, point in points.items()}
    parts = [at({name: base[name] + t * ways[name] for name in points}) for t in (np.arange(steps) + 0.5) / steps]
    return {name: ways[name] * np.mean([part[name] for part in parts], 0) for name in points}


def _smooth(at, points, noise, steps, seed):
    rng = np.random.default_rng(seed)

    deviations = {name: noise * np.ptp(p, tuple(range(1, p.ndim)), keepdims=True) for name, p in points.items()}

    def moved():
        return {name: p + deviations[name] * rng.normal(size=p.shape) for name, p in points.items()}

    parts = [at(tree.map_structure(np.float32, moved())) for _ in range(steps)]
    return {name: np.mean([part[name] for part in parts], 0) for name in points}
