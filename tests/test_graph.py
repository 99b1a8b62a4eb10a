"""A model as its calls: laws over a table of models, of Keras 3 and of tf_keras alike."""

import keras
import numpy as np
import pytest
from keras import ops, tree

from keras_admm.graph import Tensor, calls, has_graph

LIBRARIES = ["keras"] + (["tf_keras"] if keras.backend.backend() == "tensorflow" else [])


def block(k, name="block", units=4):
    a, b = k.layers.Dense(units, name=f"{name}_a"), k.layers.Dense(3, name=f"{name}_b")
    return k.Sequential([k.Input((4,)), a, k.layers.Dropout(0.5, name=f"{name}_drop"), b], name=name)


def chain(k):
    return k.Sequential([k.Input((4,)), k.layers.Dense(3, name="a"), k.layers.Dense(2, name="b")])


def branches(k):
    """Layers in the order in which they compute, which is not that in which they were made."""
    x, y = k.Input((4,), name="x"), k.Input((3,), name="y")
    last = k.layers.Add(name="last")
    a, b = k.layers.Dense(3, name="a")(x), k.layers.Dense(3, name="b")(y)
    return k.Model([x, y], {"sum": last([a, b]), "b": b})


def shared(k):
    x, layer = k.Input((4,)), k.layers.Dense(4, name="layer")
    return k.Model(x, k.layers.Concatenate(name="end")([layer(layer(x)), layer(x)]))


def nested(k):
    x = k.Input((4,))
    return k.Model(x, k.layers.Dense(2, name="end")(block(k)(x)))


def nested_twice(k):
    x, inner = k.Input((4,)), block(k, units=5)
    return k.Model(x, inner(k.layers.Dense(4, name="between")(inner(x))))


def nested_deep(k):
    x = k.Input((4,))
    middle = k.Model(x, k.layers.Dense(4, name="after")(block(k)(x)))
    return k.Sequential([k.Input((4,)), k.layers.Dense(4, name="first"), middle])


def nested_of_named_inputs(k):
    """A model of two inputs, called with a dict; the order of the keys is not that of the inputs."""
    z, a = k.Input((3,), name="z"), k.Input((4,), name="a")
    inner = k.Model([z, a], [k.layers.Dense(2, name="of_z")(z), k.layers.Dense(2, name="of_a")(a)])
    x, y = k.Input((4,)), k.Input((3,))
    return k.Model([x, y], k.layers.Subtract(name="end")(inner({"a": x, "z": y})))


def operations(k):
    x = k.Input((4,))
    return k.Model(x, k.layers.Dense(2, name="a")(x * 2.0 + x)[:, :1])


def masks(k):
    x = k.Input((4,), dtype="int32")
    h = k.layers.Embedding(9, 3, mask_zero=True, name="embedding")(x)
    return k.Model(x, k.layers.LSTM(2, name="lstm")(h))


def nested_with_masks(k):
    h = k.Input((4, 3))
    inner = k.Model(h, k.layers.LSTM(2, name="lstm")(k.layers.Dense(3, name="dense")(h)))
    x = k.Input((4,), dtype="int32")
    return k.Model(x, inner(k.layers.Embedding(9, 3, mask_zero=True, name="embedding")(x)))


# With the names of their layers, in order; None where the library makes some up.
MODELS = {
    chain: "a b",
    branches: "a b last",
    shared: "layer layer layer end",
    nested: "block_a block_drop block_b end",
    nested_twice: "block_a block_drop block_b between block_a block_drop block_b",
    nested_deep: "first block_a block_drop block_b after",
    nested_of_named_inputs: "of_a of_z end",
    operations: None,
    masks: None,
}
by_model = pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
by_library = pytest.mark.parametrize("library", LIBRARIES)


def made(kind, library):
    return kind(pytest.importorskip(library))


def followed(model):
    return calls.of(model, "it can be tested")


def data(model):
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 3, (2, *x.shape[1:])).astype(keras.backend.standardize_dtype(x.dtype)) for x in model.inputs
    ]


def arrays(outputs):
    return [ops.convert_to_numpy(x) for x in tree.flatten(outputs)]


@by_library
@by_model
def test_calls_compute_what_the_model_does(kind, library):
    model = made(kind, library)
    x = data(model)
    outputs = followed(model).run(x, lambda call, args, kwargs: call.layer(*args, **kwargs))
    expected = model(x[0] if len(x) == 1 else x)
    assert tree.map_structure(np.shape, outputs) == tree.map_structure(np.shape, expected)
    assert all(map(np.array_equal, arrays(outputs), arrays(expected)))


@by_library
@by_model
def test_each_call_comes_after_those_that_it_reads(kind, library):
    graph = followed(made(kind, library))
    known = set(tree.flatten(graph.inputs))
    for call in graph:
        assert known.issuperset(call.inputs) and set(call.inputs) >= set(call.reads())
        known.update(call.outputs)
    assert known.issuperset(tree.flatten(graph.outputs))


