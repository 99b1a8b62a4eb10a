"""Models that can be taken apart: graphs of layers, whose class can be made of tensors or layers again."""

import keras
from keras.src.models.functional import functional_like_constructor


def graph_base(model):
    """The Keras class that makes `model` a graph of layers, or None."""
    return next((c for c in type(model).__mro__ if c.__name__ in ("Functional", "Sequential")), None)


def own_constructor(model):
    """Whether a graph of layers is of a class that cannot be made of tensors or layers: Keras's clone would lose it."""
    if graph_base(model) is None:
        return False
    if isinstance(model, keras.Sequential):
        return type(model) is not keras.Sequential
    return not functional_like_constructor(type(model))


def is_opened(layer):
    """Whether a layer is a model that `rebuild` takes apart, rather than makes again as a whole."""
    return graph_base(layer) is not None and not own_constructor(layer)


def functional(model):
    """A model of the class `keras.Model` with the layers of a built Sequential or Functional model, and its name."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    return keras.Model(graph.input, graph.output, name=model.name)


def opened(model):
    """The models in a model that are taken apart."""
    for layer in model.layers:
        if is_opened(layer):
            yield from (layer, *opened(layer))


def owners(model):
    """The layer that each variable of a model is of, by `id(variable)`.

    Layers are those of the model and of the models in it. Where one of them holds another, the variables of the inner
    one are its own.

    Args:
        model: of Keras 3.

    Example:

    >>> import keras
    >>> inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    >>> {layer.name for layer in owners(keras.Sequential([inner])).values()}
    {'dense'}
    """
    found = {}
    # The layer that holds no other one comes before the layer that holds it.
    for layer in sorted(_leaves(model), key=lambda each: len(each._flatten_layers())):
        for variable in layer.variables:
            found.setdefault(id(variable), layer)
    return found


def _leaves(model):
    if own_constructor(model):
        return [model]
    models = [model, *opened(model)]
    return [layer for each in models for layer in each.layers if layer not in models]
