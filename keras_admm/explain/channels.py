"""Where the channels of a model's inputs are: every view takes the last axis for them."""

from keras_admm import graph, weights
from keras_admm.explain.cut import inner

FIRST = "channels_first"


def check_last(name, model):
    """Raises TypeError for what is no model, and ValueError for one that takes its input with the channels first.

    Args:
        name: str, name used in error messages.
        model: a built model of Keras 3 or tf_keras. A layer with the channels first may stand behind a Permute layer.

    Example:

    >>> import keras
    >>> check_last("me", keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]))
    """
    weights.check_model(name, model)
    known = graph.calls.has_graph(model)
    called = [call.layer for call in graph.calls.of(model, "its axes are known").calls] if known else []
    for layer in map(inner, called or graph.every_layer(model)):
        if weights.of_class(layer, "Permute"):
            return
        # A Flatten layer has Keras's default, whatever it reads.
        if getattr(layer, "data_format", None) == FIRST and not weights.of_class(layer, "Flatten"):
            raise ValueError(
                f"{name}: the channels must be the last axis of the input of {model.name}. Received: {layer.name}, a "
                f"{type(layer).__name__} with data_format={FIRST!r}. Call the model on an input with the channels last "
                "that a Permute layer, of images keras.layers.Permute((3, 1, 2)), moves first, and give such arrays."
            )