@by_library
@by_model
def test_models_in_the_model_are_opened(kind, library):
    graph = followed(made(kind, library))
    assert not any(has_graph(call.layer) for call in graph)
    if MODELS[kind] is not None:
        assert " ".join(call.layer.name for call in graph) == MODELS[kind]
        assert all(call.plain for call in graph)


@by_library
@by_model
def test_each_variable_has_its_readers(kind, library):
    model = made(kind, library)
    graph = followed(model)
    readers = graph.readers()
    for v in model.variables:
        assert readers[id(v)] == [c for c in graph if any(v is own for own in getattr(c.layer, "variables", ()))]
    assert max(map(len, readers.values())) == {shared: 3, nested_twice: 2}.get(kind, 1)


@by_library
def test_a_tensor_knows_the_layer_that_it_comes_from(library):
    graph = followed(made(branches, library))
    last = [call for call in graph if call.layer.name == "last"][0]
    assert [(x.layer.name, x.shape) for x in last.inputs] == [("a", (None, 3)), ("b", (None, 3))]
    assert [x.layer.name for x in graph.inputs] == ["x", "y"]
    assert {name: x.layer.name for name, x in graph.outputs.items()} == {"sum": "last", "b": "b"}


def of_training(k):
    x, inner = k.Input((4,)), block(k)
    return k.Model(x, k.layers.Dense(2)(inner(x, training=True)))


@by_library
def test_what_a_model_was_called_with_is_what_its_layers_are_called_with(library):
    graph = followed(made(of_training, library))
    drop = next(call for call in graph if call.layer.name == "block_drop")
    assert drop.kwargs == {"training": True} and not drop.plain
    assert graph.calls[-1].plain


def other_rank(k):
    inner = k.Sequential([k.Input((4, 1)), k.layers.Flatten(), k.layers.Dense(2)])
    x = k.Input((4,))
    return k.Model(x, inner(x))


def own_mask(k):
    h = k.Input((4, 3))
    inner = k.Model(h, k.layers.LSTM(2)(h))
    x, mask = k.Input((4, 3)), k.Input((4,), dtype="bool")
    return k.Model([x, mask], inner(x, mask=mask))


def own_call(k):
    class Own(k.Sequential):
        def call(self, x, training=None, mask=None):
            return super().call(x) * 2

    x = k.Input((4,))
    return k.Model(x, Own([k.Input((4,)), k.layers.Dense(3)])(x))


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("kind", [other_rank, own_mask, own_call], ids=lambda kind: kind.__name__)
@by_library
def test_a_model_that_cannot_be_opened_is_one_call(kind, library):
    model = made(kind, library)
    graph = followed(model)
    assert len(graph.calls) == 1 and isinstance(graph.calls[0].layer, pytest.importorskip(library).Model)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_masks_that_come_along_are_read_but_are_no_arguments():
    """In tf_keras they are no part of a graph."""
    *_, lstm = graph = followed(masks(keras))
    assert len(lstm.inputs) == 2 and len(lstm.reads()) == 1 and not lstm.plain
    assert lstm.masks == [lstm.inputs[1].symbol, None] and graph.calls[0].masks == [None]
    assert [type(call.layer).__name__ for call in graph.needed()] == ["Embedding", "LSTM"]
    assert len(graph.calls) == 3
    *_, dense, lstm = followed(nested_with_masks(keras))
    assert not dense.plain and len(dense.inputs) == len(lstm.inputs) == 2


@by_library
def test_only_what_an_output_depends_on_is_needed(library):
    k = pytest.importorskip(library)
    x = k.Input((4,))
    inner = k.Model(x, [k.layers.Dense(2, name="a")(x), k.layers.Dense(2, name="b")(x)])
    graph = followed(k.Model(x, inner(x)[0]))
    assert [call.layer.name for call in graph] == ["b", "a"]
    assert [call.layer.name for call in graph.needed()] == ["a"]
    assert all(isinstance(x, Tensor) for x in tree.flatten([graph.inputs, graph.outputs]))


@by_library
def test_models_without_a_graph_get_a_sentence(library):
    k = pytest.importorskip(library)

    class Own(k.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=f"own: only a Sequential or .* Received: a Own, .* Build it as {library}.M"):
        followed(Own(name="own"))
    with pytest.raises(ValueError, match="early: the model must be built before it can be tested. Received: .* Call"):
        followed(k.Sequential([k.layers.Dense(2)], name="early"))
    assert not has_graph(k.Sequential([k.layers.Dense(2)])) and not has_graph(k.layers.Dense(2))


def test_a_sequential_model_that_keras_cannot_trace_gets_a_sentence():
    class Eager(keras.layers.Layer):
        def call(self, x):
            return ops.convert_to_tensor(ops.convert_to_numpy(x) * 2)

        def compute_output_spec(self, x):
            raise NotImplementedError

    model = keras.Sequential([Eager()], name="eager")
    model(np.ones((1, 2), "float32"))
    with pytest.raises(ValueError, match="eager: the graph .* Received: a Sequential with a layer .* Give"):
        followed(model)
