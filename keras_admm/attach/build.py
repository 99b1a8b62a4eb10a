"""Building what a fit will train before it does: also what only a training step would make."""

import keras

from keras_admm.attach.fit import fit_locals, has_own_train_step
from keras_admm.attach.keras_optimizer import check_known
from keras_admm.graph import every_layer
from keras_admm.weights import is_tf_keras


def build(model):
    """Make all variables of the model of the running fit that its first training step would make.

    A model without an input shape is built as that step would build it, from the first batch. Layers that are called
    with `training=True` alone are built by tracing the model's call so.

    Raises:
        ValueError: where an optimizer was built before such a variable was there: it would not train it.
    """
    if is_tf_keras(model):
        _build_tf_keras(model)
        return
    inputs, iterator = _known_inputs(model), fit_locals(model).get("epoch_iterator")
    if iterator is not None and (not model.built or not model.variables):
        inputs = keras.tree.map_structure(_symbolic_like, _first_inputs(iterator))
        iterator.reset()
        inputs = _called(model, inputs, lambda x: keras.src.backend.compute_output_spec(model, x, training=False))
    before = {id(v) for v in model.variables}
    if inputs is not None and _waits(model) and model._call_has_training_arg:
        keras.src.backend.compute_output_spec(model, inputs, training=True)
    if model.optimizer is not None:
        trained = model.trainable_variables
        check_known(model, model.optimizer, [v for v in trained if not (has_own_train_step(model) and id(v) in before)])


def _called(model, inputs, call):
    """The inputs, after a call of the model with them; None where its own `train_step` must call it with others."""
    try:
        call(inputs)
    except Exception:
        if not has_own_train_step(model):
            raise  # as the first step would
        return None
    return inputs


def _waits(model):
    """Whether a layer is not built yet though its model is: it may be called in training alone."""
    return not all(layer.built for layer in every_layer(model))


def _known_inputs(model):
    """Symbolic inputs of a model, as it was built or called, or None."""
    if getattr(model, "inputs", None):
        return model.inputs[0] if len(model.inputs) == 1 else getattr(model, "_inputs_struct", model.inputs)
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    return _symbolic(next(iter(shapes.values())), model.input_dtype) if len(shapes) == 1 else None


def _symbolic(shape, dtype):
    if isinstance(shape, dict):
        return {name: _symbolic(each, dtype) for name, each in shape.items()}
    if isinstance(shape, list) or shape and isinstance(shape[0], (tuple, list)):
        return [_symbolic(each, dtype) for each in shape]
    return keras.KerasTensor(shape, dtype)


def _symbolic_like(x):
    return keras.KerasTensor(x.shape, keras.backend.standardize_dtype(x.dtype))


def _first_inputs(iterator):
    """What the first batch of a fit's `EpochIterator` gives to the model."""
    _, _, batches = next(iter(iterator.enumerate_epoch()))
    batch = batches[0] if isinstance(batches, (list, tuple)) else next(batches)
    return keras.utils.unpack_x_y_sample_weight(batch)[0]


def _build_tf_keras(model):
    handler = fit_locals(model).get("data_handler")
    if handler is None:
        return
    if not model.built and _called(model, _first_inputs_of_tf_keras(handler), model) is None:
        return
    if _waits(model):
        import tensorflow as tf

        inputs = tf.nest.map_structure(tf.TensorSpec.from_tensor, _first_inputs_of_tf_keras(handler))
        tf.function(lambda x: model(x, training=True)).get_concrete_function(inputs)  # traced, never run


def _first_inputs_of_tf_keras(handler):
    batch = next(iter(handler._dataset))
    return batch[0] if isinstance(batch, tuple) else batch
