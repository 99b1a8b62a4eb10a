"""Models taken apart and put together again: with masks on what is pruned, and without any."""

import tempfile

import keras
import numpy as np
from keras import ops

from keras_admm.layers.masked import Mask, Masked, kernels_of
from keras_admm.weights import storable, write


def mask(model):
    """A copy of a pruned model whose zeros cannot come back.

    Every layer with zeros in its kernels is wrapped in `Masked`, under the same name. So the model can be
    fine-tuned with any optimizer and any weight decay, saved, loaded and tuned again, and stays as sparse.

    Args:
        model: a built Sequential or Functional model; models in it and shared layers stay such. A frozen layer
            is masked too, and stays frozen.

    Returns:
        A new model with the same outputs, weights and `trainable` flags. It is not compiled, even if `model` is.

    Raises:
        ValueError: for a model that is not built, or cannot be cloned (a subclassed one: wrap its layers in
            `Masked` in your own code).

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.array([[3.0], [0.0]]), np.array([1.0])])
    >>> keras.ops.convert_to_numpy(mask(model).layers[0].masks[0])
    array([[ True],
           [False]])

    Reference: as for `Masked`.
    """
    return _rebuilt(model, _wrapped)


def strip(model):
    """A copy of a model without `Masked`: plain layers, which load where keras_admm is not installed.

    Args:
        model: a built Sequential or Functional model, as `mask` returns it or with `Masked` anywhere in it.

    Returns:
        A new model with the same outputs and `trainable` flags, its weights multiplied by their masks. It is not
        compiled, even if `model` is.

    Raises:
        ValueError: for a model that is not built, or cannot be cloned (a subclassed one).

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), Masked(keras.layers.Dense(1), masks=[[[1], [0]]])])
    >>> layer = strip(model).layers[0]
    >>> type(layer).__name__, keras.ops.convert_to_numpy(layer.kernel)[1]
    ('Dense', array([0.], dtype=float32))
    """
    return _rebuilt(model, lambda layer, plain: plain)


def _rebuilt(model, finish):
    made = {}

    def clone(layer):
        if id(layer) not in made:
            new = _clone_model(layer, clone) if _graph(layer) else finish(layer, _plain(layer))
            made[id(layer)] = layer, new
        return made[id(layer)][1]

    copy = _clone_model(model, clone)
    # Backwards: a model comes after its layers, and would hand its flag on to them.
    for old, new in [(model, copy), *reversed(made.values())]:
        if isinstance(old, keras.layers.Layer):
            if new.trainable != old.trainable:
                new.trainable = old.trainable
            if not _graph(old):
                _copy_state(old, new)
    return copy


def _clone_model(model, clone):
    base = _graph(model)
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
    compiled = model.compiled
    model.compiled = False  # or the copy is compiled too, which fails for a loss that is not registered
    try:
        return keras.models.clone_model(model, clone_function=clone)
    finally:
        model.compiled = compiled


def _graph(model):
    """The Keras class that makes `model` a graph of layers, or None."""
    return next((c for c in type(model).__mro__ if c.__name__ in ("Functional", "Sequential")), None)


def _plain(layer):
    """A new layer like this one, of the same config, without any `Masked` in it."""
    while isinstance(layer, Masked):
        layer = layer.layer
    own = {type(layer).__name__: type(layer)}
    try:
        config = _unmasked(keras.saving.serialize_keras_object(layer))
        config.pop("build_config", None)
        return keras.saving.deserialize_keras_object(config, custom_objects=own, safe_mode=False)
    except Exception as error:
        raise ValueError(
            f"{layer.name}: it must be possible to make a layer again from its config. Received: a "
            f"{type(layer).__name__}, which fails ({error}). Give it a get_config() and register its classes with "
            "keras.saving.register_keras_serializable, or use Masked in your own code."
        ) from error


def _unmasked(config):
    if isinstance(config, (list, tuple)):
        return type(config)(_unmasked(item) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("registered_name") == keras.saving.get_registered_name(Masked):
        return _unmasked(config["config"]["layer"])
    return {key: _unmasked(value) for key, value in config.items()}


def _values(layer):
    """Pairs of the layer's variables, without masks, and their values: arrays, zero where masked."""
    variables = getattr(layer, "variables", [])
    values = {id(v): (v, storable(v)) for v in variables if not isinstance(v, Mask)}
    for each in (v for v in variables if isinstance(v, Mask) and id(v.of) in values):
        v, value = values[id(each.of)]
        values[id(v)] = v, np.where(ops.convert_to_numpy(each), value, np.zeros((), value.dtype))
    return list(values.values())


def _wrapped(layer, plain):
    kernels = {id(v) for v in kernels_of(layer)} if isinstance(layer, keras.layers.Layer) else set()
    masks = [value != 0 for v, value in _values(layer) if id(v) in kernels]
    return plain if all(mask.all() for mask in masks) else Masked(plain, masks)


def _copy_state(old, new):
    values = _values(old)
    variables = [v for v in new.variables if not isinstance(v, Mask)]
    if [v.shape for v, _ in values] != [v.shape for v in variables]:
        raise ValueError(
            f"{old.name}: a layer made again from its config must have the same variables, of shapes "
            f"{[tuple(v.shape) for v, _ in values]}. Received: {[tuple(v.shape) for v in variables]}. "
            "Correct its get_config()."
        )
    for variable, (like, value) in zip(variables, values, strict=True):
        write(variable, value)
        variable.trainable = like.trainable
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if hasattr(new, "finalize_state"):
        new.finalize_state()  # Normalization computes with constants made of its weights
