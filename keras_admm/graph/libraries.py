"""Which library a model or a layer is of."""

from keras_admm.graph.keras_library import Keras
from keras_admm.graph.tf_keras_library import TFKeras

LIBRARIES = (Keras(), TFKeras())


def library_of(thing):
    """The `Library` of a model, a layer or another operation."""
    return next(x for x in LIBRARIES if any(c.__module__.split(".")[0] == x.name for c in type(thing).__mro__))
