"""A model taken apart and put together again: layers in the places of its layers, what was one of them still one."""

import tempfile

import keras
import numpy as np
from keras import ops
from keras.src.models.functional import functional_like_constructor

from keras_admm.errors import reason
from keras_admm.layers.masked import Mask, Masked
from keras_admm.serialization import at_hand, described, one_object_each, tell_keras
from keras_admm.weights import storable, write


class Copy:
    """A copy of a model in the making.

    Args:
        model: what is copied.
        finish: function of a layer, its plain copy and `Values` that gives the layer for the place of it.
    """

    def __init__(self, model, finish):
        self._model, self._finish = model, finish
        self._values = Values(model)
        self._layers = model._flatten_layers() if isinstance(model, keras.Model) else []
        self._by_mark = {}  # marks in configs, and what was made of them
        self._pairs = {}

    def made(self):
        """The copy, with the weights, flags and files of the model."""
        if _own_constructor(self._model):
            copy = self._of_its_class()
        else:
            # Models before layers that hold them, which then hold the copies.
            for model in sorted(_opened(self._model), key=lambda each: len(each._flatten_layers())):
                self._clone(model)
            copy = self._clone(self._model)
        variables = Pairs()
        # Backwards: a model comes after its layers, and would hand its flag on to them.
        for old, new, opened in reversed(self._pairs.values()):
            if isinstance(old, keras.layers.Layer):
                _copy_flags([old], [new])
                if not opened:
                    _copy_flags(_parts(old), _parts(new))
                    _copy_state(old, new, self._values, variables)
        tell_keras(copy)
        return copy

    def _clone(self, layer):
        """The layer in the place of one, a model's copy in that of a model: the same for each call."""
        if id(layer) not in self._pairs:
            if layer is not self._model and (not graph_class(layer) or _own_constructor(layer)):
                opened, new = False, self._finish(layer, self._from_config(layer), self._values)
            else:
                opened, new = True, _clone_model(layer, self._clone)
                self._by_mark[id(layer)] = new
            self._pairs[id(layer)] = layer, new, opened
        return self._pairs[id(layer)][1]

    def _of_its_class(self):
        """The copy of a model whose class has a constructor of its own, which makes the layers."""
        plain = self._from_config(self._model)
        masked = any(isinstance(layer, Masked) for layer in plain._flatten_layers())
        if masked or self._finish(self._model, plain, self._values) is not plain:
            raise _lost(self._model)
        self._pairs[id(self._model)] = self._model, plain, False
        return plain

    def _from_config(self, layer):
        """A new layer like this one, of the same config, without any `Masked` in it."""
        while isinstance(layer, Masked):
            layer = layer.layer
        if isinstance(layer, keras.Model) and graph_class(layer):
            _check_model(layer)
        parts = layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else [layer]
        own = at_hand(parts) | {type(layer).__name__: type(layer)}
        try:
            config = _unmasked(described(layer, self._layers))
            config.pop("build_config", None)
            config.pop("compile_config", None)  # or the copy is compiled too, which fails for an unregistered loss
            with one_object_each(self._by_mark):
                new = keras.saving.deserialize_keras_object(config, custom_objects=own, safe_mode=False)
                return _of_the_same_functions(layer, new)
        except Exception as error:
            raise ValueError(
                f"{layer.name}: it must be possible to make a layer again from its config. Received: a "
                f"{type(layer).__name__}, which fails ({reason(error)}). Give it a get_config(), and names to its "
                "functions, and register these and its classes with keras.saving.register_keras_serializable, or use "
                "Masked in your own code."
            ) from error


class Values:
    """The weights of a model, zero where they are masked, and the layers that they are of.

    Args:
        model: of Keras.
    """

    def __init__(self, model):
        self._masks = [v for v in getattr(model, "variables", []) if isinstance(v, Mask)]
        # The layer that holds no other one comes before the layer that holds it.
        layers = sorted(_leaves(model), key=lambda layer: len(layer._flatten_layers()))
        self._owners = {}
        for layer in layers:
            for variable in layer.variables:
                self._owners.setdefault(id(variable), layer)

    def value(self, variable):
        """An array."""
        value = storable(variable)
        for mask in (m for m in self._masks if m.of is variable):
            value = np.where(ops.convert_to_numpy(mask), value, np.zeros((), value.dtype))
        return value

    def by(self, layer, variable):
        """Whether a variable is the layer's, not one of another that the layer holds."""
        return self._owners.get(id(variable), layer) is layer


class Pairs:
    """Variables of a model and of its copy, each in one pair only."""

    def __init__(self):
        self._new, self._old = {}, {}

    def add(self, layer, old, new):
        """Raises a ValueError for a variable that is in another pair already."""
        if self._new.setdefault(id(old), new) is not new or self._old.setdefault(id(new), old) is not old:
            raise ValueError(
                f"{layer.name}: weights that are tied must be so by a layer in the config of another "
                f"(keras.saving.serialize_keras_object). Received: {old.path}, which the copy of this "
                f"{type(layer).__name__} would not share with the same layers. Correct its get_config(), or use "
                "Masked in your own code."
            )


