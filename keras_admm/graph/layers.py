"""The layers that a model or a layer holds, and the variables that they were made with."""

from keras_admm.graph.libraries import library_of


def every_layer(layer):
    """A layer or a model and every one that it holds, outer ones first, of Keras 3 or tf_keras."""
    return library_of(layer).every_layer(layer)


def made_trainable(layer):
    """The variables of a layer that were made to be trained, whatever is frozen by now; none of those that it holds."""
    return library_of(layer).made_trainable(layer)


def takes_training(layer):
    """Whether the call of a layer or another operation has an argument `training`."""
    return library_of(layer).takes_training(layer)
