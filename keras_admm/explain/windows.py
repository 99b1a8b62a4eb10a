"""The windows of the input that excite each filter of a convolution most, and the motif that they share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks, graph, hints, weights
from keras_admm.explain import channels
from keras_admm.explain.cut import PLACE_BY_PLACE, inner
from keras_admm.gradients import Runner

CONVOLUTIONS = "Conv1D", "Conv2D", "SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D"
POOLING = "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of the input that excite one filter most, the strongest first.

    Attributes:
        filter: int, which filter.
        values: array `(windows, width, channels)`, or `(windows, height, width, channels)` of images; zeros where a
            window reaches over the edge.
        samples: array of ints, the sample that each window is of.
        starts: array `(windows, 1)` or `(windows, 2)`, where it begins; below 0 before the edge.
        activations: array, what the filter gives for each.
    """

    filter: int
    values: np.ndarray
    samples: np.ndarray
    starts: np.ndarray
    activations: np.ndarray

    @property
    def mean(self):
        """The mean window; zeros where there is none."""
        return self.values.mean(0) if len(self.values) else np.zeros(self.values.shape[1:], "float32")

    @property
    def pwm(self):
        """The position weight matrix: the share of each letter in each place; alike where there is no letter."""
        total = self.mean.sum(-1, keepdims=True)
        return np.where(total > 0, self.mean / np.where(total > 0, total, 1), 1 / self.mean.shape[-1])


def activating_windows(
    model: hints.Model,
    layer: str | hints.Layer,
    x: ArrayLike,
    share: float = 0.5,
    most: int = 100,
    batch_size: int = 128,
) -> list[Windows]:
    """The windows of sequences or images that excite each filter of a convolution most.

    A window counts where the filter gives more than a share of the most that it gives for any.

    Args:
        model: a built Sequential or Functional model of Keras 3 or tf_keras, with one input.
        layer: the convolution, or its name. Before it there may be convolutions, pooling, and layers that do the same
            to each place.
        x: array of samples, in which the windows are looked for.
        share: float, in [0, 1).
        most: int, the most windows of each filter.
        batch_size: int, samples in one run.

    Returns:
        A list of `Windows`, one for each filter; without a window for a filter that never gives more than 0. Their
        `pwm` is the filter's motif.

    Raises:
        TypeError, ValueError: for another layer, or one that other layers than those stand before.

    References:
        Predicting the sequence specificities of DNA- and RNA-binding proteins by deep learning (Nature Biotechnology
        33, 2015), whose motifs are made of windows like these.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3, 2)), keras.layers.Conv1D(1, 2, use_bias=False, name="conv")])
    >>> model.set_weights([np.array([[[1.0], [0.0]], [[0.0], [1.0]]])])
    >>> (found,) = activating_windows(model, "conv", np.eye(2)[[[0, 1, 1]]])
    >>> found.starts.tolist(), found.pwm.tolist()
    ([[0]], [[1.0, 0.0], [0.0, 1.0]])
    """
    name = "activating_windows"
    checks.share(name, "share", share, "a float in [0, 1)")
    checks.integer(name, "most", most)
    runner = Runner(name, model, batch_size)
    channels.check_last(name, model)
    given = runner.read(x)
    call, before = _chain(name, model, layer)
    field = _Field(given.arrays[0].shape[1:-1], before)

    def activations(variables, x):
        found = []
        with graph.observe([call.layer], lambda observed: found.append(observed.outputs)):
            runner.call(x, variables)
        return found[0]

    outputs = runner.run(runner.autodiff.compiled(activations), given.size, given.structure)
    return [_windows(i, outputs[..., i], given.arrays[0], field, share, most) for i in range(outputs.shape[-1])]


def _chain(name, model, layer):
    """The call of a layer, and the layers from the input to it."""
    calls = graph.calls.of(model, f"{name} follows its layers").needed()
    made = {tensor: call for call in calls for tensor in call.outputs}
    found = [call for call in calls if call.layer is layer or isinstance(layer, str) and call.layer.name == layer]
    known = [call.layer.name for call in calls if weights.of_class(inner(call.layer), *CONVOLUTIONS)]
    if not found or not weights.of_class(inner(found[0].layer), *CONVOLUTIONS):
        must = f"a convolution of {model.name}, or its name"
        remedy = f"Choose one of {', '.join(known)}." if known else "It has none."
        raise ValueError(checks.refused(name, "layer", must, layer, remedy))
    call, layers = found[0], [found[0].layer]
    while call.reads()[0] in made:
        call = made[call.reads()[0]]
        kinds = (*CONVOLUTIONS, *POOLING, *PLACE_BY_PLACE)
        if len(call.reads()) != 1 or not weights.of_class(inner(call.layer), *kinds):
            raise ValueError(
                f"{name}: before `layer` there must be convolutions, pooling, and layers that do the same to each "
                f"place. Received: {call.layer.name}, a {type(call.layer).__name__}. Choose a layer before it."
            )
        layers.append(call.layer)
    return found[0], layers[::-1]


class _Field:
    """The window of the input that an output of some layers sees, along each axis of places.

    Args:
        places: tuple of ints, how many places the input has along each axis.
        layers: list of the layers, from the input on.

    Attributes:
        size: array, of the window.
        step: array, how far the windows of neighbours are apart.
        start: array, where the first window begins.
    """

    def __init__(self, places, layers):
        count = len(places)
        self.size, self.step, self.start = np.ones(count, int), np.ones(count, int), np.zeros(count, int)
        for layer in map(inner, layers):
            if weights.of_class(layer, *CONVOLUTIONS, *POOLING):
                places = self._grow(layer, np.array(places), count)

    def _grow(self, layer, places, count):
        """Grows by a layer that reads so many places along each axis, and returns how many it gives."""
        pooled = weights.of_class(layer, *POOLING)
        size = np.broadcast_to(layer.pool_size if pooled else layer.kernel_size, count)
        size = (size - 1) * np.broadcast_to(1 if pooled else layer.dilation_rate, count) + 1
        strides = np.broadcast_to(layer.strides, count)
        if layer.padding == "same":
            # Both sides are padded for whole windows, the beginning with the smaller half.
            self.start = self.start - self.step * (np.maximum(size - 1 - (places - 1) % strides, 0) // 2)
        elif layer.padding == "causal":
            self.start = self.start - self.step * (size - 1)
        self.size = self.size + (size - 1) * self.step
        self.step = self.step * strides
        return -(-(places - (size - 1 if layer.padding == "valid" else 0)) // strides)


def _windows(number, activations, x, field, share, most):
    least = share * activations.max()
    places = np.argwhere(activations > max(least, 0))
    order = np.argsort(-activations[tuple(places.T)], kind="stable")[:most]
    places = places[order]
    starts = field.start + places[:, 1:] * field.step
    edges = [(0, 0), *((int(size), int(size)) for size in field.size), (0, 0)]
    padded = np.pad(np.asarray(x, "float32"), edges)
    values = np.zeros((len(places), *field.size, x.shape[-1]), "float32")
    for i, (sample, start) in enumerate(zip(places[:, 0], starts, strict=True)):
        parts = tuple(slice(at + size, at + 2 * size) for at, size in zip(start, field.size, strict=True))
        values[i] = padded[(sample, *parts)]
    return Windows(number, values, places[:, 0], starts, activations[tuple(places.T)])