def graph_class(model):
    """The Keras class that makes `model` a graph of layers, or None."""
    return next((c for c in type(model).__mro__ if c.__name__ in ("Functional", "Sequential")), None)


def _own_constructor(model):
    """Whether a graph of layers is of a class that cannot be made of tensors or layers: Keras's clone would lose it."""
    if graph_class(model) is None:
        return False
    if isinstance(model, keras.Sequential):
        return type(model) is not keras.Sequential
    return not functional_like_constructor(type(model))


def _leaves(model):
    """The layers of a model and of the models in it that are taken apart."""
    if _own_constructor(model):
        return [model]
    models = [model, *_opened(model)]
    return [layer for each in models for layer in getattr(each, "layers", []) if layer not in models]


def _opened(model):
    """The models in a model that are taken apart."""
    for layer in getattr(model, "layers", []):
        if graph_class(layer) and not _own_constructor(layer):
            yield from (layer, *_opened(layer))


def _check_model(model):
    base = graph_class(model)
    if base is None or type(model).call is not base.call:
        raise ValueError(
            f"{model.name}: only a Sequential or Functional model can be taken apart and put together again. "
            f"Received: a {type(model).__name__}, with a `call` of its own. Use Masked in your own code."
        )
    if not model.built or not model.layers:
        raise ValueError(
            f"{model.name}: the model must be built before its layers can be masked. Received: a model without "
            "variables. Call model.build(input_shape), or the model on a batch of data, first."
        )


def _lost(model):
    base = graph_class(model)
    methods = sorted({n for c in type(model).__mro__[: type(model).__mro__.index(base)] for n in vars(c)})
    methods = [n for n in methods if not n.startswith("_") and not hasattr(base, n)]
    return ValueError(
        f"{model.name}: a model with masks is made of new layers, which the constructor of its class must take, as "
        f"keras.Model(inputs, outputs) does. Received: a {type(model).__name__}, whose constructor makes its own; the "
        f"class would be lost, and with it {', '.join(methods) or 'what it overrides'}. Mask "
        "keras.Model(model.input, model.output) where these are not needed, or use Masked in the class's own code."
    )


def _of_the_same_functions(old, new):
    """A config holds the code of a Lambda layer without the variables around it: its copy is given the function."""
    if isinstance(old, keras.layers.Lambda):
        new.function, new.mask = old.function, old.mask
    return new


def _clone_model(model, clone):
    _check_model(model)
    compiled = model.compiled
    model.compiled = False  # or the copy is compiled too, which fails for a loss that is not registered
    try:
        return _with_arguments(model, keras.models.clone_model(model, clone_function=clone))
    finally:
        model.compiled = compiled


def _with_arguments(model, copy):
    """The copy, with the arguments of its own that a subclass of Functional tells in its config."""
    if isinstance(model, keras.Sequential) or type(model) is graph_class(model):
        return copy
    known = {"name", "trainable", "layers", "input_layers", "output_layers"}
    own = {key: value for key, value in model.get_config().items() if key not in known}
    return type(model)(inputs=copy.input, outputs=copy.output, name=model.name, **own) if own else copy


def _unmasked(config):
    if isinstance(config, (list, tuple)):
        return type(config)(_unmasked(item) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("registered_name") == keras.saving.get_registered_name(Masked):
        return _unmasked(config["config"]["layer"])
    return {key: _unmasked(value) for key, value in config.items()}


def _unmasked_variables(layer):
    return [v for v in getattr(layer, "variables", []) if not isinstance(v, Mask)]


def _parts(layer):
    """A layer and those inside it, outer ones first."""
    while isinstance(layer, Masked):
        layer = layer.layer
    return [layer, *(part for inner in layer._layers for part in _parts(inner))]


def _copy_flags(before, after):
    for old, new in zip(before, after, strict=False):  # a layer without parts may have made more of them by now
        if new.trainable != old.trainable:
            new.trainable = old.trainable


def _copy_state(old, new, values, pairs):
    before, after = _unmasked_variables(old), _unmasked_variables(new)
    if [v.shape for v in before] != [v.shape for v in after]:
        raise ValueError(
            f"{old.name}: a layer made again from its config must have the same variables, of shapes "
            f"{[tuple(v.shape) for v in before]}. Received: {[tuple(v.shape) for v in after]}. "
            "Correct its get_config()."
        )
    for variable, like in zip(after, before, strict=True):
        pairs.add(old, like, variable)
        write(variable, values.value(like))
        variable.trainable = like.trainable
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if hasattr(new, "finalize_state"):
        new.finalize_state()  # Normalization computes with constants made of its weights
