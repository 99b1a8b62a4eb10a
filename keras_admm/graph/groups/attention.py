"""Rules for groups of attention: heads leave whole, and with them all that is made of them."""

import numpy as np

from keras_admm.graph.calls import Tensor
from keras_admm.graph.groups.group import READS

SCALED = "divides scores by the square root of how many places of keys there are"
PLACES = "goes over them as places"


def multi_head(layer, call, widths):
    """A head is its part of query, key, value and output.

    The places of all heads' values leave by themselves, but where they are as many as those of keys: they then stay
    so, for JAX computes such attention alone.
    """
    heads = dict.fromkeys(("query", "key", "value", "gate"), layer._num_heads)
    made = _projected(layer, call, heads, layer._key_dim, layer._value_dim, widths)
    units = widths.unite(*(axes[-2] for axes in made.values()))
    if layer._key_dim == layer._value_dim:
        widths.freeze(made["value"][-1], None)
    _output(layer, call, units, made["value"][-1], widths)


def grouped_query(layer, call, widths):
    """A head of keys and values leaves with all heads of queries that share it."""
    heads = dict.fromkeys(("query", "gate"), layer.num_query_heads)
    heads |= dict.fromkeys(("key", "value"), layer.num_key_value_heads)
    made = _projected(layer, call, heads, layer.head_dim, layer.head_dim, widths)
    repeats = heads["query"] // heads["key"]
    shared = widths.unite(made["key"][-2], made["value"][-2])
    units = np.repeat(shared, repeats)
    for name in made.keys() - {"key", "value"}:
        widths.unite(units, made[name][-2])
    # One number is the size of them all.
    widths.freeze(made["value"][-1], SCALED)
    _output(layer, call, units, made["value"][-1], widths)
    # It gives as many channels as its query has.
    widths.unite(*(widths.axes(x)[-1] for x in (_given(call)["query"], call.outputs[0])))


def _given(call):
    """The query, value and key of an attention layer's call."""
    given = dict(zip(("query", "value", "key"), call.args, strict=False)) | call.kwargs
    if not isinstance(given.get("key"), Tensor):
        given["key"] = given["value"]
    return given


def _projected(layer, call, heads, key_dim, value_dim, widths):
    """The labels of query, key, value and perhaps a gate, by name; their last two axes are heads and places."""
    given, made = _given(call), {}
    dims = {"query": key_dim, "key": key_dim, "value": value_dim, "gate": value_dim}
    for name in [*dims][: 4 if layer.get_config().get("use_gate") else 3]:
        x = given["query" if name == "gate" else name]
        for labels in widths.axes(x)[:-1]:
            widths.freeze(labels, PLACES)
        inner = getattr(layer, f"_{name}_dense")
        (out,) = widths.inner(inner, [x], [[*x.shape[:-1], heads[name], dims[name]]])
        made[name] = widths.axes(out)
    widths.unite(made["query"][-1], made["key"][-1])
    widths.freeze(made["key"][-1], SCALED)
    if "gate" in made:
        widths.unite(made["gate"][-1], made["value"][-1])
    return made


def _output(layer, call, heads, values, widths):
    """What comes of the heads, and perhaps their scores."""
    places = _given(call)["query"].shape[:-1]
    axes = [*(None for _ in places), heads, values]
    x = widths.tensor(layer, [*places, len(heads), len(values)], axes)
    (out,) = widths.inner(layer._output_dense, [x], [call.outputs[0].shape])
    widths.give(call.outputs[0], widths.axes(out))
    for scores in call.outputs[1:]:
        widths.give(scores, [None, heads, *(None for _ in scores.shape[2:])])


def attention(layer, call, widths):
    """Products of queries and keys: the same channel of both; it gives those of the values."""
    query, value, *key = call.args[0]
    key = key[0] if key else value
    _matched(widths.axes(query), widths.axes(key), widths)
    *places, channels = widths.axes(value)
    for labels in (*places, *widths.axes(query)[:-1], *widths.axes(key)[:-1]):
        widths.freeze(labels, PLACES)
    widths.give(call.outputs[0], [*(None for _ in call.outputs[0].shape[1:]), channels])


def additive(layer, call, widths):
    attention(layer, call, widths)
    if layer.use_scale:
        widths.carry(layer.scale, 0, widths.axes(call.args[0][0])[-1], READS)


def _matched(query, key, widths):
    widths.unite(query[-1], key[-1], reason="multiplies them with what cannot shrink")
