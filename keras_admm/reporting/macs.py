"""How often each weight of a model is used for one sample, told by the shapes of a symbolic run."""

import contextlib

import keras
import numpy as np

from keras_admm import checks, weights
from keras_admm.graph import kinds
from keras_admm.reporting.products import Products


def uses(model, input_shape=None):
    """Counts how often each weight is used, one sample given.

    Nothing is computed: the model is called on symbolic inputs, and each layer's call tells its shapes.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        input_shape: of the model's inputs, the batch first, where they leave a size open; a list or dict of shapes
            for several inputs.

    Returns:
        A dict of `id(variable)` to an int, or to `None` where it cannot be known (a variable of a layer with no rule
        is not in it), and a sentence that says why the run could not be made, empty if it was.

    Example:

    >>> model = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(2)])
    >>> counted, _ = uses(model)
    >>> counted[id(model.layers[0].kernel)]
    5
    """
    inputs = _inputs(model) if input_shape is None else _given(model, input_shape)
    if inputs is None or None in _shape(inputs, flat=True):
        return {}, "MACs cannot be known: the shape of the model's inputs is open. Pass `input_shape`."
    record = Record()
    products = Products(model, lambda: record._inside_rule)
    try:
        with record.attached(model._flatten_layers()), products.watched():
            _run(model, inputs, products)
    except Exception as error:  # whatever a layer of the user's raises on symbolic inputs
        return {}, f"MACs cannot be known: the model cannot be run on symbolic inputs ({type(error).__name__})."
    batch = keras.tree.flatten(inputs)[0].shape[0]
    masked = any(type(layer).__name__ == "Masked" for layer in model._flatten_layers())
    for key, count in products.uses.items():
        if key in record.uses:
            record.uses[key] = _with_products(record.uses[key], count, masked)
    return {key: count if count is None else count // batch for key, count in record.uses.items()}, ""


def _with_products(before, count, masked):
    """How often a weight is used, what its own layer does with it and the products outside of it together."""
    if count is not None and before is not None:
        return before + count
    # What a layer only looks up, and something unknown reads too, may be multiplied there; a mask reads it as well.
    return None if count is None and before == 0 and not masked else before


class Record:
    """What the calls of a model's layers tell of their weights.

    Attributes:
        uses: dict of `id(variable)` to how often each of its weights is used, or `None`.
    """

    def __init__(self):
        self.uses = {}
        self._place = None
        self._inside_rule = False

    @contextlib.contextmanager
    def attached(self, layers):
        """While this is open, each call of one of the layers is noted."""
        own = [(layer, _called(layer), vars(layer).get(_called(layer))) for layer in layers]
        for layer, name, call in own:
            # Past __setattr__, which would track it.
            rule = kinds.uses_of(layer) if call is None else None
            vars(layer)[name] = self._noting(layer, getattr(layer, name), rule)
        try:
            yield
        finally:
            for layer, name, call in own:
                vars(layer).pop(name)
                if call is not None:
                    vars(layer)[name] = call

    def _noting(self, layer, call, rule):
        def noted(*args, **kwargs):
            inputs = args[0] if args else next(iter(kwargs.values()), None)
            self._place = self._place or _place(inputs)  # the first to be called is the model
            if self._inside_rule:
                return call(*args, **kwargs)
            self._inside_rule = rule is not None
            try:
                outputs = call(*args, **kwargs)
            finally:
                self._inside_rule = False
            if rule is not None:
                self._note(layer, rule, inputs, outputs)
            return outputs

        return noted

    def _note(self, layer, rule, inputs, outputs):
        # The body of a loop is traced once for all its rounds, in a graph of its own.
        traced_once = _place(inputs) is not self._place
        count = None if traced_once else rule(layer, _shape(inputs), _shape(outputs))
        for variable in weights.kernels(layer):
            before = self.uses.get(id(variable), 0)
            self.uses[id(variable)] = None if count is None or before is None else before + count


def _called(layer):
    """The method by which Keras calls a layer: another one where it has quantized it."""
    return "quantized_call" if getattr(layer, "quantization_mode", None) else "call"


def _place(inputs):
    """The graph, or on JAX the trace, that a tensor is in; None on torch, whose loops are real."""
    tensor = next(iter(keras.tree.flatten(inputs)), None)
    return getattr(tensor, "graph", getattr(tensor, "_trace", None))


def _shape(tensors, flat=False):
    """The shape of the first tensor of a structure, or with `flat` the sizes of all."""
    shapes = [tuple(t.shape) for t in keras.tree.flatten(tensors) if hasattr(t, "shape")]
    return [size for shape in shapes for size in shape] if flat else shapes[0]


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


def _run(model, inputs, products):
    if weights.is_tf_keras(model):
        import tensorflow as tf

        tf.function(lambda x: model(x, training=False)).get_concrete_function(inputs)
    else:
        _Run(model, products).compute_output_spec(inputs)


class _Run(keras.Operation):
    """A call of the model that Keras must trace: a model itself may answer from what its layers promise."""

    def __init__(self, model, products):
        super().__init__()
        self._model, self._products = model, products

    def call(self, inputs):
        with self._products.scope():
            return self._model(inputs, training=False)
