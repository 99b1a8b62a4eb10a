"""What passes through layers while a model runs: each of their calls, with what goes in and what comes out."""

import contextlib
from dataclasses import dataclass, replace

import keras

from keras_admm import checks
from keras_admm.graph.kind import is_layer_class


@dataclass(frozen=True, eq=False)
class Observed:
    """One call of a layer.

    Attributes:
        layer: the layer.
        args, kwargs: what it was called with.
        outputs: what it returned; None as long as it has not.
        around: tuple of the `Observed` calls that this one is a part of, the outermost first.
    """

    layer: object
    args: tuple
    kwargs: dict
    outputs: object
    around: tuple

    @property
    def inputs(self):
        """The first argument."""
        return self.args[0] if self.args else next(iter(self.kwargs.values()), None)

    @property
    def in_loop(self):
        """Whether it is traced once for all rounds of a loop that is inside of the outermost call."""
        outermost = next((place for place in map(_place, (*self.around, self)) if place is not None), None)
        return _place(self) is not outermost


@contextlib.contextmanager
def observe(layers, on_call):
    """Tells of each call of some layers, as long as the context is open: activations, calibration, shapes.

    Called on data by itself, or by a `fit` or `predict` that runs eagerly, a model hands its layers tensors of values.
    Where it is traced (`compile` without `run_eagerly`, `keras.Model.compute_output_spec`), they are symbolic, and each
    call is told of once, in the trace; steps that were compiled before are not traced again. What layers do stays as it
    is, and they are as they were when the context ends, by an exception too.

    Args:
        layers: layers or models, of Keras 3 on any backend or of tf_keras, quantized ones too.
        on_call: function of an `Observed`, called after each call of one of the layers.

    Yields:
        A list of the `Observed` calls that are going on, the outermost first.

    Raises:
        TypeError: for other arguments, before anything is called.

    Example: the size of what comes out of each layer.

    >>> import numpy as np
    >>> model = keras.Sequential([keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    >>> sizes = {}
    >>> with observe(model.layers, lambda call: sizes.update({call.layer.name: tuple(call.outputs.shape)})):
    ...     _ = model(np.ones((5, 4)))
    >>> sizes
    {'a': (5, 3), 'b': (5, 2)}
    """
    checks.takes("observe", "on_call", on_call, 1, "a function of an Observed")

    def told(observed):
        on_call(observed)
        return observed.outputs

    with _watched(layers, told) as going_on:
        yield going_on


def alter(layers, outputs):
    """Hands on other outputs in the places of those of each call of some layers, as long as the context is open.

    Args:
        layers: as in `observe`.
        outputs: function of an `Observed` that returns what is handed on; the Keras mask stays that of the call.

    Returns:
        A context, which yields what that of `observe` does.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.layers.ReLU(), keras.layers.ReLU()])
    >>> with alter(model.layers, lambda call: call.outputs + 1):
    ...     print(float(model(np.zeros((1, 1)))[0, 0]))
    2.0
    """
    return _watched(layers, outputs)


@contextlib.contextmanager
def _watched(layers, outputs):
    watch = _Watch(outputs)
    with contextlib.ExitStack() as attached:
        for layer in _each_once(layers):
            attached.enter_context(watch.of(layer))
        yield watch.going_on


def _each_once(layers):
    if not isinstance(layers, (list, tuple, set)) or not all(is_layer_class(type(layer)) for layer in layers):
        must = "a list of layers, of Keras 3 or tf_keras"
        raise TypeError(checks.refused("observe", "layers", must, layers, "Pass for example model.layers."))
    return {id(layer): layer for layer in layers}.values()


class _Watch:
    def __init__(self, outputs):
        self.going_on = []
        self._outputs = outputs

    @contextlib.contextmanager
    def of(self, layer):
        name = _method(layer)
        own = {name: vars(layer)[name]} if name in vars(layer) else {}
        # Past __setattr__, which would track it.
        vars(layer)[name] = self._noting(layer, getattr(layer, name))
        try:
            yield
        finally:
            del vars(layer)[name]
            vars(layer).update(own)

    def _noting(self, layer, call):
        def noted(*args, **kwargs):
            observed = Observed(layer, args, kwargs, None, tuple(self.going_on))
            self.going_on.append(observed)
            try:
                outputs = call(*args, **kwargs)
            finally:
                self.going_on.pop()
            return self._outputs(replace(observed, outputs=outputs))

        return noted


def _method(layer):
    """The method by which Keras calls a layer: another one where it has quantized it."""
    return "quantized_call" if isinstance(layer, keras.layers.Layer) and layer.quantization_mode else "call"


def _place(observed):
    """The graph, or on JAX the trace, that the inputs are in; None where they are values, and on torch."""
    tensor = next(iter(keras.tree.flatten(observed.inputs)), None)
    return getattr(tensor, "graph", getattr(tensor, "_trace", None))
