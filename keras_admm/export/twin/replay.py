"""Conversion of a Keras 3 model to tf_keras: its graph is run once more, call by call, with layers of tf_keras."""

import keras
import numpy as np
from keras import ops, tree

from keras_admm.export.twin.layers import LEFT_OUT, call_arguments, held_pairs, twin_layer
from keras_admm.export.twin.names import Names, fit
from keras_admm.export.twin.operations import MERGES, twin_operation
from keras_admm.export.twin.weights import copy_weights, lora_factors
from keras_admm.graph import calls, every_layer, has_graph


class Replay:
    """The conversion of one model: first a tf_keras layer, its twin, for every layer, then the graph, then the weights.

    Attributes:
        refused: list of str, `name (class): why`, of what has no twin. Known as soon as the object is made, and
            before anything is built.
        pairs: list of (Keras 3 layer, tf_keras layer), those held in others after those that hold them.
    """

    def __init__(self, model, names=None, twins=None, batch_size=None):
        self.model = model
        self._calls = followed(model).needed()
        self._batch_size = batch_size
        self.refused = []
        self.pairs = []
        self._names = Names() if names is None else names
        self._twins = {} if twins is None else twins
        self._masking = any(_makes_masks(layer) for layer in every_layer(model))
        for call in self._calls:
            self._prepare(call)

    def build(self):
        """The tf_keras model, with the weights and `trainable` flags of the original."""
        import tf_keras

        inputs = tree.map_structure(self._input, self._calls.inputs)
        twin = tf_keras.Model(inputs, self._calls.run(inputs, self._call), name=fit(self.model.name))
        self._copy_state(twin)
        self._check_shared(twin)
        return twin

    def _check_shared(self, twin):
        factors = {id(v) for layer in every_layer(self.model) for v in lora_factors(layer)}
        held = {id(v) for v in self.model.weights} - factors, {id(v) for v in twin.weights}
        if len(held[0]) != len(held[1]):
            raise ValueError(
                f"{self.model.name}: layers that share weights must share them in tf_keras too. Received: "
                f"{len(held[0])} weights, which became {len(held[1])}, by a layer that copies what it holds, such as "
                f"Bidirectional. {LEFT_OUT}."
            )

    def _prepare(self, call):
        try:
            if id(call.layer) not in self._twins:
                self._twins[id(call.layer)] = self._made(call)
            _check_call(call, self._twins[id(call.layer)])
        except NotImplementedError as reason:
            line = f"{call.layer.name} ({type(call.layer).__name__}): {reason}."
            self.refused.extend([line] if line not in self.refused else [])

    def _made(self, call):
        layer = call.layer
        if has_graph(layer):
            raise NotImplementedError(_not_opened(call))
        if not isinstance(layer, keras.layers.Layer):
            return twin_operation(call, self._names.new(layer.name), not self._masking)
        twin = twin_layer(layer, self._held)
        twin._name = self._names.new(layer.name)
        self._pair(layer, twin)
        return twin

    def _held(self, layer):
        """The twin of a layer inside another one: a model in a model of its own."""
        if not has_graph(layer):
            if id(layer) not in self._twins:
                self._twins[id(layer)] = twin_layer(layer, self._held)
            return self._twins[id(layer)]
        inner = Replay(layer, self._names, self._twins)
        if inner.refused:
            raise NotImplementedError(f"in it, {' '.join(inner.refused)}"[:-1])
        return inner.build()

    def _pair(self, layer, twin):
        self.pairs.append((layer, twin))
        for inner in held_pairs(layer, twin):
            self._pair(*inner)

    def _input(self, x):
        import tf_keras

        symbol, name = x.symbol, self._names.new(x.layer.name)
        batch = x.shape[0] if self._batch_size is None else self._batch_size
        kind = {"sparse": symbol.sparse, "ragged": symbol.ragged}
        return tf_keras.Input(batch_shape=(batch, *x.shape[1:]), dtype=symbol.dtype, name=name, **kind)

    def _call(self, call, args, kwargs):
        twin = self._twins[id(call.layer)]
        args, kwargs = tree.map_structure(_constant, (args, kwargs))
        if isinstance(call.layer, keras.layers.Layer):
            args, kwargs = call_arguments(call.layer, twin, args, kwargs)
        return twin(*args, **kwargs)

    def _copy_state(self, twin):
        twin.trainable = True
        for layer, new in self.pairs:
            new.trainable = layer.trainable
        for layer, new in self.pairs:
            copy_weights(layer, new, list(held_pairs(layer, new)))


def followed(model):
    """The calls of a model that is to be made again.

    Raises:
        ValueError: for a model that is subclassed or not built.
    """
    return calls.of(model, "it can be made again in tf_keras")


def _makes_masks(layer):
    return isinstance(layer, keras.layers.Masking) or isinstance(layer, keras.layers.Embedding) and layer.mask_zero


def _check_call(call, twin):
    """Refuses what tf_keras computes in another way.

    Raises:
        NotImplementedError: with the reason and the remedy.
    """
    args, kwargs = call.args, call.kwargs
    if any(isinstance(x, keras.Variable) for x in tree.flatten((args, kwargs))):
        raise NotImplementedError("it reads a variable of another layer. Call that layer instead")
    if isinstance(call.layer, keras.layers.Layer):
        call_arguments(call.layer, twin, args, kwargs)
        _check_masks(call)


def _not_opened(call):
    """Why the layers of a model in the model cannot be called one by one."""
    unknown = [name for name, value in call.kwargs.items() if value is not None and name != "training"]
    if unknown:
        return f"a model in a model takes no {unknown[0]} here. Call it without"
    return "a model in a model takes its inputs, of their own ranks, and a bool `training` alone here. Call it so"


def _check_masks(call):
    if len(set(map(id, call.masks))) > 1 and type(call.layer).__name__ in (*MERGES, "Concatenate"):
        raise NotImplementedError(
            "it merges tensors with different Keras masks, which tf_keras joins in another way. "
            "Use keras.ops there, which passes no mask on"
        )


def _constant(x):
    """A constant of the graph as numbers that every file format can hold."""
    import tf_keras

    if isinstance(x, tf_keras.__internal__.KerasTensor):  # which TensorFlow takes for a tensor of its own
        return x
    return ops.convert_to_numpy(x).tolist() if isinstance(x, np.ndarray) or ops.is_tensor(x) else x
