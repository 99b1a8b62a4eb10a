"""Kinds of layers, each told as the stages that its output goes through. What is not here is a barrier."""

import functools
import re

import keras
import numpy as np
from keras import ops

from keras_admm.purification.stages import Each, Joined, Linear, Mixed, Regroup, Scale

ELEMENTWISE = (
    "celu elu exponential gelu hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid mish relu relu6 selu "
    "sigmoid silu soft_shrink softplus softsign squareplus tanh tanh_shrink"
).split()
# At inference each of their outputs is an input, or a mean of inputs, of the same channel.
SAME = (
    "ActivityRegularization AlphaDropout AveragePooling Cropping Dropout GaussianDropout GaussianNoise "
    "GlobalAveragePooling GlobalMaxPooling Identity MaxPooling RepeatVector SpatialDropout UpSampling"
).split()
MERGES = {
    "Add": lambda *values: np.sum(values, axis=0),
    "Average": lambda *values: np.mean(values, axis=0),
    "Maximum": lambda *values: functools.reduce(np.maximum, values),
    "Minimum": lambda *values: functools.reduce(np.minimum, values),
    "Multiply": lambda *values: np.where(np.equal(values, 0).any(0), 0.0, np.prod(values, axis=0)),
    "Subtract": lambda a, b: a - b,
}


def stages(layer, inputs, outputs, array):
    """The stages of a layer, first to last.

    Args:
        layer: a layer or another operation of a graph, called once on nothing but tensors.
        inputs, outputs: lists of shapes.
        array: function of a variable that gives its value, an array to be written to.

    Returns:
        A list, or None for a barrier: nothing is known of such a layer, and its weights are left alone.
    """
    rule = RULES.get(re.sub("[123]D", "", type(layer).__name__))
    # A class of the user's own may compute whatever it likes.
    strange = getattr(keras.layers, type(layer).__name__, None) is not type(layer)
    if rule is None or strange or any(len(shape) < 2 or not shape[-1] for shape in (*inputs, *outputs)):
        return None
    if getattr(layer, "data_format", None) == "channels_first" or layer.quantization_mode:
        return None
    return None if getattr(layer, "lora_enabled", False) else rule(layer, inputs, outputs, array)


def _exact(layer):
    return layer.compute_dtype in ("float32", "float64")


def _padded(layer):
    return getattr(layer, "padding", "valid") != "valid" and max(layer.kernel_size) > 1


def _bias(layer, array):
    return array(layer.bias) if layer.use_bias else None


def _dense(layer, inputs, outputs, array):
    kernel, groups = array(layer.kernel), getattr(layer, "groups", 1)
    kernel = kernel.reshape(-1, kernel.shape[-2], groups, kernel.shape[-1] // groups)
    return [Linear(kernel, _bias(layer, array), _padded(layer), _exact(layer)), _activation(layer)]


def _transposed(layer, inputs, outputs, array):
    kernel = array(layer.kernel)
    kernel = kernel.reshape(-1, kernel.shape[-2], 1, kernel.shape[-1]).swapaxes(1, 3)
    # Padded in effect: not every place gets every part of the kernel.
    return [Linear(kernel, _bias(layer, array), True, _exact(layer)), _activation(layer)]


def _depthwise(layer, inputs, outputs, array):
    kernel = array(layer.kernel)
    kernel = kernel.reshape(-1, 1, *kernel.shape[-2:])
    return [Linear(kernel, _bias(layer, array), _padded(layer), _exact(layer)), _activation(layer)]


def _separable(layer, inputs, outputs, array):
    depthwise, pointwise = array(layer.depthwise_kernel), array(layer.pointwise_kernel)
    depthwise = depthwise.reshape(-1, 1, *depthwise.shape[-2:])
    pointwise = pointwise.reshape(-1, pointwise.shape[-2], 1, pointwise.shape[-1])
    last = Linear(pointwise, _bias(layer, array), False, _exact(layer))
    return [Linear(depthwise, None, _padded(layer), _exact(layer)), last, _activation(layer)]


def _normalisation(layer, inputs, outputs, array):
    if layer.axis not in (-1, len(inputs[0]) - 1):
        return None
    gamma = array(layer.gamma) if layer.scale else None
    beta = array(layer.beta) if layer.center else None
    deviation = np.sqrt(array(layer.moving_variance).astype(np.float64) + layer.epsilon)
    return [Scale(gamma, beta, array(layer.moving_mean), deviation, _exact(layer))]


def _activation(layer):
    known = {id(getattr(keras.activations, name, None)) for name in ELEMENTWISE}
    return _applied(layer.activation, layer) if id(layer.activation) in known else Mixed()


def _applied(function, layer):
    """An activation, computed by Keras itself: what it gives for a constant, the layer gives."""
    dtype = layer.compute_dtype if _exact(layer) else "float32"

    def forward(constant):
        out, known = constant.copy(), ~np.isnan(constant)
        if known.any():
            out[known] = ops.convert_to_numpy(function(ops.convert_to_tensor(constant[known].astype(dtype))))
        return out

    return Each(forward)


def _regroup(layer, inputs, outputs, array):
    before, after = inputs[0][-1], outputs[0][-1]
    return [Regroup(before, after)] if before % after == 0 or after % before == 0 else None


def _merge(layer, inputs, outputs, array):
    # Of other shapes one would be repeated along another's channels, or turned.
    alike = len({(len(shape), shape[-1]) for shape in inputs}) == 1
    return [Each(MERGES[type(layer).__name__], len(inputs))] if alike else None


def _joined(layer, inputs, outputs, array):
    last = layer.axis in (-1, len(outputs[0]) - 1)
    return [Joined([shape[-1] for shape in inputs])] if last else None


RULES = {
    **dict.fromkeys(["Dense", "Conv"], _dense),
    "ConvTranspose": _transposed,
    "DepthwiseConv": _depthwise,
    "SeparableConv": _separable,
    "BatchNormalization": _normalisation,
    "Activation": lambda layer, *_: [_activation(layer)],
    **dict.fromkeys(["ReLU", "LeakyReLU", "ELU"], lambda layer, *_: [_applied(layer.call, layer)]),
    **dict.fromkeys(SAME, lambda *_: [Each(lambda c: c)]),
    **dict.fromkeys(["ZeroPadding", "PReLU"], lambda *_: [Each(lambda c: np.where(c == 0, 0.0, np.nan))]),
    **dict.fromkeys(["Flatten", "Reshape"], _regroup),
    **dict.fromkeys(MERGES, _merge),
    "Concatenate": _joined,
}
