"""`Masked`, a wrapper that keeps pruned weights at zero: its masks are saved with the model.

A masked layer is called in a scope that answers every read of a kernel with the kernel times its mask. So any
layer can be wrapped, the gradient flows through the mask, and nothing is assigned at inference.
"""

import contextlib
import functools
import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_admm import checks
from keras_admm.graph import Kind, every_layer, kinds, made_trainable, register
from keras_admm.weights import kernels, storable


@keras.saving.register_keras_serializable("keras_admm")
class Masked(keras.layers.Wrapper):
    """A layer whose pruned weights stay at zero, whatever trains it and wherever it is saved.

    It keeps a mask for each kernel and embedding of the layer (biases and normalisation are left alone) among its
    non-trainable weights, and multiplies it in at every call. After each update by a Keras optimizer the stored
    weight is zero under the mask as well (but not where `use_ema` writes averages over it). It is called as the
    inner layer is, with the same arguments.

    On JAX a compiled `fit` knows the masks of when it was traced: call `compile` again after masks have moved
    (`load_weights`, `set_weights`).

    Args:
        layer: the `keras.layers.Layer` to wrap. Any: also a recurrent, a wrapped, a custom one or a model.
        masks: list of arrays (0 or false: pruned), one for each kernel in the order of `layer.variables`. By
            default all ones, until weights are loaded: masks are weights, not a part of the config.

    Returns when called:
        What `layer` returns with its kernels masked.

    Raises:
        TypeError: if `layer` is not a layer.
        ValueError: when built, for masks that do not fit the kernels in number or shape; when saved, if a kernel
            is no longer there (quantized).

    Example:

    >>> import keras, numpy as np
    >>> layer = Masked(keras.layers.Dense(1, kernel_initializer="ones"), masks=[[[1], [0], [1]]])
    >>> keras.ops.convert_to_numpy(layer(np.array([[1.0, 10.0, 100.0]], "float32")))
    array([[101.]], dtype=float32)

    Reference: masked retraining in Ye et al., "Progressive Weight Pruning of Deep Neural Networks using ADMM",
    arXiv:1810.07378.
    """

    def __init__(self, layer: keras.layers.Layer, masks: Sequence[ArrayLike] | None = None, **kwargs: Any):
        if not isinstance(layer, keras.layers.Layer):
            must = "a keras.layers.Layer"
            raise TypeError(checks.refused("Masked", "layer", must, layer, "Pass for example Dense(10)."))
        # Keras finds out from these signatures which arguments, masks and shapes a layer is to be given.
        self.call = _as(layer.call, functools.partial(type(self).call, self))
        self.build = _as(layer.build, functools.partial(self._build_both, self.build))
        own = {"name": layer.name, "trainable": layer.trainable, "dtype": layer.variable_dtype}
        # Casting is left to the inner layer, or a part of it that computes in float32 would get rounded weights.
        super().__init__(layer, **{**own, **kwargs}, autocast=False)
        self.supports_masking = layer.supports_masking
        self.supports_jit = layer.supports_jit
        self.masks = []
        self._given = None if masks is None else _given(masks)
        self._positions = None

    def _build_both(self, build_masks, *args, **kwargs):
        if not self.layer.built:
            self.layer.build(*args, **kwargs)
        build_masks()

    def build(self):
        if self._positions is None:
            kernels = kernels_of(self.layer)
        else:
            kernels = [self.layer.variables[i] for i in self._positions]
        shapes = [tuple(v.shape) for v in kernels]
        given = [np.ones(shape, bool) for shape in shapes] if self._given is None else self._given
        if shapes != [mask.shape for mask in given]:
            raise ValueError(
                f"{self.name}: `masks` must be one array for each kernel, of shapes {shapes}. Received: arrays "
                f"of shapes {[mask.shape for mask in given]}. Make them from these kernels."
            )
        self._given = None
        named = [f"mask_{i}" for i in range(len(kernels))]
        self.masks = [Mask(*each) for each in zip(kernels, given, named, strict=True)]
        for mask in self.masks:
            mask.of.constraint = _and_masked(mask.of.constraint, mask)

    def call(self, *args, **kwargs):
        if self._positions is not None and not self._has_kernels():
            self.layer.compute_output_spec(*args, **kwargs)
        self._build_masks_at_last()
        with _MaskedReads(self):
            return self.layer(*args, **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        spec = self.layer.compute_output_spec(*args, **kwargs)
        self._build_masks_at_last()
        return spec

    def compute_output_shape(self, *args, **kwargs):
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, *args, **kwargs):
        return self.layer.compute_mask(*args, **kwargs)

    def get_config(self):
        config = super().get_config()
        if _is_built_when_called(self.layer):
            # Built from a config it would only be said to be so.
            config["layer"].pop("build_config", None)
        return config

    def get_build_config(self):
        if not self.layer.get_build_config():
            return None
        # Which variables have masks: a part that was frozen since must find them again.
        places = {id(v): i for i, v in enumerate(self.layer.variables)}
        if any(id(mask.of) not in places for mask in self.masks):
            raise ValueError(
                f"{self.name}: a masked layer must have the kernels that were masked. Received: other ones, as "
                "model.quantize() makes them. Save keras_admm.strip(model)."
            )
        return {"masked": [places[id(mask.of)] for mask in self.masks]}

    def build_from_config(self, config):
        self._positions = config["masked"]
        if self._has_kernels():
            self.build()

    def _has_kernels(self):
        return max(self._positions, default=-1) < len(self.layer.variables)

    def _build_masks_at_last(self):
        """The masks of a loaded layer without `build()`, whose kernels are made in its first call."""
        if self._positions is not None and len(self.masks) < len(self._positions) and self._has_kernels():
            self._tracker.unlock()
            self.layer.built = True
            self.build()


