"""A Keras 3 graph run once more, node by node, with tf_keras layers in the places of its own."""

import contextlib
import itertools
import re

import keras
import numpy as np
from keras import ops, tree

from keras_admm.export.twin.layers import LEFT_OUT, LORA, call_arguments, held_pairs, is_graph, twin_layer
from keras_admm.export.twin.operations import MERGES, twin_operation


class Replay:
    """One model's way into tf_keras: first a twin for every layer, then the graph, then the weights.

    Attributes:
        refused: list of str, `name (class): why`, of what has no twin. Known as soon as the object is made, and
            before anything is built.
        pairs: list of (Keras 3 layer, tf_keras layer), those held in others after those that hold them.
    """

    def __init__(self, model, names=None, twins=None, batch_size=None):
        self.model = model
        self._batch_size = batch_size
        self.refused = []
        self.pairs = []
        self._names = Names() if names is None else names
        self._twins = {} if twins is None else twins
        self._masking = any(_makes_masks(layer) for layer in model._flatten_layers())
        self._prepare(model)

    def build(self):
        """The tf_keras model, with the weights and `trainable` flags of the original."""
        import tf_keras

        graph = _graph(self.model)
        inputs = tree.map_structure(self._input, graph._inputs_struct)
        outputs = self._run(self.model, tree.flatten(inputs))
        twin = tf_keras.Model(inputs, outputs, name=self.model.name)
        self._copy_state(twin)
        self._check_shared(twin)
        return twin

    def _check_shared(self, twin):
        factors = {id(v) for layer in self.model._flatten_layers() for v in _factors(layer)}
        held = {id(v) for v in self.model.weights} - factors, {id(v) for v in twin.weights}
        if len(held[0]) != len(held[1]):
            raise ValueError(
                f"{self.model.name}: layers that share weights must share them in tf_keras too. Received: "
                f"{len(held[0])} weights, which became {len(held[1])}, by a layer that copies what it holds, such as "
                f"Bidirectional. {LEFT_OUT}."
            )

    def _prepare(self, model):
        for node in _needed(_graph(model)):
            operation = node.operation
            with self._refusing(operation):
                if id(operation) not in self._twins:
                    self._twins[id(operation)] = self._made(operation)
                self._check_call(operation, *_explicit(node))
                _check_masks(node)

    @contextlib.contextmanager
    def _refusing(self, operation):
        try:
            yield
        except NotImplementedError as reason:
            line = f"{operation.name} ({type(operation).__name__}): {reason}."
            self.refused.extend([line] if line not in self.refused else [])

    def _made(self, operation):
        if is_graph(operation):
            return self._prepare(operation)
        if not isinstance(operation, keras.layers.Layer):
            return twin_operation(operation, self._names.new(operation.name), not self._masking)
        twin = twin_layer(operation, self._held)
        twin._name = self._names.new(operation.name)
        self._pair(operation, twin)
        return twin

    def _held(self, layer):
        """The twin of a layer inside another one: a model in a model of its own."""
        if not is_graph(layer):
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

    def _check_call(self, operation, args, kwargs):
        if any(isinstance(x, keras.Variable) for x in tree.flatten((args, kwargs))):
            raise NotImplementedError("it reads a variable of another layer. Call that layer instead")
        if is_graph(operation):
            unknown = [name for name, value in kwargs.items() if value is not None and name != "training"]
            if unknown:
                raise NotImplementedError(f"a model in a model takes no {unknown[0]} here. Call it without")
        elif isinstance(operation, keras.layers.Layer):
            call_arguments(operation, self._twins[id(operation)], args, kwargs)

    def _input(self, x):
        import tf_keras

        name = self._names.new(x._keras_history.operation.name)
        batch = x.shape[0] if self._batch_size is None else self._batch_size
        shape = (batch, *x.shape[1:])
        return tf_keras.Input(batch_shape=shape, dtype=x.dtype, name=name, sparse=x.sparse, ragged=x.ragged)

    def _run(self, model, inputs, training=None):
        graph = _graph(model)
        needed = {id(node.operation) for node in _needed(graph)}

        def call(operation):
            if id(operation) not in needed:  # it computes a mask: tf_keras does so by itself
                return lambda *args, **kwargs: tree.map_structure(lambda x: None, operation.output)
            return lambda *args, **kwargs: self._call(operation, args, kwargs, training)

        return graph._run_through_graph(inputs, operation_fn=call)

    def _call(self, operation, args, kwargs, training):
        twin = self._twins[id(operation)]
        args, kwargs = tree.map_structure(_constant, (args, kwargs))
        if is_graph(operation):
            pinned = kwargs.get("training")
            return self._run(operation, tree.flatten(args), training if pinned is None else pinned)
        if not isinstance(operation, keras.layers.Layer):
            return twin(*args, **kwargs)
        if training is not None and operation._call_has_training_arg:
            kwargs = {**kwargs, "training": training}
        args, kwargs = call_arguments(operation, twin, args, kwargs)
        return twin(*args, **kwargs)

    def _copy_state(self, twin):
        twin.trainable = True
        for layer, new in self.pairs:
            new.trainable = layer.trainable
        for layer, new in self.pairs:
            _copy_weights(layer, new, list(held_pairs(layer, new)))


