"""TFMOT's quantization-aware training, for the layers of a model that it can take."""

import os
import warnings

import keras

from keras_admm.errors import reason
from keras_admm.graph import calls

FLAG = "TF_USE_LEGACY_KERAS"
# Layers that TFMOT takes apart before it asks its registry.
SPLIT = ("SeparableConv1D", "SeparableConv2D")
HALF = ("float16", "bfloat16")
FOLDED = ("Conv2D", "DepthwiseConv2D", "Dense", *SPLIT)
ACTIVATED = (*FOLDED, "Conv2DTranspose")


def load():
    """Imports TFMOT, and leaves the environment variables as they were.

    Raises:
        ImportError: without it.
    """
    import tensorflow as tf

    before = os.environ.get(FLAG)
    # TFMOT sets the flag for good when it is imported. What `tf.keras` stands for in this process is decided when it
    # is first looked at: that is here, by the user's own flag.
    _ = tf.keras.layers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import tensorflow_model_optimization
    except ImportError as error:
        raise ImportError(
            "tfmot: a scheme needs TFMOT. Received: a Python that cannot import it "
            f"({reason(error)}). Run `pip install tensorflow-model-optimization tf_keras setuptools`."
        ) from error
    finally:
        os.environ.pop(FLAG, None) if before is None else os.environ.update({FLAG: before})
    return tensorflow_model_optimization


def check_taken(model, skip):
    """The layers that stay float.

    Raises:
        ValueError: naming them all, if there are any and they are not to be skipped.
    """
    refused = list(_refused(model))
    if refused and (not skip or len(refused) == len([x for x in model.layers if not _is_input(x)])):
        raise ValueError(
            f"{model.name}: TFMOT's scheme must be able to quantize each layer. Received, which it cannot: "
            f"{_listed(refused)}. Replace them, quantize after training (keras_admm.export.litert with "
            "quantize='int8'), or leave them float with skip=True, which needs a layer that it can quantize."
        )
    if refused:
        warnings.warn(f"{model.name}: left float, as TFMOT cannot quantize them: {_listed(refused)}.", stacklevel=3)
    return refused


def aware(model, left):
    """The model as TFMOT makes it for quantization-aware training. The layers of `model` are used up by it."""
    import tf_keras

    _check_configs(left)
    tool, output_only = load().quantization.keras, _output_config()
    after_dense = {id(layer) for layer, before in _feeds(model) if _is_norm(layer) and _is_dense(before)}

    def annotate(layer):
        supported = _registry().supports(layer)
        if layer in left and not supported:
            return layer
        # A float layer whose kind TFMOT knows is asked for its activation if a quantized layer comes after it. And
        # TFMOT would have a Dense folded into a batch normalization, which leaves its kernel float32 in the file.
        alone = supported and not _knows_activation(layer) or id(layer) in after_dense
        return tool.quantize_annotate_layer(layer, output_only() if alone else None)

    try:
        # What stays float is written into a config and made again from it, custom classes too.
        custom = {type(layer).__name__: type(layer) for layer in left if not _is_of_tf_keras(layer)}
        with tool.quantize_scope({output_only.__name__: output_only, **custom}):
            annotated = tf_keras.models.clone_model(model, clone_function=annotate)
            return tool.quantize_apply(annotated)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{model.name}: TFMOT must be able to quantize the model. Received: its error, {reason(error)}. "
            "Quantize after training instead: keras_admm.export.litert with quantize='int8'."
        ) from error


def check_float32(model):
    """Refuses what TFMOT fails on: it emulates int8 between dense tensors of float32.

    Raises:
        ValueError: naming the layer.
    """
    wrong = {}
    for x in keras.tree.flatten(_followed(model).inputs):
        kind = next((k for k in ("sparse", "ragged") if k in type(x.symbol.type_spec).__name__.lower()), None)
        if kind:
            wrong[x.layer.name] = f"an input with {kind}=True. Build the model with a dense input"
    for layer in model.layers:
        if layer.compute_dtype in HALF or any(w.dtype.name in HALF for w in layer.weights):
            wrong[layer.name] = (
                f"the policy {layer.dtype_policy.name!r}. Build the model in float32, with these weights"
            )
    if wrong:
        name, what = next(iter(wrong.items()))
        raise ValueError(f"{name}: TFMOT quantizes dense tensors of float32. Received: {what}.")


def _check_configs(left):
    """Refuses own layers that would not come back from the config in which TFMOT writes all layers."""
    import tf_keras

    for layer in (x for x in left if not _is_of_tf_keras(x)):
        kind = type(layer).__name__
        if kind in vars(tf_keras.layers):
            raise ValueError(
                f"{layer.name}: TFMOT knows layers by the names of their classes. Received: a class {kind} of its own, "
                "a name that tf_keras has too. Give the class another name."
            )
        if "name" not in layer.get_config():
            raise ValueError(
                f"{layer.name}: to stay float, a layer must come back from its config under its name. Received: a "
                f"{kind} whose get_config() has no name. Add super().get_config() to it, and take **kwargs in __init__."
            )


def _refused(model):
    feeds = _feeds(model)
    for layer in model.layers:
        if not _is_input(layer) and not _takes(layer, feeds):
            yield layer


def _takes(layer, feeds):
    if _is_norm(layer):
        before = [parent for child, parent in feeds if child is layer]
        return len(before) == 1 and _folds(before[0]) and sum(parent is before[0] for _, parent in feeds) == 1
    if _is_activation(layer):  # ours, too: computed in float, its output quantized
        return True
    known = type(layer).__name__ in SPLIT or _registry().supports(layer)
    return known and _knows_activation(layer)


def _feeds(model):
    """Pairs of a layer and one that feeds it, a pair for each call."""
    return [(call.layer, x.layer) for call in _followed(model) for x in call.inputs]


def _followed(model):
    return calls.of(model, "it can be quantized")


def _folds(layer):
    return type(layer).__name__ in FOLDED and _activation(layer) == "linear"


def _knows_activation(layer):
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_aware_activation import (
        QuantizeAwareActivation as Known,
    )

    if _is_activation(layer):
        try:
            _registry().get_quantize_config(layer).get_output_quantizers(layer)
        except ValueError:
            return False
        return True
    return _activation(layer) in Known._PRE_QUANT_ACTIVATIONS | Known._POST_QUANT_ACTIVATIONS


def _activation(layer):
    """The name of the activation function in a layer that TFMOT takes."""
    function = layer.activation if type(layer).__name__ in ACTIVATED else None
    return getattr(function, "__name__", "linear")


def _registry():
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    return registry.Default8BitQuantizeRegistry()


def _output_config():
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs as configs,
    )

    return configs.Default8BitOutputQuantizeConfig


def _is_of_tf_keras(layer):
    return type(layer).__module__.split(".")[0] == "tf_keras"


def _is_input(layer):
    import tf_keras

    return isinstance(layer, tf_keras.layers.InputLayer)


def _is_activation(layer):
    import tf_keras

    return type(layer) is tf_keras.layers.Activation


def _is_norm(layer):
    return type(layer).__name__ == "BatchNormalization"


def _is_dense(layer):
    return type(layer).__name__ == "Dense"


def _listed(layers):
    return ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in layers)
