"""Checks of `layers`, `exclude` and models, as far as they need no weights."""

import os

import keras

from keras_admm import checks
from keras_admm.weights.values import is_tf_keras


def check_model(name, model, argument="model", must="a keras.Model or a model of tf_keras"):
    """Raises unless this is a model of Keras 3 or of tf_keras, whose name error messages can then say."""
    if isinstance(model, keras.Model):
        return
    kinds = [] if isinstance(model, type) else [c.__name__ for c in type(model).__mro__ if is_tf_keras(model)]
    if "Model" not in kinds:
        remedy = (
            "Open a file with keras.models.load_model(path) first." if isinstance(model, (str, os.PathLike)) else ""
        )
        raise TypeError(checks.refused(name, argument, must, model, remedy or "Pass the model itself."))


def check_keras_3(name, model, remedy):
    """Raises unless this is a model of Keras 3."""
    check_model(name, model)
    if is_tf_keras(model):
        raise ValueError(
            f"{name}: `model` must be a model of Keras 3. Received: {model.name}, a model of tf_keras. {remedy}"
        )


def check_choice(name, argument, items):
    """Returns `layers` or `exclude`, or raises for what is wrong with it whatever the model."""
    for item in [] if items is None else listed(items):
        if isinstance(item, str) and item or hasattr(item, "variables") or hasattr(item, "assign"):
            continue
        must = "names, patterns, layers, classes of layers, variables, callables of a variable, or a list of these"
        remedy = "Pass for example 'conv*' or model.layers[0]."
        if not callable(item):
            raise TypeError(checks.refused(name, argument, must, items, remedy))
        if not isinstance(item, type):
            checks.takes(name, argument, item, 1, must)
    if items is not None and not listed(items):
        raise ValueError(checks.refused(name, argument, "None or one entry at least", items, "Leave it out."))
    return items


def listed(items):
    """Entries as a list, where one may stand by itself."""
    return items if isinstance(items, (list, tuple, set)) else [items]
