"""Copies of tf_keras models: as they are, and without nested models."""

import contextlib

import keras

from keras_admm.errors import reason
from keras_admm.export.schemes.quantize import load
from keras_admm.export.twin import Names, to_tf_keras
from keras_admm.graph import calls, every_layer
from keras_admm.weights import is_tf_keras

# TFMOT's wrappers, by name: TFMOT need not be there to look for them.
WRAPPERS = {
    "PruneLowMagnitude": "TFMOT's strip_pruning",
    "ClusterWeights": "TFMOT's strip_clustering",
    "QuantizeAnnotate": "the model as it was before quantize_annotate_model",
    "QuantizeWrapper": "the model as it was before quantization",
}


def plain(model):
    """The model in tf_keras: translated, or a copy.

    Raises:
        ValueError: if TFMOT has wrapped it.
    """
    if not is_tf_keras(model):
        return to_tf_keras(model)
    _check(model)
    for layer in every_layer(model)[1:]:
        wrapper = next((c.__name__ for c in type(layer).__mro__ if c.__name__ in WRAPPERS), None)
        if wrapper:
            raise ValueError(
                f"{layer.name}: a model without TFMOT's wrappers is expected. Received: a {type(layer).__name__}. "
                f"Pass {WRAPPERS[wrapper]}."
            )
    return clone(model)


def clone(model):
    """A copy of a tf_keras model: the same layers, weights and `trainable` flags; not compiled.

    Raises:
        ValueError: for a model that is not built, is subclassed, or has a layer that cannot be made again.
    """
    import tf_keras

    _check(model)
    quantized = any(c.__name__.startswith("Quantize") for x in every_layer(model)[1:] for c in type(x).__mro__)
    try:
        with load().quantization.keras.quantize_scope() if quantized else contextlib.nullcontext():
            copy = tf_keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{model.name}: it must be possible to make each layer again from its config. Received: a model with "
            f"which that fails ({reason(error)}). Give its own layers a get_config() that names all arguments."
        ) from error
    for layer in every_layer(copy)[1:]:
        layer.finalize_state()  # Normalization computes with constants made of its weights
    return copy


def flat(model):
    """The same layers in one graph, without nested models.

    Raises:
        ValueError: for a model in it that has no graph.
    """
    import tf_keras

    _name(model)
    if not any(isinstance(layer, tf_keras.Model) for layer in model.layers):
        return model
    graph = _followed(model)
    inputs = keras.tree.map_structure(
        lambda x: tf_keras.Input(batch_shape=x.shape, dtype=x.symbol.dtype, name=x.layer.name), graph.inputs
    )
    outputs = graph.run(inputs, lambda call, args, kwargs: call.layer(*args, **kwargs))
    return tf_keras.Model(inputs, outputs, name=model.name)


def _name(model):
    """Gives layers of models in the model names of their own, that TFMOT will not make up either."""
    import tf_keras

    names, inputs = Names(), [x.layer for x in keras.tree.flatten(_followed(model).inputs)]
    inner = [layer for layer in every_layer(model) if not isinstance(layer, tf_keras.Model)]
    for layer in [*inputs, *(layer for layer in inner if not isinstance(layer, tf_keras.layers.InputLayer))]:
        layer._name = names.new(layer.name)


def _check(model):
    import tf_keras

    for each in every_layer(model):
        if isinstance(each, tf_keras.Model):
            _followed(each)


def _followed(model):
    return calls.of(model, "it can be made again")
