"""What layers have beside their configs: weights, what is frozen of them, files."""

import tempfile
from typing import Protocol, runtime_checkable

import keras

from keras_admm.weights import write


@runtime_checkable
class KeepsFiles(Protocol):
    """A layer with files beside its weights, such as a vocabulary. Keras knows it by its methods, not by its class."""

    def save_assets(self, folder): ...

    def load_assets(self, folder): ...


class State:
    """Gives layers made again the state of those that they stand for.

    Args:
        value: function of a variable that gives the array for the variable in its place.
        wrappers: `Wrappers`, whose own variables are no part of it.
        refusals: `Refusals`.
    """

    def __init__(self, value, wrappers, refusals):
        self._value, self._wrappers, self._refusals = value, wrappers, refusals
        self._new, self._old = {}, {}  # variables and their copies, each in one pair only

    def hand_on(self, old, new):
        """From a layer to one with the same variables."""
        # A layer without parts may have made more of them by now.
        parts = list(zip(self._wrappers.unwrapped(old), self._wrappers.unwrapped(new), strict=False))
        for part, again in parts:
            set_flag(part, again)
        before, after = self._wrappers.variables(old), self._wrappers.variables(new)
        values = [self._value(v) for v in before]
        if _shapes(values) != _shapes(after):
            raise self._refusals.other_shapes(old, _shapes(values), _shapes(after))
        for part, again in parts:
            self._hand_on_own(part, again)
        for variable, like, value in zip(after, before, values, strict=True):
            self._pair(old, like, variable)
            write(variable, value)
            variable.trainable = like.trainable
        for part, again in parts:
            _hand_on_files(part, again)

    def _hand_on_own(self, old, new):
        """What a layer gives to Keras's own files in a way of its own: arrays, and constants made of its weights."""
        if type(new).load_own_variables is keras.layers.Layer.load_own_variables:
            return
        store = {}
        old.save_own_variables(store)
        values = {key: self._value(each) if isinstance(each, keras.Variable) else each for key, each in store.items()}
        new.load_own_variables(values)

    def give(self, old, new, arrays):
        """To a layer that stands for `old` with weights of its own."""
        if _shapes(arrays) != _shapes(new.weights):
            raise self._refusals.other_weights(old, new, _shapes(arrays))
        for variable, value in zip(new.weights, arrays, strict=True):
            write(variable, value)

    def _pair(self, layer, old, new):
        if self._new.setdefault(id(old), new) is not new or self._old.setdefault(id(new), old) is not old:
            raise self._refusals.untied(layer, old)


def set_flag(old, new):
    """Freezes a layer as another is."""
    if new.trainable != old.trainable:
        new.trainable = old.trainable


def _shapes(arrays):
    return [tuple(each.shape) for each in arrays]


def _hand_on_files(old, new):
    if isinstance(old, KeepsFiles):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
