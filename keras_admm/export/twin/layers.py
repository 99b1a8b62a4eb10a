"""One layer of Keras 3 made again as the layer of tf_keras that computes the same."""

import functools
import inspect

import keras

from keras_admm.errors import reason
from keras_admm.export.twin.activations import twin_activation
from keras_admm.export.twin.names import fit

# Layers that hold layers: by what name tf_keras's constructor takes them, and where Keras 3 has them.
INNER = {
    "Bidirectional": {"layer": "forward_layer", "backward_layer": "backward_layer"},
    "RNN": {"cell": "cell"},
    "StackedRNNCells": {"cells": "cells"},
    "TimeDistributed": {"layer": "layer"},
}
RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}
# Options that change how a result is computed or drawn, not the result; and what tf_keras always does.
HARMLESS = {"seed", "autocast", "synchronized", "use_cudnn", "flash_attention", "bounding_box_format", "optional"}
HARMLESS |= {"vocabulary_size", "lora_rank", "lora_alpha"}
ALWAYS = {"data_format": "channels_last"}
REFUSED = {
    "Lambda": "its function is written for Keras 3. Replace it by layers or keras.ops",
    "Hashing": "tf_keras hashes in another way. Hash before the model",
    "HashedCrossing": "tf_keras hashes in another way. Hash before the model",
    "RandomCrop": "at inference tf_keras crops and Keras does not. Crop before the model",
    "SpectralNormalization": "tf_keras's fails beside Keras 3. Use the layer in it: at inference it is the same",
}
MAKING = {"get_config", "from_config"}  # what a subclass may have of its own and compute as its base does
LOOKUPS = (keras.layers.TextVectorization, keras.layers.StringLookup, keras.layers.IntegerLookup)
LEFT_OUT = "Replace it by other layers, or leave it out of the model and apply it before or after"


def twin_layer(layer, make):
    """The tf_keras layer of the same class and options, not built.

    Args:
        layer: a layer of `keras.layers`.
        make: what makes the twins of layers held in this one.

    Raises:
        NotImplementedError: with the reason and the remedy, when tf_keras has nothing that computes the same.
    """
    new = _twin_class(layer)
    kind = new.__name__
    held = {key: _made(getattr(layer, name), make) for key, name in INNER.get(kind, {}).items()}
    options = _options(layer, new, held)
    try:
        return new(**held, **options)
    except (TypeError, ValueError, AttributeError) as error:
        raise NotImplementedError(f"tf_keras refuses it ({reason(error)}). {LEFT_OUT}") from error


def held_pairs(layer, twin):
    """Pairs of the layers held in a layer and of those that its twin holds."""
    for name in INNER.get(type(twin).__name__, {}).values():
        old, new = getattr(layer, name), getattr(twin, name)
        yield from zip(old, new, strict=True) if isinstance(old, (list, tuple)) else [(old, new)]


def _twin_class(layer):
    import tf_keras

    kind = _keras_class(layer).__name__
    if kind in REFUSED:
        raise NotImplementedError(REFUSED[kind])
    if kind not in vars(tf_keras.layers):
        raise NotImplementedError(f"tf_keras has no {kind}. {LEFT_OUT}")
    if layer.dtype_policy.quantization_mode:
        raise NotImplementedError("tf_keras has no quantized layers. Export the model as it was before quantize()")
    return getattr(tf_keras.layers, kind)


def _keras_class(layer):
    """The class of Keras by which a layer computes: a subclass may make it in another way, and have more methods."""
    classes = type(layer).__mro__
    base = next(c for c in classes if c.__module__.split(".")[0] == "keras")
    own = [name for c in classes[: classes.index(base)] for name in vars(c) if hasattr(base, name)]
    own = [name for name in own if name not in MAKING and (name == "__call__" or not name.startswith("__"))]
    if base is keras.layers.Layer or own:
        raise NotImplementedError(
            f"it computes by {', '.join(own) or 'methods'} of its own, written for Keras 3. Write it for tf_keras, in "
            "a model of tf_keras (which `tfmot` takes, with skip=True), or leave it out of the model and apply it "
            "before or after"
        )
    return base


