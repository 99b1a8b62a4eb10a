"""A model in half precision, computed in float32: mixed_float16, mixed_bfloat16, and weights that are half floats."""

import contextlib

import keras

from keras_admm.export.tflite.convert import layers
from keras_admm.export.tflite.inputs import HALF, symbolic
from keras_admm.weights import is_tf_keras


def policies(model):
    """Dict of the name of each layer that computes or stores in half precision to its dtype policy's name."""
    found = {}
    for layer in layers(model):
        holds = isinstance(layer, keras.Model) or type(layer).__name__ == "InputLayer"
        if not holds and {layer.compute_dtype, layer.dtype, *(_dtype(v) for v in _own(layer))} & set(HALF):
            found[layer.name] = _policy(layer).name
    if not is_tf_keras(model):
        found.update({t.name: str(t.dtype) for t in _half_inputs(model)})
    return found


def check(model):
    """Refuses what has no float32 form that computes the same.

    Raises:
        ValueError: naming the layer.
    """
    for layer in layers(model):
        if _quantized(layer) not in (None, "int4"):
            raise ValueError(
                f"{layer.name}: LiteRT's own operations do not take layers that Keras has quantized. Received: a "
                f"{type(layer).__name__} of the policy {_policy(layer).name!r}. Export the model as it was before "
                "quantize(), with this function's `quantize`."
            )
        refused = (*HALF, "float64") if is_tf_keras(model) else ("float64",)
        other = [v for v in _own(layer) if _dtype(v) in refused]
        if other:
            raise ValueError(
                f"{layer.name}: LiteRT computes on float32 weights. Received: a {type(layer).__name__} with weights in "
                f"{_dtype(other[0])}. Build the model with dtype='float32' and give it these weights by "
                "set_weights()."
            )


@contextlib.contextmanager
def in_float32(model):
    """While this is open, all layers compute in float32, whatever their policies are; afterwards as before.

    Yields:
        Dict of `id(variable)` to the float32 value of each variable that is stored in half precision.
    """
    own = [*layers(model), model]
    tensors = _half_inputs(model)
    before = [(x, name, vars(x)[name]) for x in own for name in _names(x) if name in vars(x)]
    before += [(t, "_dtype", t._dtype) for t in tensors]
    try:
        for layer in own:
            _set(layer)
        for tensor in tensors:
            tensor._dtype = "float32"
        halves = [v for v in model.variables if _dtype(v) in HALF]
        yield {id(v): keras.ops.cast(keras.ops.convert_to_tensor(v), "float32") for v in halves}
    finally:
        for thing, name, value in before:
            object.__setattr__(thing, name, value)


def note(found, relative):
    """What the report says of a model in half precision."""
    names = list(found)
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"A float32 copy was converted: {listed} compute or store in {', '.join(sorted(set(found.values())))}. Its "
        f"outputs differ from the model's own by at most {relative:.2g} of the largest."
    )


def _names(layer):
    return ("_dtype_policy", "_compute_dtype_object") if is_tf_keras(layer) else ("_dtype_policy",)


def _set(layer):
    if is_tf_keras(layer):
        import tf_keras

        layer._set_dtype_policy(tf_keras.mixed_precision.Policy("float32"))
    elif not _quantized(layer):
        object.__setattr__(layer, "_dtype_policy", keras.dtype_policies.DTypePolicy("float32"))


def _half_inputs(model):
    """The half-precision inputs of a graph and of those in it: each converts what it is given to its inputs' types."""
    models = [] if is_tf_keras(model) else [x for x in [*layers(model), model] if isinstance(x, keras.Model)]
    return [t for each in models for t in symbolic(each) if t.dtype in HALF]


def _policy(layer):
    return layer._dtype_policy if is_tf_keras(layer) else layer.dtype_policy


def _quantized(layer):
    """The mode in which Keras 3 has quantized a layer, or None."""
    return None if is_tf_keras(layer) else layer.dtype_policy.quantization_mode


def _own(layer):
    return [] if isinstance(layer, keras.Model) else layer.variables if not is_tf_keras(layer) else layer.weights


def _dtype(variable):
    return keras.backend.standardize_dtype(variable.dtype)
