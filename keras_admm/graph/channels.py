"""How channels pass the layers of Keras, each told as the stages that its output goes through.

Each function takes a layer, lists of the shapes of its inputs and outputs, and `array`, a function of a variable that
gives its value; it returns a list of stages, or None for a barrier.
"""

import functools

import keras
import numpy as np
from keras import ops

from keras_admm.graph.kind import Kernel
from keras_admm.graph.stages import Concat, Elementwise, Linear, Mixing, Reshape, Scale

ELEMENTWISE = (
    "celu elu exponential gelu hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid mish relu relu6 selu "
    "sigmoid silu soft_shrink softplus softsign squareplus tanh tanh_shrink"
).split()
KERNEL = Kernel("kernel", inputs=-2, outputs=-1)
TRANSPOSED = Kernel("kernel", inputs=-1, outputs=-2)
DEPTHWISE = Kernel("kernel", groups=-2, outputs=-1)
SEPARABLE = Kernel("depthwise_kernel", groups=-2, outputs=-1), Kernel("pointwise_kernel", -2, -1)


def dense(layer, inputs, outputs, array):
    return [_linear(layer, KERNEL, array), _activation(layer)]


def convolution(layer, inputs, outputs, array):
    return [_linear(layer, KERNEL, array, _padded(layer), layer.groups), _activation(layer)]


def transposed(layer, inputs, outputs, array):
    # Padded in effect: not every place gets every part of the kernel.
    return [_linear(layer, TRANSPOSED, array, padded=True), _activation(layer)]


def depthwise(layer, inputs, outputs, array):
    return [_linear(layer, DEPTHWISE, array, _padded(layer)), _activation(layer)]


def separable(layer, inputs, outputs, array):
    first = Linear(SEPARABLE[0].view(array(layer.depthwise_kernel)), None, _padded(layer), exact(layer))
    return [first, _linear(layer, SEPARABLE[1], array), _activation(layer)]


def normalization(layer, inputs, outputs, array):
    if layer.axis not in (-1, len(inputs[0]) - 1):
        return None
    gamma = array(layer.gamma) if layer.scale else None
    beta = array(layer.beta) if layer.center else None
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    return [Scale(gamma, beta, mean, variance, layer.epsilon, exact(layer))]


def activation(layer, inputs, outputs, array):
    return [_activation(layer)]


def own_activation(layer, inputs, outputs, array):
    """A layer that is an activation."""
    return [_applied(layer.call, layer)]


def same(layer, inputs, outputs, array):
    """At inference each output is an input, or a mean of inputs, of the same channel."""
    return [Elementwise(lambda constant: constant)]


def zero_only(layer, inputs, outputs, array):
    """Zero stays zero; another constant does not stay one."""
    return [Elementwise(lambda constant: np.where(constant == 0, 0.0, np.nan))]


def merge(function):
    """The rule of a layer that merges inputs of one shape by a function of their constants."""

    def merged(layer, inputs, outputs, array):
        # Of other shapes one would be repeated along another's channels, or turned.
        alike = len({(len(shape), shape[-1]) for shape in inputs}) == 1
        return [Elementwise(function)] if alike else None

    return merged


def product(*values):
    return np.where(np.equal(values, 0).any(0), 0.0, np.prod(values, axis=0))


def reduced(function):
    return lambda *values: functools.reduce(function, values)


def reshape(layer, inputs, outputs, array):
    before, after = inputs[0][-1], outputs[0][-1]
    return [Reshape(before, after)] if before % after == 0 or after % before == 0 else None


def concatenation(layer, inputs, outputs, array):
    last = layer.axis in (-1, len(outputs[0]) - 1)
    return [Concat([shape[-1] for shape in inputs])] if last else None


def exact(layer):
    """Whether a layer computes precisely enough for its bias to take up constants."""
    return layer.compute_dtype in ("float32", "float64")


def _linear(layer, kernel, array, padded=False, groups=1):
    bias = array(layer.bias) if layer.use_bias else None
    return Linear(kernel.view(array(getattr(layer, kernel.name)), groups), bias, padded, exact(layer))


def _padded(layer):
    return layer.padding != "valid" and max(layer.kernel_size) > 1


def _activation(layer):
    known = {id(getattr(keras.activations, name, None)) for name in ELEMENTWISE}
    return _applied(layer.activation, layer) if id(layer.activation) in known else Mixing()


def _applied(function, layer):
    """An activation, computed by Keras itself: what it gives for a constant, the layer gives."""
    dtype = layer.compute_dtype if exact(layer) else "float32"

    def forward(constant):
        out, known = constant.copy(), ~np.isnan(constant)
        if known.any():
            out[known] = ops.convert_to_numpy(function(ops.convert_to_tensor(constant[known].astype(dtype))))
        return out

    return Elementwise(forward)