def _made(held, make):
    return [make(each) for each in held] if isinstance(held, (list, tuple)) else make(held)


def _options(layer, new, held):
    kind, options = new.__name__, {}
    for key, value in {**_keras_class(layer).get_config(layer), **_state(layer)}.items():
        key = RENAMED.get((kind, key), key)
        if key == "num_bins":  # the boundaries, which are there by now, say it
            continue
        if key in held or key.endswith("initializer"):  # weights are copied: what they began as is of no account
            continue
        if key == "dtype" and isinstance(layer, LOOKUPS):  # there it is the type of what comes out
            continue
        if key in _parameters(new):
            options[key] = _translated(layer, key, value)
        elif not _neutral(layer, key, value):
            raise NotImplementedError(f"tf_keras has no {key}={value!r} there. Leave that option at its default")
    if kind == "BatchNormalization" and layer.epsilon < 1.001e-5:
        options["fused"] = False  # TensorFlow's fused kernel raises a smaller epsilon to that
    return options


def _state(layer):
    """What a layer learnt by `adapt` and does not keep among its weights."""
    if isinstance(layer, LOOKUPS):
        return {"vocabulary": layer.get_vocabulary(include_special_tokens=False) or None}
    return {"bin_boundaries": layer.bin_boundaries} if isinstance(layer, keras.layers.Discretization) else {}


def _translated(layer, key, value):
    if key == "dtype":
        return layer.dtype_policy.name
    if key == "name":
        return fit(value)
    if key.endswith("activation"):
        return twin_activation(getattr(layer, key))
    if key.endswith(("regularizer", "constraint")) and value is not None:
        return _translated_object(key, value)
    return value


def _translated_object(key, config):
    import tf_keras

    module = tf_keras.regularizers if key.endswith("regularizer") else tf_keras.constraints
    if not str(config.get("module")).startswith("keras.") or config["class_name"] not in vars(module):
        raise NotImplementedError(f"its {key} {config['class_name']} is not one of Keras's. Set {key} to None")
    return getattr(module, config["class_name"])(**config["config"])


@functools.cache
def _parameters(new):
    """The names of a tf_keras layer's options, those of its base classes with them."""
    import tf_keras

    inits = [c.__init__ for c in new.__mro__ if "__init__" in vars(c)]
    names = {name for init in inits for name in inspect.signature(init).parameters}
    if issubclass(new, tf_keras.layers.RNN):
        names.add("zero_output_for_mask")
    return (names | {"name", "trainable", "dtype"}) - {"self", "args", "kwargs"}


def _neutral(layer, key, value):
    """Whether an option that tf_keras does not know may be dropped: at this value it changes nothing."""
    if key in HARMLESS or value is None or value == ALWAYS.get(key):
        return True
    defaults = [inspect.signature(c.__init__).parameters.get(key) for c in type(layer).__mro__]
    return value == next((p.default for p in defaults if p is not None), False)


def call_arguments(layer, twin, args, kwargs):
    """The arguments of a call of `layer`, as `twin` takes them: None and defaults dropped, by name where the order
    differs.

    Raises:
        NotImplementedError: for an argument that the twin does not have.
    """
    ours, theirs = (list(inspect.signature(each.call).parameters.values()) for each in (layer, twin))
    names = {parameter.name for parameter in theirs}
    positional, named = list(args[:1]), {}
    for i, value in enumerate(args[1:], 1):
        same = len(positional) == i and i < len(theirs) and theirs[i].name == ours[i].name
        positional.append(value) if same else named.update({ours[i].name: value})
    defaults = {parameter.name: parameter.default for parameter in ours}
    for name, value in {**named, **kwargs}.items():
        if value is None or (name == "training" and (value == defaults.get(name) or name not in names)):
            named.pop(name, None)
        elif name not in names:
            raise NotImplementedError(f"tf_keras does not take the argument {name} there. Call it without")
        else:
            named[name] = value
    return positional, named
