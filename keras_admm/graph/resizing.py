"""How the config of a layer changes when some of its channels leave: `units`, `filters`, `num_heads`, `target_shape`.

Each function takes a layer and what is `Kept` of its axes, and returns a dict of the changes. A layer whose config says
nothing of sizes needs none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from keras_admm.graph.kind import is_layer_class, resized_of


@dataclass(frozen=True)
class Kept:
    """What stays of a layer's axes.

    Attributes:
        places: function of a variable of the layer and an axis that gives the places along it that stay, an array.
        inputs, outputs: for each tensor that one of its calls takes or gives a tuple of such an array, or None where
            all stay, for each axis.
    """

    places: Callable
    inputs: list
    outputs: list

    def size(self, variable, axis):
        """How many places along an axis of a variable stay."""
        return len(self.places(variable, axis % len(variable.shape)))


def changes(layer, kept):
    """The changes of the config of a layer, or of an operation of `keras.ops`: none where its class has no rule."""
    is_layer = is_layer_class(type(layer))
    rule = resized_of(layer) if is_layer else OPERATIONS.get(type(layer).__name__)
    return rule(layer, kept) if rule else {}


def dense(layer, kept):
    return {"units": kept.size(layer.kernel, -1)}


def einsum(layer, kept):
    shape = list(layer.partial_output_shape)
    for axis, places in enumerate(kept.outputs[0][-len(shape) :]):
        if places is not None and shape[axis] is not None:
            shape[axis] = len(places)
    return {"output_shape": shape}


def convolution(layer, kept):
    axis = 1 if layer.data_format == "channels_first" else -1
    given = kept.inputs[0][axis]
    groups = layer.groups if given is None else len(given) // kept.size(layer.kernel, -2)
    return {"filters": kept.size(layer.kernel, -1), "groups": groups}


def transposed(layer, kept):
    return {"filters": kept.size(layer.kernel, -2)}


def separable(layer, kept):
    return {"filters": kept.size(layer.pointwise_kernel, -1)}


def embedding(layer, kept):
    return {"output_dim": kept.size(layer.embeddings, -1)}


def cell(layer, kept):
    return {"units": kept.size(layer.recurrent_kernel, 0)}


def convolving_cell(layer, kept):
    return {"filters": kept.size(layer.recurrent_kernel, -2)}


def stacked_cells(layer, kept):
    return {"cells": [{"config": changes(each, kept)} for each in layer.cells]}


def recurrent(layer, kept):
    """Of a layer that is made of its cell's arguments."""
    return changes(layer.cell, kept)


def around_a_cell(layer, kept):
    return {"cell": {"config": changes(layer.cell, kept)}}


def both_ways(layer, kept):
    held = {"layer": layer.forward_layer, "backward_layer": layer.backward_layer}
    return {name: {"config": changes(each, kept)} for name, each in held.items()}


def each_time(layer, kept):
    """Of a layer that is called for each step, which the tensors inside do not have."""
    inside = Kept(kept.places, *([axes[:1] + axes[2:] for axes in each] for each in (kept.inputs, kept.outputs)))
    return {"layer": {"config": changes(layer.layer, inside)}}


def attention(layer, kept):
    heads, key_dim = (kept.size(layer.query_dense.kernel, axis) for axis in (-2, -1))
    sizes = {"num_heads": heads, "key_dim": key_dim, "value_dim": kept.size(layer.value_dense.kernel, -1)}
    query, written = layer.query_dense.kernel, layer.output_dense.kernel
    out = tuple(kept.size(written, axis) for axis in range(2, len(written.shape)))
    alike = out == (kept.size(query, 0),) and layer.get_config()["output_shape"] is None
    return sizes if alike else {**sizes, "output_shape": out}


def grouped_query_attention(layer, kept):
    query, key = layer._query_dense.kernel, layer._key_dense.kernel
    sizes = kept.size(query, -1), kept.size(query, -2), kept.size(key, -2)
    return dict(zip(("head_dim", "num_query_heads", "num_key_value_heads"), sizes, strict=True))


def reshape(layer, kept):
    """The shape without the batch; of the operation, with it."""
    return {"target_shape": _sizes(layer.target_shape, kept.outputs[0][1:])}


def reshape_operation(layer, kept):
    return {"newshape": _sizes(layer.newshape, kept.outputs[0])}


def _sizes(shape, axes):
    return tuple(
        size if places is None or size == -1 else len(places) for size, places in zip(shape, axes, strict=True)
    )


def padding(layer, kept):
    """Of the zeros before and after the channels."""
    before, after = kept.inputs[0], kept.outputs[0]
    first = 2 if getattr(layer, "data_format", None) == "channels_first" else 1
    single = isinstance(layer.padding[0], int)
    pads = [layer.padding] if single else list(layer.padding)
    for axis, pad in enumerate(pads, first):
        pads[axis - first] = _pad(pad, before[axis], after[axis])
    return {"padding": pads[0] if single else tuple(pads)}


def pad_operation(layer, kept):
    axes = zip(layer.pad_width, kept.inputs[0], kept.outputs[0], strict=True)
    return {"pad_width": [list(_pad(*each)) for each in axes]}


def _pad(pad, before, after):
    """The zeros that stay, of those before and after what stays of the channels."""
    if after is None or not any(pad):
        return tuple(pad)
    first = int((after < pad[0]).sum())
    return first, len(after) - len(before) - first


def of_input(layer, kept):
    sizes = zip(layer.batch_shape, kept.outputs[0], strict=True)
    return {"batch_shape": tuple(size if places is None else len(places) for size, places in sizes)}


def group_normalization(layer, kept):
    """Whole groups leave."""
    places = kept.inputs[0][layer.axis]
    return {} if places is None else {"groups": layer.groups * len(places) // layer.input_spec.axes[layer.axis]}


def dropout(layer, kept):
    """Of the noise, which has its own sizes: None is that of what comes in, and of size 1 it is one for all."""
    shape = layer.noise_shape or ()
    axes = kept.outputs[0][len(kept.outputs[0]) - len(shape) :]
    sizes = zip(shape, axes, strict=True)
    noise = tuple(size if places is None or size in (None, 1) else len(places) for size, places in sizes)
    return {"noise_shape": noise} if noise else {}


def layer_scale(layer, kept):
    return {"projection_dim": kept.size(layer.gamma, 0)}


# Of operations of `keras.ops`, which may have the name of a layer, by the names of their classes.
OPERATIONS = {"Reshape": reshape_operation, "Pad": pad_operation}