class Names:
    """Names that no other layer of the twin has, nor any that tf_keras will make up.

    TFMOT adds layers, under names that tf_keras makes up, to a model in which it looks layers up by name.
    """

    def __init__(self):
        self._taken = set()

    def new(self, name):
        from tf_keras.src import backend

        tries = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
        name = next(each for each in tries if each not in self._taken)
        self._taken.add(name)
        base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
        made_up = backend.get_default_graph_uid_map()
        made_up["", base] = max(made_up["", base], int(number or 0) + 1)
        return name


def _graph(model):
    return model._functional if isinstance(model, keras.Sequential) else model


def _makes_masks(layer):
    return isinstance(layer, keras.layers.Masking) or isinstance(layer, keras.layers.Embedding) and layer.mask_zero


def _needed(graph):
    """The nodes that the outputs depend on, inputs first, without those that only compute Keras's masks."""
    wanted, needed = {id(x) for x in graph.outputs}, []
    for depth in sorted(graph._nodes_by_depth):
        for node in graph._nodes_by_depth[depth]:
            if not node.is_input and any(id(x) in wanted for x in node.outputs):
                needed.append(node)
                wanted.update(id(x) for x in tree.flatten(_explicit(node)))
    return needed[::-1]


def _explicit(node):
    """A call's arguments, without the masks that came along with its tensors."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    along = {id(getattr(x, "_keras_mask", None)) for x in node.input_tensors} | {id(None)}
    own = {
        name: value
        for name, value in kwargs.items()
        if not name.endswith("mask") or any(id(x) not in along for x in tree.flatten(value))
    }
    return args, own


def _check_masks(node):
    masks = {id(getattr(x, "_keras_mask", None)) for x in node.input_tensors}
    merges = type(node.operation).__name__ in (*MERGES, "Concatenate")
    if len(masks) > 1 and merges and isinstance(node.operation, keras.layers.Layer):
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


def _copy_weights(layer, twin, held):
    own, new = _own(layer, [old for old, _ in held]), _own(twin, [inner for _, inner in held])
    if [tuple(v.shape) for v in own] != [tuple(v.shape) for v in new]:
        raise ValueError(
            f"{layer.name}: a {type(layer).__name__} must have the same weights in tf_keras, of shapes "
            f"{[tuple(v.shape) for v in own]}. Received: {[tuple(v.shape) for v in new]}. {LEFT_OUT}."
        )
    for old, variable in zip(own, new, strict=True):
        variable.assign(ops.convert_to_numpy(_with_lora(layer, old)))
    twin.finalize_state()  # Normalization computes with constants made of its weights


def _own(layer, held):
    others = {id(v) for each in held for v in each.weights} | {id(v) for v in _factors(layer)}
    return [v for v in layer.weights if id(v) not in others]


def _factors(layer):
    return [vars(layer)[name] for name in LORA if name in vars(layer)]


def _with_lora(layer, variable):
    """A variable's value, with the product of LoRA's factors added to the kernel that they change."""
    for name in ("kernel", "embeddings"):
        if _factors(layer) and vars(layer).get(f"_{name}") is variable:
            return getattr(layer, name)
    return variable
