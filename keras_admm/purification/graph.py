"""The way through a model: its layers in the order in which they compute, those of models in it too."""

import collections
from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from keras_admm.layers import Masked
from keras_admm.purification import kinds
from keras_admm.weights import check_model, is_tf_keras


class Edge:
    """A tensor between two layers.

    Attributes:
        shape: tuple of sizes, None where open.
        constant: for each channel its value if it is the same for all inputs, else NaN.
        needed: for each channel whether an output depends on it.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        channels = (self.shape[-1] if len(self.shape) > 1 else 1) or 1
        self.constant = np.full(channels, np.nan)
        self.needed = np.zeros(channels, bool)


class Step(NamedTuple):
    """A call of a layer.

    Attributes:
        node: Keras's record of it.
        inputs, outputs: lists of `Edge`.
    """

    node: object
    inputs: list
    outputs: list

    def variables(self):
        """Everything that it reads, each once."""
        given = tree.flatten((self.node.arguments.args, self.node.arguments.kwargs))
        own = getattr(self.node.operation, "variables", [])
        return {id(v) for v in (*own, *given) if isinstance(v, keras.Variable)}


def follow(model):
    """The steps of a model, first to last, and the edges that are its outputs.

    Raises:
        ValueError: for a model that is not built, or has no graph.
    """
    check_model("purify", model)
    graph = _graph(model)
    if is_tf_keras(model) or (graph is None and model.built):
        raise ValueError(
            f"{model.name}: only a Sequential or Functional model of Keras 3 has a graph that can be followed. "
            f"Received: a {type(model).__module__}.{type(model).__name__}. "
            "Rebuild it with keras.Sequential or keras.Model(inputs, outputs)."
        )
    if graph is None:
        raise ValueError(
            f"{model.name}: the model must be built before its weights can be followed. Received: a model without "
            "variables. Call model.build(input_shape), or the model on a batch of data, first."
        )
    return _walk(graph, [Edge(x.shape) for x in graph.inputs])


def stages(steps, array):
    """The stages of each step, or None for a barrier.

    Args:
        steps: list of `Step`.
        array: function of a variable that gives its value, an array to be written to.
    """
    readers = collections.Counter(v for step in steps for v in step.variables())
    return [_stages(step, array) if all(readers[v] == 1 for v in step.variables()) else None for step in steps]


def _stages(step, array):
    layer = step.node.operation
    while isinstance(layer, Masked):
        layer = layer.layer
    shapes = [[edge.shape for edge in edges] for edges in (step.inputs, step.outputs)]
    return kinds.stages(layer, *shapes, array) if _plain(step.node) else None


def _plain(node):
    """Whether a call has one argument, tensors alone: no Keras mask, no `training=True`."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    same = list(map(id, tree.flatten(args))) == list(map(id, node.input_tensors))
    return len(args) == 1 and same and all(value is None or value is False for value in kwargs.values())


def _walk(graph, inputs):
    edges, steps = dict(zip(map(id, graph.inputs), inputs, strict=True)), []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            before = [edges[id(x)] for x in node.input_tensors]
            if _is_inside(node, before):
                inner, after = _walk(_graph(node.operation), before)
            else:
                after = [edges.get(id(x)) or Edge(x.shape) for x in node.outputs]
                inner = [] if node.is_input else [Step(node, before, after)]
            steps += inner
            edges.update(zip(map(id, node.outputs), after, strict=True))
    return steps, [edges[id(x)] for x in graph.outputs]


def _is_inside(node, inputs):
    """Whether a node is a model whose own layers can be followed: not if Keras may reorder or reshape its inputs."""
    graph = _graph(node.operation)
    if graph is None or not _plain(node) or len(inputs) != 1 or len(graph.inputs) != 1:
        return False
    return [len(x.shape) for x in graph.inputs] == [len(x.shape) for x in inputs]


def _graph(model):
    """The model as a graph of layers; None if it is none, or computes with a `call` of its own, or is not built."""
    base = next((c for c in type(model).__mro__ if c.__name__ in ("Functional", "Sequential")), None)
    if base is None or type(model).call is not base.call or is_tf_keras(model):
        return None
    return model._functional if isinstance(model, keras.Sequential) else model
