"""Which optimizers apply a model's gradients: those that are named, or those found among its attributes."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import NamedTuple

import keras

from keras_admm import checks, weights

FOUND = "auto"


class Optimizers(NamedTuple):
    """The optimizers of a run.

    Attributes:
        all: tuple of optimizers, of Keras 3 or of tf_keras, each once.
        named: bool, whether the user has named them.
        of: dict of each compressed variable's name to the optimizers one of which must apply its gradient.
    """

    all: tuple
    named: bool
    of: dict


def choose_optimizers(name, model, variables, optimizer):
    """The optimizers of a run.

    Args:
        name: str, name used in error messages.
        model: the model that is trained.
        variables: dict of names to the compressed variables.
        optimizer: one optimizer, a mapping of what is trained (names, patterns, layers, models: same forms as
            `layers`) to optimizers, or `"auto"`: all among the attributes of the model, the compiled one included.

    Returns:
        An `Optimizers`.

    Raises:
        ValueError, TypeError: for anything else, for a model without an optimizer, for a variable that no key fits.
    """
    if isinstance(optimizer, str) and optimizer == FOUND:
        found = tuple(find(model))
        if not found:
            raise ValueError(
                f"{name}: the model must be compiled, for the pull is added in its optimizer. Received: model "
                f"{model.name!r} without one. Call model.compile(...), name one with optimizer=, or in a loop of your "
                "own pass optimizer=None to Engine and use penalty() and hold()."
            )
        return Optimizers(found, False, dict.fromkeys(variables, found))
    if isinstance(optimizer, Mapping):
        return _mapped(name, model, variables, optimizer)
    _check_one(name, optimizer, model)
    return Optimizers((optimizer,), True, dict.fromkeys(variables, (optimizer,)))


def check_optimizer(name, optimizer):
    """Raises what is wrong with `optimizer` as far as it shows without a model."""
    if isinstance(optimizer, Mapping):
        if not optimizer:
            raise ValueError(
                f"{name}: a mapping as `optimizer` must name at least one. Received: an empty one. "
                "Write for example {'generator*': model.generator_optimizer}, or leave it at 'auto'."
            )
        for key, each in optimizer.items():
            weights.check_choice(name, "optimizer", key)
            _check_one(name, each)
    elif not (isinstance(optimizer, str) and optimizer == FOUND):
        _check_one(name, optimizer)


def _check_one(name, optimizer, model=None):
    """Raises unless this is an optimizer of Keras, of the library that the model is of."""
    if not is_optimizer(optimizer):
        raise TypeError(
            f"{name}: `optimizer` must be a keras.Optimizer, a mapping of what is trained to such optimizers, or "
            f"'auto'. Received: optimizer={checks.shown(optimizer)}. With another kind (torch.optim, optax) use a "
            "custom training loop: Engine(..., optimizer=None), its penalty() and hold()."
        )
    if model is not None and weights.is_tf_keras(model) != weights.is_tf_keras(optimizer):
        raise TypeError(
            f"{name}: the optimizer must be of the library that the model is of. Received: {said(optimizer)} of "
            f"{type(optimizer).__module__.split('.')[0]} for model {model.name!r} of "
            f"{'tf_keras' if weights.is_tf_keras(model) else 'keras'}. Take it from there."
        )


def compiled_optimizer(model):
    """The optimizer that a model of either library is compiled with, or None."""
    return getattr(model, "optimizer", None)


def find(model):
    """The optimizers among the attributes of a model and of the models in it, the compiled one first, each once."""
    found, seen, to_see = {}, set(), [compiled_optimizer(model), model]
    while to_see:
        thing = to_see.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if is_optimizer(thing):
            found.setdefault(id(inner(thing)), thing)
        elif isinstance(thing, Mapping):
            to_see += thing.values()
        elif isinstance(thing, (list, tuple, set)):
            to_see += thing
        elif isinstance(thing, (SimpleNamespace, keras.layers.Layer)) or _is_layer(thing):
            to_see += vars(thing).values()
    return list(found.values())


def is_optimizer(thing):
    """Whether this is an optimizer of Keras 3 or of tf_keras, the legacy ones among them."""
    if isinstance(thing, type):
        return False
    return isinstance(thing, keras.optimizers.Optimizer) or (
        weights.is_tf_keras(thing) and any(c.__name__ in ("Optimizer", "OptimizerV2") for c in type(thing).__mro__)
    )


def inner(optimizer):
    """The optimizer that applies the gradients as they are, where another one scales the loss around it."""
    while is_optimizer(getattr(optimizer, "inner_optimizer", None)):
        optimizer = optimizer.inner_optimizer
    return optimizer


def new_like(model, optimizer):
    """An optimizer that is like another one when it was new.

    Raises:
        ValueError: for one that cannot be made from its config.
    """
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception as error:  # of a class of the user's: whatever its __init__ says
        raise ValueError(
            f"{model.name}: each phase of a run begins with the state of a new optimizer, made from the config "
            f"of the one there is. Received: {said(optimizer)}, of which none can be made so ({error}). Have its "
            "get_config() return every argument of its __init__()."
        ) from error


def said(optimizer, moved=True):
    """An optimizer as error messages name it."""
    name = getattr(optimizer, "name", None) or getattr(optimizer, "_name", "")
    return f"{type(optimizer).__name__} {name!r}" + ("" if moved else " (which has applied no gradient)")


def _is_layer(thing):
    return weights.is_tf_keras(thing) and any(c.__name__ == "Layer" for c in type(thing).__mro__)


def _mapped(name, model, variables, mapping):
    check_optimizer(name, mapping)
    of = {n: [] for n in variables}
    for key, optimizer in mapping.items():
        _check_one(name, optimizer, model)
        fitting = weights.fitting(model, key)
        for n in of:
            of[n] += [optimizer] if n in fitting else []
    alone = [n for n, optimizers in of.items() if not optimizers]
    if alone:
        raise ValueError(
            f"{name}: each compressed weight must have its optimizer. Received: optimizer={list(mapping)}, none of "
            f"which fits {alone}. Add a key for them, such as '*', or leave them out with exclude=."
        )
    return Optimizers(tuple({id(o): o for o in mapping.values()}.values()), True, of)
