"""What Keras 3 and tf_keras each know of a model's graph, asked in one way."""

from abc import ABC, abstractmethod
from typing import NamedTuple


class Node(NamedTuple):
    """A call as a library has recorded it.

    Attributes:
        layer: the layer or operation that is called.
        args, kwargs: what with: structures of symbolic tensors and constants.
        inputs, outputs: lists of symbolic tensors: those in the arguments, those that are returned.
    """

    layer: object
    args: object
    kwargs: dict
    inputs: list
    outputs: list


class Library(ABC):
    """Keras 3 or tf_keras. All that is private to it and tells of graphs and layers is read here."""

    name: str

    @abstractmethod
    def graph(self, model):
        """The model as the object that has the nodes; None if it is none, has a `call` of its own, or is not built."""

    @abstractmethod
    def nodes(self, graph):
        """Yields the `Node`s of a graph in the order in which they compute, without its inputs."""

    @abstractmethod
    def ends(self, graph):
        """The symbolic inputs and outputs of a graph, in the structures that the model takes and returns."""

    @abstractmethod
    def flat_inputs(self, graph, given):
        """What a graph is called with, as a list in the order of its inputs; None for what is not there."""

    @abstractmethod
    def takes_training(self, layer):
        """Whether a layer's call has an argument `training`."""

    @abstractmethod
    def training(self, own, around):
        """The `training` of a call: of what it is called with itself, and a model around it; None where not said."""

    @abstractmethod
    def is_tensor(self, x):
        """Whether this is a symbolic tensor."""

    @abstractmethod
    def is_variable(self, x):
        """Whether this is a variable."""

    @abstractmethod
    def maker(self, tensor):
        """The layer that a symbolic tensor comes from."""

    @abstractmethod
    def made_trainable(self, layer):
        """The list of a layer's own variables that were made to be trained."""

    def every_layer(self, layer):
        """A list of a layer and all that it holds, outer ones first."""
        return list(layer._flatten_layers())

    def mask(self, tensor):
        """The Keras mask that comes along with a symbolic tensor, or None."""
        return getattr(tensor, "_keras_mask", None)


def graph_class(model, library):
    """`Functional` or `Sequential` of a library if a model is of that class and computes by its `call`, else None."""
    kinds = [c for c in type(model).__mro__ if c.__module__.split(".")[0] == library]
    base = next((c for c in kinds if c.__name__ in ("Functional", "Sequential")), None)
    return base if base is not None and type(model).call is base.call else None
