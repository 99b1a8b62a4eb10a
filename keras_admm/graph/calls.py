"""The calls of a model's layers, in the order in which they compute; those of models in the model too."""

import collections
from dataclasses import dataclass

import numpy as np
from keras import tree

from keras_admm.graph.libraries import LIBRARIES, library_of
from keras_admm.graph.library import graph_class


@dataclass(frozen=True, eq=False)
class Tensor:
    """A symbolic tensor of a graph, which one call gives and others take.

    Attributes:
        symbol: the library's own symbolic tensor, with `dtype` and the like.
        layer: the layer or operation that it comes from; of an input its `InputLayer`.
    """

    symbol: object
    layer: object

    @property
    def shape(self):
        """A tuple of sizes, None where one is open."""
        return tuple(self.symbol.shape)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Attributes:
        layer: the layer or operation that is called. A model only if it cannot be opened: it has no graph, or is
            called with other arguments than its inputs and a bool `training`, or with inputs of other ranks.
        args, kwargs: what with: structures with a `Tensor` for each tensor. Keras masks that came along with tensors
            are not in them; `training` is, if a model around it was called with one and the layer takes it.
        inputs: list of every `Tensor` that it reads, those masks among them.
        masks: list of the Keras mask of each tensor in the call as it was recorded, the library's symbol or None.
        outputs: list of the `Tensor`s that it gives.
        variables: dict of `id(variable)` to each variable that it reads: the layer's, and those in the arguments.
    """

    layer: object
    args: object
    kwargs: dict
    inputs: list
    masks: list
    outputs: list
    variables: dict

    @property
    def plain(self):
        """Whether it has one argument, of tensors alone: no Keras mask, no `training=True`."""
        only_tensors = list(map(id, tree.flatten(self.args))) == list(map(id, self.inputs))
        return len(self.args) == 1 and only_tensors and all(v is None or v is False for v in self.kwargs.values())

    def reads(self):
        """The tensors in its arguments: its inputs without the masks that came along."""
        return [x for x in tree.flatten((self.args, self.kwargs)) if isinstance(x, Tensor)]

    def constants(self):
        """The arrays of one axis and more in its arguments, but those that mask."""
        kwargs = {name: value for name, value in self.kwargs.items() if not name.endswith("mask")}
        return [x for x in tree.flatten((self.args, kwargs)) if not isinstance(x, Tensor) and len(np.shape(x))]

    def filled(self, values):
        """The arguments with values, a dict of `Tensor` to anything, in the places of the tensors."""
        return tree.map_structure(lambda x: values[x] if isinstance(x, Tensor) else x, (self.args, self.kwargs))


@dataclass(frozen=True, eq=False)
class Calls:
    """A model as its calls, first to last: an iterable of `Call`.

    Attributes:
        inputs, outputs: `Tensor`s, in the structures that the model takes and returns.
        calls: list of `Call`.
        entries: list of pairs of the `InputLayer` of a model in the model and the `Tensor` that it is given: one for
            each call of that model.
    """

    inputs: object
    outputs: object
    calls: list
    entries: list

    def __iter__(self):
        return iter(self.calls)

    def needed(self):
        """The same without calls that no output depends on, and those that only compute Keras masks."""
        wanted, needed = set(tree.flatten(self.outputs)), []
        for call in reversed(self.calls):
            if not wanted.isdisjoint(call.outputs):
                needed.append(call)
                wanted.update(call.reads())
        return Calls(self.inputs, self.outputs, needed[::-1], self.entries)

    def readers(self):
        """For each variable, by `id(variable)`, the list of calls that read it: of a shared layer several."""
        readers = collections.defaultdict(list)
        for call in self.calls:
            for key in call.variables:
                readers[key].append(call)
        return dict(readers)

    def run(self, inputs, compute):
        """Goes through the model with values in the places of tensors, and returns those of its outputs.

        Args:
            inputs: a value for each input, in the model's structure or flat.
            compute: function `(call, args, kwargs)` that returns the call's outputs.
        """
        values = dict(zip(tree.flatten(self.inputs), tree.flatten(inputs), strict=True))
        for call in self.calls:
            args, kwargs = call.filled(values)
            values.update(zip(call.outputs, tree.flatten(compute(call, args, kwargs)), strict=True))
        return tree.map_structure(values.get, self.outputs)


def of(model, purpose):
    """The calls of a model's layers in the order in which they compute, models in the model opened.

    A layer that is shared is in as many calls as it has, and so are the layers of a model that is called twice. Layers
    that hold others (`TimeDistributed`, `Bidirectional`) stay whole.

    Args:
        model: a built Sequential or Functional model, of Keras 3 or tf_keras.
        purpose: what it is followed for, as error messages say it: "its weights can be followed".

    Returns:
        `Calls`.

    Raises:
        ValueError: for a model that is not built, or has no graph.

    Example:

    >>> import keras
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    >>> model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2, name="b")])
    >>> [(call.layer.name, call.outputs[0].shape) for call in of(model, "it can be read")]
    [('a', (None, 3)), ('b', (None, 2))]
    """
    library = library_of(model)
    graph = library.graph(model)
    if graph is None:
        raise ValueError(f"{model.name}: {_missing(model, library, purpose)}")
    return _Walk(library).model(graph)


def has_graph(layer):
    """Whether a layer, of Keras 3 or tf_keras, is a built Sequential or Functional model whose calls can be told."""
    return any(library.graph(layer) is not None for library in LIBRARIES)


def _missing(model, library, purpose):
    """Why there is no graph."""
    if graph_class(model, library.name) is None:
        return (
            f"only a Sequential or Functional model has a graph to follow. Received: a {type(model).__name__}, with a "
            f"`call` of its own. Build it as {library.name}.Model(inputs, outputs)."
        )
    if not model.built:
        return (
            f"the model must be built before {purpose}. Received: a model without variables. Call "
            "model.build(input_shape), or the model on a batch of data, first."
        )
    return (
        f"the graph of a model must be known. Received: a {type(model).__name__} with a layer that {library.name} "
        f"cannot call on symbolic inputs. Give that layer a compute_output_shape, or build the model as "
        f"{library.name}.Model(inputs, outputs)."
    )


class _Walk:
    """One way through a model and those in it."""

    def __init__(self, library):
        self._library = library
        self._calls, self._entries = [], []

    def model(self, graph):
        inputs, outputs = self._library.ends(graph)
        made = tree.map_structure(self._tensor, inputs)
        known = self._graph(graph, tree.flatten(made))
        return Calls(made, tree.map_structure(lambda x: known[id(x)], outputs), self._calls, self._entries)

    def _graph(self, graph, given, training=None, masks=()):
        """Adds the calls of a graph; returns the tensors by the ids of its symbols.

        Args:
            given: list of `Tensor`, one for each input.
            training: bool that it is called with, or None.
            masks: `Tensor`s of Keras masks that come along with what is given.
        """
        known = dict(zip(map(id, self._inputs(graph)), given, strict=True))
        for node in self._library.nodes(graph):
            args, kwargs = self._arguments(node, known, training)
            read = [*(known[id(x)] for x in node.inputs), *masks]
            inside = self._opened(node, args, kwargs)
            if inside is None:
                outputs = [known.get(id(x)) or self._tensor(x) for x in node.outputs]
                along = [self._library.mask(x) for x in node.inputs]
                self._calls.append(Call(node.layer, args, kwargs, read, along, outputs, self._variables(node)))
            else:
                graph_inside, args = inside
                self._entries += zip(map(self._library.maker, self._inputs(graph_inside)), args, strict=True)
                known_inside = self._graph(
                    graph_inside, args, kwargs.get("training"), [x for x in read if x not in args]
                )
                outputs = [known_inside[id(x)] for x in tree.flatten(self._library.ends(graph_inside)[1])]
            known.update(zip(map(id, node.outputs), outputs, strict=True))
        return known

    def _inputs(self, graph):
        return tree.flatten(self._library.ends(graph)[0])

    def _tensor(self, symbol):
        return Tensor(symbol, self._library.maker(symbol))

    def _arguments(self, node, known, training):
        library = self._library
        along = {id(library.mask(x)) for x in node.inputs} | {id(None)}
        kwargs = {name: value for name, value in node.kwargs.items() if not _came_along(name, value, along)}
        if library.takes_training(node.layer):
            training = library.training(kwargs.pop("training", None), training)
            kwargs |= {} if training is None else {"training": training}
        return tree.map_structure(lambda x: known[id(x)] if library.is_tensor(x) else x, (node.args, kwargs))

    def _opened(self, node, args, kwargs):
        """The graph of a model that is called and the tensors that go in; None if it is none, or cannot be opened."""
        graph = self._library.graph(node.layer)
        others = [name for name, value in kwargs.items() if value is not None and name != "training"]
        if graph is None or len(args) != 1 or others or not isinstance(kwargs.get("training"), (bool, type(None))):
            return None
        given, inputs = self._library.flat_inputs(graph, args[0]), self._inputs(graph)
        if len(given) != len(inputs) or not all(isinstance(x, Tensor) for x in given):
            return None
        # Keras would give or take an axis of size 1.
        alike = all(len(x.shape) == len(y.shape) for x, y in zip(given, inputs, strict=True))
        return (graph, given) if alike else None

    def _variables(self, node):
        given = tree.flatten((node.args, node.kwargs))
        own = getattr(node.layer, "variables", [])
        return {id(v): v for v in (*own, *given) if self._library.is_variable(v)}


def _came_along(name, value, along):
    """Whether an argument is the Keras masks that came along with the others."""
    return name.endswith("mask") and all(id(x) in along for x in tree.flatten(value))
