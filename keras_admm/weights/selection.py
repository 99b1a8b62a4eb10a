"""Which variables of a model are compressed: `layers`, `exclude`, `biases`."""

import warnings

import keras
from keras import ops

from keras_admm import names
from keras_admm.graph import every_layer, made_trainable
from keras_admm.weights.arguments import check_choice, check_model, listed
from keras_admm.weights.kernels import biases as biases_of
from keras_admm.weights.kernels import ends_as_kernel, kernels
from keras_admm.weights.values import is_tf_keras, named, on_device

THAW = "Set trainable=True on their layers and compile again, or name them in `exclude`."


def select(model, layers=None, exclude=None, biases=False, training=True):
    """The variables to compress, by name.

    Args:
        model: a built model of any kind, of Keras 3 or of tf_keras.
        layers: what to take: a name, a pattern (shell wildcards, fitted to the variable's path or to one part of it
            between slashes; what is just a name means that alone, brackets and all), a layer, a class of layers, a
            variable, a callable `variable -> bool`, or a list of these.
            By default every trainable kernel and embedding of rank 2 and more, by its role in a layer of Keras or, in
            other layers, by whole words of its name; biases, normalisation and the factors of LoRA are never in it.
        exclude: what to leave out, same forms as `layers`.
        biases: bool, whether the layers' biases are taken like their kernels.
        training: bool, whether they are to be trained; else frozen and quantized ones are taken as well.

    Returns:
        A dict of unique names to trainable variables: `keras.Variable`s, for tf_keras `tf.Variable`s. A variable
        that layers share is in it once.

    Raises:
        ValueError: for an unbuilt model, a pattern that fits nothing, a quantized variable, a weight that is not
            finite, or nothing left.
    """
    chosen = choose(model, layers, exclude, biases, training)
    trainable = {id(v) for v in model.trainable_variables}
    frozen = [n for n, v in choose(model, layers, exclude, training=False).items() if id(v) not in trainable]
    if not chosen:
        received = f"layers={layers!r}, exclude={exclude!r}, which leave none of {sorted(named(model))}"
        raise ValueError(
            f"{model.name}: at least one variable must be compressed. Received: "
            + (f"frozen ones alone, {frozen}. {THAW}" if frozen else f"{received}. Choose others.")
        )
    if training and frozen and layers is None:
        _say_frozen(model, frozen)
    for name, variable in chosen.items() if training else ():
        _check_variable(name, variable, id(variable) in trainable)
    return chosen


def choose(model, layers=None, exclude=None, biases=False, training=True):
    """The variables that `select` takes, which it then looks into; perhaps none."""
    check_model("layers", model)
    check_choice(model.name, "layers", layers)
    check_choice(model.name, "exclude", exclude)
    _check_built(model, training)
    by_name = named(model)
    wanted = {id(v) for v in [*kernels(model), *(biases_of(model) if biases else ())]}
    # Asked of the model: in tf_keras the variables of a frozen layer do not know that they are frozen.
    candidates = {id(v) for v in model.trainable_variables} | (set() if training else _weights_at_rest(model))
    by_rule = {n: v for n, v in by_name.items() if id(v) in candidates & wanted}
    chosen = by_rule if layers is None else _chosen(model, by_name, layers, wanted)
    left_out = _chosen(model, by_name, exclude, wanted) if exclude is not None else {}
    if training:
        _check_quantized(
            {n: v for n, v in (by_name if layers is None else chosen).items() if id(v) in wanted}, left_out
        )
    return {name: v for name, v in chosen.items() if name not in left_out}


def _weights_at_rest(model):
    """The ids of variables that were made to be trained and are frozen, and of quantized kernels; of no state."""
    ids = set()
    for layer in every_layer(model):
        ids |= {id(v) for v in made_trainable(layer)}
        ids |= {id(v) for v in layer.variables if ends_as_kernel(v)}
    return ids


def _say_frozen(model, frozen):
    """Warn of kernels that stay as they are, though nothing else was asked for."""
    lora = any("lora" in names.words(name.split("/")[-1]) for name in named(model))
    which = "that LoRA has frozen are" if lora else "of frozen layers are"
    merge = "Merge the factors into them (a new layer with the sum), or compress before enable_lora()."
    warnings.warn(
        f"{model.name}: kernels {which} not trained, so not compressed. Received: {frozen}. {merge if lora else THAW}",
        stacklevel=3,
    )


def left_out(model, chosen):
    """The names of a model's float variables of rank 2 and more that are no kernels, and are not in `chosen`."""
    found = {n: v for n, v in named(model).items() if len(v.shape) > 1 and sum(size > 1 for size in v.shape) > 1}
    known = {id(v) for v in kernels(model)}
    return [n for n, v in found.items() if n not in chosen and id(v) not in known and "mask" not in names.words(n)]


def fitting(model, item):
    """The names of a model's variables that an entry of `layers` fits, whatever their kind; raises where none does."""
    return set(_chosen(model, named(model), item, {id(v) for v in model.variables}))


def _chosen(model, named, items, wanted):
    chosen = {}
    for item in listed(items):
        if isinstance(item, str):
            # A layer's name stands for its kernels; the full path for whatever variable it names.
            fitted = {n: named[n] for n in names.fitting(item, list(named))}
            found = {name: v for name, v in fitted.items() if id(v) in wanted or item == name}
        elif isinstance(item, type):
            ids = {id(v) for layer in every_layer(model) if isinstance(layer, item) for v in layer.variables}
            found = {name: v for name, v in named.items() if id(v) in ids & wanted}
        else:
            found = {name: v for name, v in named.items() if _matches(item, v, wanted)}
        if not found:
            raise ValueError(
                f"layers / exclude: each entry must choose at least one variable. Received: {item!r}, which chooses "
                f"none of {sorted(named)}. Give a name, a wildcard such as 'conv*', a layer, a variable or a callable."
            )
        chosen.update(found)
    return chosen


def _matches(item, variable, wanted):
    if hasattr(item, "variables"):
        return id(variable) in wanted and any(variable is v for v in item.variables)
    if hasattr(item, "assign"):
        return variable is item
    return bool(item(variable))


def _check_built(model, training):
    if is_tf_keras(model) and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{model.name}: a model of tf_keras needs the TensorFlow backend. Received: the "
            f"{keras.backend.backend()} backend. Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    if not getattr(model, "built", False) or training and not model.variables:
        raise ValueError(
            f"{model.name}: the model must be built before its weights can be compressed. Received: a model without "
            "variables. Call model.build(input_shape), or the model on a batch of data, first; where it has no call, "
            "each of the models and layers in it."
        )


def _check_quantized(named, left_out):
    for name, variable in named.items():
        dtype = keras.backend.standardize_dtype(variable.dtype)
        quantized = "int" in dtype or "float8" in dtype
        if quantized and name not in left_out:
            raise ValueError(
                f"{name}: a variable must be a float one to be trained to a constraint. Received: dtype="
                f"{dtype}, a quantized variable. Compress before model.quantize(), or exclude it."
            )


def _check_variable(name, variable, trainable):
    if not trainable:
        raise ValueError(
            f"{name}: only trainable variables can be compressed. Received: a variable with trainable=False. {THAW}"
        )
    if not bool(ops.all(ops.isfinite(on_device(variable)))):
        raise ValueError(
            f"{name}: the weights must be finite. Received: NaN or infinite values. Load or train a sound model first."
        )
