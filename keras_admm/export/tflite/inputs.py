"""The inputs of a model, by which the signature of its .tflite file is made."""

import re
from dataclasses import dataclass

import keras
import numpy as np

from keras_admm.graph import every_layer
from keras_admm.weights import is_tf_keras, of_class

HALF = ("float16", "bfloat16")
TEXT = ("TextVectorization", "IndexLookup")  # layers that read text; lookups of strings and integers are of the latter


@dataclass(frozen=True)  # a tuple would be a nest itself
class Input:
    """One of a model's inputs, in the order in which the flattened model takes them.

    Attributes:
        name: by which the .tflite file's signature knows it.
        shape: with None where it is free, the batch first.
        dtype: as Keras names it.
    """

    name: str
    shape: tuple
    dtype: str


def symbolic(model):
    """The flat list of the tensors that a model's graph begins with; empty for a subclassed model."""
    if is_tf_keras(model):
        return model.inputs or []
    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph.inputs if isinstance(graph, keras.Function) else []


def structure(model, given=None):
    """The nest of `Input`s that a model is called with; of a subclassed model it is read off the data.

    Args:
        model: a built model.
        given: a list of batches, or None.

    Raises:
        ValueError: for a subclassed model without data, or inputs of a kind that no .tflite file can take.
    """
    tensors = symbolic(model)
    if tensors:
        for tensor in tensors:
            _check_dense(tensor)
        return keras.tree.map_structure(_of_tensor, tensors[0] if of_class(model, "Sequential") else model.input)
    if not given:
        raise ValueError(
            f"{model.name}: the shape of the inputs must be known to convert a model. Received: a subclassed model, "
            "which does not tell it, without data. Pass a batch as `check_data`, from which it is read."
        )
    names = iter(_names(given[0]))
    return keras.tree.map_structure(lambda a: _of_data(next(names), a), given[0])


def check_types(model, nest):
    """Refuses inputs of text, naming the layer that reads them.

    Raises:
        ValueError: with how to take that layer out of the model.
    """
    for item in keras.tree.flatten(nest):
        if not np.issubdtype(_numpy(item.dtype), np.number) and item.dtype != "bool":
            reader = next((x for x in every_layer(model)[1:] if of_class(x, *TEXT)), None)
            named = f"the layer {reader.name} ({type(reader).__name__})" if reader else "the layers that read it"
            raise ValueError(
                f"{item.name}: LiteRT's own operations compute on numbers. Received: an input of dtype={item.dtype}. "
                f"Split the preprocessing off: apply {named} to the data before the model, and export what comes "
                "after it, for example keras.Model(layer_after.input, model.output)."
            )


def _name(dtype):
    # Keras's types are names, those of NumPy and TensorFlow have one, torch's print as one.
    return getattr(dtype, "name", str(dtype))


def _numpy(dtype):
    return np.dtype("O") if dtype in ("string", "str", "object", "resource", "variant") else np.dtype(dtype)


def _check_dense(tensor):
    kind = _kind(tensor)
    if kind:
        raise ValueError(
            f"{tensor.name.split(':')[0]}: a .tflite file takes dense arrays. Received: an input with "
            f"{kind}=True. Build the model with a dense input of the same shape, and pad or fill the data."
        )


def _kind(tensor):
    """`"sparse"` or `"ragged"`, or None for an input of dense arrays."""
    if isinstance(tensor, keras.KerasTensor):
        return "sparse" if tensor.sparse else "ragged" if tensor.ragged else None
    spec = type(tensor.type_spec).__name__  # of tf_keras: TensorSpec, SparseTensorSpec, RaggedTensorSpec
    return next((kind for kind in ("sparse", "ragged") if spec.lower().startswith(kind)), None)


def _names(batch):
    """For each array of a batch the key that it has there, made fit for a signature; or its number."""
    plain = isinstance(batch, dict) and not any(isinstance(v, (list, tuple, dict)) for v in batch.values())
    keys = [re.sub(r"\W", "_", str(key)) for key in sorted(batch)] if plain else []
    count = len(keras.tree.flatten(batch))
    return keys if len(set(keys)) == count else [f"input_{i}" for i in range(count)]


def _of_tensor(tensor):
    dtype = _name(tensor.dtype)
    return Input(tensor.name.split(":")[0], tuple(tensor.shape), "float32" if dtype in HALF else dtype)


def _of_data(name, array):
    array = array if hasattr(array, "dtype") else np.asarray(array)
    dtype = _name(array.dtype)
    dtype = "string" if dtype.startswith(("str", "bytes", "object")) else dtype
    # Keras takes every floating input to the type that its layers compute in.
    return Input(name, (None, *np.shape(array)[1:]), "float32" if "float" in dtype else dtype)
