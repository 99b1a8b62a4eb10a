"""The inputs of a model by their names."""

from keras import tree

from keras_admm import checks
from keras_admm.graph.libraries import library_of


def input_names(model):
    """By what a dict names the inputs of a model, in the order of `model.inputs`; empty where the model has none.

    A model that was built from a dict has its keys, of dicts within it joined by slashes ("left/image"), any other one
    the names of its inputs.

    Example:

    >>> import keras
    >>> b, a = keras.Input((1,), name="b"), keras.Input((1,), name="a")
    >>> input_names(keras.Model([b, a], keras.layers.Add()([b, a])))
    ['b', 'a']
    """
    symbols = getattr(model, "inputs", None) or []
    if _takes_dict(model):
        return ["/".join(map(str, path)) for path, _ in tree.flatten_with_path(model.input)]
    return [library_of(model).maker(symbol).name for symbol in tree.flatten(symbols)]


def inputs_by_name(name, argument, model, given):
    """What a model is called with, where it is given as a dict: each value at the input that its key names.

    Args:
        name, argument: str, names used in error messages.
        model: a built Keras 3 or tf_keras model.
        given: a dict by the inputs' names, flat or in dicts as the model's; what has other keys is left out, as
            `model.predict` does. Anything else, or of a model that does not tell its inputs, is returned as it is.

    Returns:
        A dict for a model that was built from one, as deep as that, and else a list in the order of `model.inputs`, or
        its one value.

    Raises:
        ValueError: for an input that is missing.

    Example:

    >>> import keras
    >>> b, a = keras.Input((1,), name="b"), keras.Input((1,), name="a")
    >>> inputs_by_name("me", "x", keras.Model([b, a], keras.layers.Add()([b, a])), {"a": 1, "b": 2})
    [2, 1]
    """
    names = input_names(model)
    if not isinstance(given, dict) or not names:
        return given
    takes_dict = _takes_dict(model)
    if takes_dict and set(names) <= set(given):
        return tree.pack_sequence_as(model.input, [given[each] for each in names])
    try:
        found = _picked(model.input if takes_dict else dict.fromkeys(names), given)
    except LookupError:
        must = f"a dict with the keys {', '.join(names)}, the inputs of {model.name}"
        raise ValueError(checks.refused(name, argument, must, [*given], "Name each input.")) from None
    if takes_dict:
        return found
    return [*found.values()] if len(names) > 1 else found[names[0]]


def _picked(like, given):
    """What has the keys of `like`, in that order, at each depth."""
    if not isinstance(like, dict):
        return given
    if not isinstance(given, dict):
        raise LookupError
    return {key: _picked(inner, given[key]) for key, inner in like.items()}


def _takes_dict(model):
    # A Sequential model has no `input`, and a subclassed one no `inputs`.
    return bool(getattr(model, "inputs", None)) and isinstance(getattr(model, "input", None), dict)