class Mask(keras.Variable):
    """The mask of one variable: booleans, false where it is pruned.

    Attributes:
        of: the variable that is masked. Kept here, where Keras does not take it for a weight of the wrapper.
    """

    def __init__(self, of, value, name):
        def initializer(shape, dtype):
            return ops.convert_to_tensor(value, dtype=dtype)

        super().__init__(initializer, shape=value.shape, dtype="bool", trainable=False, name=name)
        self.of = of
        self._constant = value if keras.backend.backend() == "jax" else None

    def assign(self, value):
        value = super().assign(value)
        if self._constant is not None:
            self._constant = ops.convert_to_numpy(value)
        return value

    def in_optimizer(self):
        """The mask as an optimizer can read it: a compiled JAX step hands it the trainable variables only."""
        return self if self._constant is None else self._constant


class _MaskedReads(keras.StatelessScope):
    """A scope in which kernels read as masked. All else goes through it, as if it were not there."""

    def __init__(self, layer):
        self._layer = layer
        self._masks = {id(mask.of): mask for mask in layer.masks}
        masked = [(mask.of, _masked(mask.of, mask)) for mask in layer.masks]
        super().__init__(masked, collect_losses=True)

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value

    def add_update(self, update):
        variable, value = update
        with self._left():
            variable.assign(value)
            # Read anew: the gradient is that of the variable after the update, as without a mask.
            if id(variable) in self._masks:
                super().add_update((variable, _masked(variable, self._masks[id(variable)])))

    def add_loss(self, loss):
        outer = self.original_scope
        with self._left():
            if outer is None:
                self._layer.add_loss(loss)
            elif outer.collect_losses:
                # Past the wrapper: a loss that two layers had added would count twice.
                outer.add_loss(loss)

    @contextlib.contextmanager
    def _left(self):
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


def _as(method, function):
    """A function that is taken for a method of a layer, one that is decorated too."""
    taken = functools.wraps(method)(function)
    taken.__signature__ = inspect.signature(method)
    return taken


def _given(masks):
    must = "a list of arrays, one for each kernel"
    if not isinstance(masks, (list, tuple)):
        raise TypeError(checks.refused("Masked", "masks", must, masks, "Pass [mask]."))
    return [checks.array("Masked", f"masks[{i}]", mask) != 0 for i, mask in enumerate(masks)]


def _is_built_when_called(layer):
    """Whether a layer has no `build` of its own, so that its parts are built in its first call."""
    while isinstance(layer, Masked):
        layer = layer.layer
    return type(layer).build is keras.layers.Layer.build


def kernels_of(layer):
    """What is masked: the kernels that were made to be trained, whatever of the layer is frozen by now."""
    made = {id(v) for each in every_layer(layer) for v in made_trainable(each)}
    return [v for v in kernels(layer) if id(v) in made]


def masked_value(model):
    """A function of a variable of the model that gives its value, zero where it is masked."""
    masks = {}
    for variable in model.variables:
        if isinstance(variable, Mask):
            masks.setdefault(id(variable.of), []).append(variable)

    def value(variable):
        array = storable(variable)
        for mask in masks.get(id(variable), []):
            array = np.where(ops.convert_to_numpy(mask), array, np.zeros((), array.dtype))
        return array

    return value


def _masked(x, mask):
    # A choice, not a product: 0 * inf would be NaN, and 0 * -1 a negative zero.
    x = ops.convert_to_tensor(x)
    return ops.where(ops.convert_to_tensor(mask), x, ops.zeros((), dtype=x.dtype))


def _and_masked(constraint, mask):
    def constrained(w):
        return _masked(w if constraint is None else constraint(w), mask.in_optimizer())

    return constrained


register(Masked, Kind(channels=lambda layer, *facts: kinds.stages(layer.layer, *facts)))
