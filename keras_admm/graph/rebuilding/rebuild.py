"""A model taken apart and put together again: layers in the places of its layers, what was one of them still one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_admm import checks
from keras_admm.graph.rebuilding.configs import changed, unbuilt
from keras_admm.graph.rebuilding.models import functional, graph_base, is_opened, opened, own_constructor
from keras_admm.graph.rebuilding.refusals import Refusals
from keras_admm.graph.rebuilding.state import State, set_flag
from keras_admm.graph.rebuilding.wrappers import Wrappers
from keras_admm.serialization import at_hand, described, one_object_each, tell_keras
from keras_admm.weights import check_keras_3, storable


class Replacement(NamedTuple):
    """A layer for the place of another that does not have the same variables.

    Attributes:
        layer: a new one.
        weights: list of arrays, in the order of `layer.get_weights()`.
    """

    layer: object
    weights: list


def rebuild(
    model: keras.Model,
    layer_for: Callable[..., Any] | None = None,
    *,
    call: Callable[..., Any] | None = None,
    value: Callable[[Any], Any] = storable,
    without: tuple[type, ...] = (),
    otherwise: str = "",
) -> keras.Model:
    """The same model with weights of its own and other layers in the places of some.

    Layers that are shared stay so, and models in it stay models; what is frozen stays frozen, and vocabularies are
    handed on.

    Args:
        model: a built Sequential or Functional model of Keras 3.
        layer_for: function of a layer of the model and of a function `again` that returns the layer for its place, or
            a `Replacement`. `again()` is a new layer of the same config, `again(units=3)` one of a config that differs
            in what is named, and in the configs within it: `again(layer={"config": {"units": 3}})`. It is asked once
            for each layer that calls or merges, `InputLayer` and the operations of `keras.ops` among them, but not for
            the models in it that are made of the new layers. By default `again()`.
        call: function of a layer, of the layer in its place and of the arguments of a call, which returns the outputs;
            it is used for every call, of the models in it too. A Sequential model becomes a Functional one.
        value: function of a variable of the model that gives the array for the variable in its place.
        without: classes of `keras.layers.Wrapper` that are taken off, wherever they are.
        otherwise: what a user can do instead, for error messages.

    Returns:
        A new model. It is not compiled, even if `model` is.

    Raises:
        TypeError: for other arguments, and for a `layer_for` that returns no layer.
        ValueError: for a model that is not built, or no graph of layers, or of a class whose constructor takes no
            layers while some are replaced; a layer that does not come back from its config, or shares a variable with
            another in a way that its config does not tell; a layer whose weights do not fit.

    Example:

    >>> import keras, numpy as np
    >>> parts = [keras.Input((2,)), keras.layers.Dense(1, "relu", name="a"), keras.layers.Dense(1, name="b")]
    >>> model = keras.Sequential(parts)
    >>> linear = rebuild(model, lambda layer, again: again(activation="linear") if layer.name == "a" else again())
    >>> [layer.activation.__name__ for layer in linear.layers]
    ['linear', 'linear']
    >>> all(map(np.array_equal, linear.get_weights(), model.get_weights()))
    True
    """
    check_keras_3("rebuild", model, "Build it with Keras 3.")
    for argument, function, count in (("layer_for", layer_for, 2), ("call", call, 3), ("value", value, 1)):
        if function is not None:
            checks.takes("rebuild", argument, function, count, f"a callable with {count} parameters")
    wrappers, refusals = Wrappers(without), Refusals(otherwise)
    making = _Rebuilding(model, layer_for or (lambda layer, again: again()), call, wrappers, refusals)
    return making.made(State(value, wrappers, refusals))


class _Pair(NamedTuple):
    """A layer and what is in its place: `weights` are those of a `Replacement`; a model may have been taken apart."""

    old: object
    new: object
    weights: list | None
    opened: bool


class _Rebuilding:
    def __init__(self, model, layer_for, call, wrappers, refusals):
        self._model, self._layer_for, self._call = model, layer_for, call
        self._wrappers, self._refusals = wrappers, refusals
        self._layers = model._flatten_layers()
        self._by_mark = {}  # marks in configs, and what was made of them
        self._pairs, self._old = {}, {}

    def made(self, state):
        """The model, with the state of the one that it stands for."""
        if own_constructor(self._model):
            new = self._of_its_class()
        else:
            # Models before layers that hold them, which then hold the copies.
            for model in sorted(opened(self._model), key=lambda each: len(each._flatten_layers())):
                self._in_place_of(model)
            new = self._in_place_of(self._model)
        # Backwards: a model comes after its layers, and would hand its flag on to them.
        for pair in reversed(self._pairs.values()):
            if isinstance(pair.old, keras.layers.Layer):
                _hand_on(pair, state)
        tell_keras(new)
        return new

    def _in_place_of(self, layer):
        """The layer in the place of one, a model's copy in that of a model: the same for each call."""
        if id(layer) not in self._pairs:
            if layer is self._model or is_opened(layer):
                pair = _Pair(layer, self._opened(layer), None, True)
                self._by_mark[id(layer)] = pair.new
            else:
                pair = _Pair(layer, *self._asked(layer), False)
            self._pairs[id(layer)], self._old[id(pair.new)] = pair, layer
        return self._pairs[id(layer)].new

    def _asked(self, layer):
        """The layer that `layer_for` gives, and its weights if it is a `Replacement`."""
        found = self._layer_for(layer, lambda **changes: self._again(layer, changes))
        new, weights = found if isinstance(found, Replacement) else (found, None)
        if not isinstance(new, keras.Operation):
            must, remedy = f"a function that returns a layer for {layer.name}", "Return again() for an equal one."
            raise TypeError(checks.refused("rebuild", "layer_for", must, found, remedy))
        return new, weights

    def _of_its_class(self):
        """The copy of a model whose class has a constructor of its own, which makes the layers."""
        new, _ = self._asked(self._model)
        if self._call or type(new) is not type(self._model) or self._wrappers.inside(new):
            raise self._refusals.lost_class(self._model)
        self._pairs[id(self._model)] = _Pair(self._model, new, None, False)
        return new

    def _opened(self, model):
        self._refusals.check(model)
        if isinstance(model, keras.Sequential) and not self._call:
            parts = [self._in_place_of(layer) for layer in model._layers]
            return keras.Sequential(parts, name=model.name, trainable=model.trainable)
        return self._cloned(functional(model) if isinstance(model, keras.Sequential) else model)

    def _cloned(self, model):
        inputs = keras.tree.map_structure(lambda x: self._in_place_of(x._keras_history.operation).output, model.input)
        compiled = model.compiled
        model.compiled = False  # or the copy is compiled too, which fails for a loss that is not registered
        try:
            return _with_arguments(
                model,
                keras.models.clone_model(model, inputs, self._in_place_of, call_function=self._call and self._called),
            )
        finally:
            model.compiled = compiled

    def _called(self, new, *args, **kwargs):
        return self._call(self._old[id(new)], new, *args, **kwargs)

    def _again(self, layer, changes):
        """A new layer like this one, of the same config but for the changes, with no wrapper in it."""
        layer = self._wrappers.off(layer)
        if isinstance(layer, keras.Model) and graph_base(layer):
            self._refusals.check(layer)
        parts = layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else [layer]
        own = at_hand(parts) | {type(layer).__name__: type(layer)}
        try:
            config = self._wrappers.off_config(described(layer, self._layers))
            config.pop("build_config", None)
            config.pop("compile_config", None)  # or the copy is compiled too, which fails for an unregistered loss
            if changes:
                config["config"] = changed(unbuilt(config["config"]), changes)
            with one_object_each(self._by_mark):
                new = keras.saving.deserialize_keras_object(config, custom_objects=own, safe_mode=False)
                return _of_the_same_functions(layer, new)
        except Exception as error:
            raise self._refusals.not_from_config(layer, error) from error


def _hand_on(pair, state):
    set_flag(pair.old, pair.new)
    if pair.weights is not None:
        state.give(pair.old, pair.new, pair.weights)
    elif not pair.opened:
        state.hand_on(pair.old, pair.new)


def _of_the_same_functions(old, new):
    """A config holds the code of a Lambda layer without the variables around it: its copy is given the function."""
    if isinstance(old, keras.layers.Lambda):
        new.function, new.mask = old.function, old.mask
    return new


def _with_arguments(model, copy):
    """The copy, with the arguments of its own that a subclass of Functional tells in its config."""
    if type(model) is graph_base(model):
        return copy
    known = {"name", "trainable", "layers", "input_layers", "output_layers"}
    own = {key: value for key, value in model.get_config().items() if key not in known}
    return type(model)(inputs=copy.input, outputs=copy.output, name=model.name, **own) if own else copy
