"""Export to the TensorFlow Model Optimization Toolkit: quantization-aware training that keeps zeros and clusters."""

from typing import Literal

from keras_admm import checks, hints
from keras_admm.export.schemes.held import check, hold, project
from keras_admm.export.schemes.plain import clone, flat, plain
from keras_admm.export.schemes.quantize import aware, check_float32, check_taken, load
from keras_admm.weights import check_model, is_tf_keras

# What each scheme keeps, by TFMOT's names for pruning- and cluster-preserving quantization-aware training.
SCHEMES = {None: (), "qat": (), "pqat": ("zeros",), "cqat": ("clusters",), "pcqat": ("zeros", "clusters")}


def tfmot(
    model: hints.Model, scheme: Literal["qat", "pqat", "cqat", "pcqat"] | None = None, skip: bool = False
) -> hints.TfKerasModel:
    """A compressed model as a tf_keras model for TFMOT; with a scheme, ready for quantization-aware training.

    The quantization-aware model is TFMOT's: its default 8 bit scheme, layer by layer. Zeros and clusters are held by
    constraints of ours on every kernel, those of layers that stay float with them, as TFMOT itself would preserve
    them in Conv2D and Dense alone. They hold through `compile`, `fit`, any tf_keras optimizer and `load_weights`, but
    not in a clone or a model loaded from a file: build it again with `tfmot`, and load the weights into that.

    Before any training its outputs mean nothing: the range of the input is empty, all others are -6 to 6. The first
    step sets those of the input and the weights; those of the activations are moving averages with a decay of 0.999,
    so let it train for a thousand steps or so. TFMOT trains each batch normalization as a layer of its own; the
    converter folds it into the convolution before, channel by channel, which changes no zero and adds no level.

    Args:
        model: a built Keras 3 model that `to_tf_keras` can translate, or a tf_keras Sequential or Functional one;
            with a scheme, models in it become part of the graph. It is not changed.
        scheme: None: the plain model, such as TFMOT's `strip_pruning` gives. `"qat"`: quantization-aware, but neither
            zeros nor clusters are held, and most of them are lost. `"pqat"`: zeros are held. `"cqat"`: weights of
            one tensor that are equal stay equal, also those at zero, which may move. `"pcqat"`: both.
        skip: whether to leave layers float that TFMOT's scheme cannot quantize, with a warning that names them. A
            subclass of a layer of Keras 3 that computes as that does becomes that, and is quantized like it; a layer
            that computes in its own way must be one of tf_keras, in a model of tf_keras.

    Returns:
        A tf_keras model, not compiled. With a scheme, `compile` and `fit` it, then
        `keras_admm.export.litert(keras_admm.export.strip_tfmot(model), path)`.

    Raises:
        TypeError: for what is not a model.
        ValueError: for an unknown scheme; a model that is not built, subclassed, or wrapped by TFMOT already; layers
            that the scheme cannot quantize, all of them named; half precision; nothing to hold.
        ImportError: without tf_keras, or with a scheme without TFMOT.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
    >>> [layer.name for layer in tfmot(model).layers][1:]
    ['head']
    >>> [layer.name for layer in tfmot(model, "qat").layers][2:]
    ['quant_head']

    Reference: Jacob et al. 2018, arXiv 1712.05877, on training with emulated int8.
    """
    checks.choice("tfmot", "scheme", scheme, tuple(SCHEMES))
    checks.boolean("tfmot", "skip", skip)
    check_model("tfmot", model)
    given = plain(model)
    if scheme is None:
        return given
    kept = SCHEMES[scheme]
    check(given, kept)
    load()
    graph = flat(given)
    check_float32(graph)
    return hold(aware(graph, check_taken(graph, skip)), kept)


def strip_tfmot(model: hints.TfKerasModel) -> hints.TfKerasModel:
    """A copy of a tf_keras model without the constraints of `tfmot`, ready for `keras_admm.export.litert`.

    The weights stay as they are, the ranges that a quantization-aware model has learned with them; the constraints
    of `tfmot` are gone. Before that they are applied once more: an optimizer with `use_ema=True` ends with an average
    of weights that were not yet constrained.

    Args:
        model: a tf_keras model: what `tfmot` returned, trained, or any other Sequential or Functional one.

    Returns:
        A new tf_keras model with the same weights and outputs, not compiled.

    Raises:
        TypeError: for a Keras 3 model, whose masks `keras_admm.strip` takes off, or what is no model.
        ValueError: for a model that is not built, or is subclassed.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
    >>> strip_tfmot(tfmot(model)).layers[1].name
    'head'
    """
    check_model("strip_tfmot", model)
    if not is_tf_keras(model):
        raise TypeError(
            f"strip_tfmot: a tf_keras model is expected. Received: {model.name}, of Keras 3. Use keras_admm.strip for "
            "it."
        )
    return project(clone(model), model)
