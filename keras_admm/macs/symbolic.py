"""Symbolic inputs of a model, and its run on them: shapes without computing anything."""

import keras
import numpy as np

from keras_admm import checks, graph, weights


def inputs(model, shape=None):
    """Symbolic inputs, in the structure that the model is called with; None where nothing tells of them.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        shape: of the model's inputs, the batch first; a list or dict of shapes for several. By default the shapes
            that the model has, with one sample.
    """
    return _inputs(model) if shape is None else _given(model, shape)


def is_open(inputs):
    """Whether the size of an axis is not known, or nothing is."""
    return inputs is None or any(None in tuple(x.shape) for x in keras.tree.flatten(inputs))


def run(model, inputs, scope):
    """Traces a call of the model on symbolic inputs, a Keras 3 model in a scope (`keras.StatelessScope`)."""
    if weights.is_tf_keras(model):
        import tensorflow as tf

        tf.function(lambda x: model(x, training=False)).get_concrete_function(inputs)
    else:
        _Run(model, scope).compute_output_spec(inputs)


class _Run(keras.Operation):
    """A call of the model that Keras must trace: a model itself may answer from what its layers promise."""

    def __init__(self, model, scope):
        super().__init__()
        self._model, self._scope = model, scope

    def call(self, inputs):
        with self._scope:
            return self._model(inputs, training=False)


def _inputs(model):
    """Symbolic inputs of one sample, in the structure that the model is called with, or None."""
    if weights.is_tf_keras(model):
        return _tf_keras_inputs(model)
    if getattr(model, "inputs", None):
        inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return keras.tree.map_structure(lambda t: keras.KerasTensor((t.shape[0] or 1, *t.shape[1:]), t.dtype), inputs)
    config = model.get_build_config() or {}
    shape = config.get("input_shape")
    return None if not _is_shape(shape) else keras.KerasTensor((1, *shape[1:]))


def _given(model, shape):
    """Symbolic inputs of the given shapes, of the types that the model has."""
    must = "a tuple of ints, the batch first, or a list or dict of such tuples for several inputs"
    if not isinstance(shape, (list, tuple, dict)):
        raise TypeError(checks.refused(model.name, "input_shape", must, shape, "Pass for example (None, 128)."))
    shape = graph.inputs_by_name(model.name, "input_shape", model, shape)
    tensors = keras.tree.flatten(getattr(model, "inputs", None) or [])
    shapes = [shape] if _is_shape(shape) else list(shape.values() if isinstance(shape, dict) else shape)
    if not shapes or not all(map(_is_shape, shapes)) or tensors and len(tensors) != len(shapes):
        raise ValueError(checks.refused(model.name, "input_shape", must, shape, "Pass for example (None, 128)."))
    types = [t.dtype for t in tensors] or ["float32"] * len(shapes)
    if weights.is_tf_keras(model):
        import tensorflow as tf

        made = [tf.TensorSpec((1, *s[1:]), t) for s, t in zip(shapes, types, strict=True)]
    else:
        made = [keras.KerasTensor((1, *s[1:]), t) for s, t in zip(shapes, types, strict=True)]
    if isinstance(shape, dict):
        return dict(zip(shape, made, strict=True))
    return made[0] if _is_shape(shape) else made


def _is_shape(shape):
    return isinstance(shape, (list, tuple)) and len(shape) > 0 and all(map(_is_size, shape))


def _is_size(size):
    return size is None or isinstance(size, (int, np.integer)) and type(size) is not bool and size > 0


def _tf_keras_inputs(model):
    import tensorflow as tf

    spec = model.save_spec(dynamic_batch=False)
    if spec is None or spec[1]:
        return None
    inputs = spec[0][0]
    return tf.nest.map_structure(lambda s: tf.TensorSpec((s.shape[0] or 1, *s.shape[1:]), s.dtype), inputs)
