"""Kinds of layers, a row each for all who ask, and what they tell of a model's channels."""

import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from mortal import MADE, chain, made, pruned

import keras_admm as ka
from keras_admm import graph, weights
from keras_admm.graph import Kernel, Kind, flow, kinds
from keras_admm.graph.kind import ROWS, rows_of, uses_of


def all_classes(*libraries):
    of = [c for library in libraries for c in vars(pytest.importorskip(library).layers).values()]
    return {base.__name__ for c in of if isinstance(c, type) for base in c.__mro__}


@pytest.mark.tensorflow_only
def test_each_row_is_of_a_class_that_there_is():
    # Held by ConvLSTM1D and the like, or by keras.applications, and public nowhere.
    networks = (keras.applications.ConvNeXtTiny, keras.applications.InceptionResNetV2)
    held = {"ConvLSTMCell"}.union(*(vars(sys.modules[network.__module__]) for network in networks))
    assert {name for name in ROWS if isinstance(name, str)} - held <= all_classes("keras", "tf_keras")


@pytest.mark.parametrize(
    "kernel, groups, shape, viewed, place",
    [
        (Kernel("k", inputs=-2, outputs=-1), 1, (4, 6), (4, 1, 6), lambda i, g, o: (i, o)),
        (Kernel("k", inputs=-2, outputs=-1), 3, (5, 4, 6), (5, 4, 3, 2), lambda p, i, g, o: (p, i, 2 * g + o)),
        (Kernel("k", inputs=-1, outputs=-2), 1, (5, 4, 6), (5, 6, 1, 4), lambda p, i, g, o: (p, o, i)),
        (Kernel("k", groups=-2, outputs=-1), 1, (5, 4, 2), (5, 1, 4, 2), lambda p, i, g, o: (p, g, o)),
    ],
    ids=["dense", "convolution in groups", "transposed", "depthwise"],
)
def test_the_axes_of_a_kernel(kernel, groups, shape, viewed, place):
    array = np.arange(np.prod(shape)).reshape(shape)
    view = kernel.view(array, groups)
    assert view.shape == viewed and np.shares_memory(view, array)
    assert all(view[index] == array[place(*index)] for index in np.ndindex(viewed))


class Same(layers.Dense):
    """A layer of Keras that is made in another way."""


class Other(layers.Dense):
    """A layer that computes as it likes."""

    def call(self, x):
        return super().call(x) + ops.sum(x)


class Known(Other):
    """One that its author tells of."""


class LikeKnown(Known):
    """One that is derived from it."""


graph.register(
    Known,
    Kind(
        kernels=(Kernel("kernel", inputs=-2, outputs=-1),),
        uses=lambda layer, inputs, outputs: 7,
        channels=lambda layer, inputs, outputs, array: [graph.Mixing()],
    ),
)


def stages(layer, shape=(None, 4)):
    layer.build(shape)
    return kinds.stages(layer, [shape], [(None, 3)], weights.storable)


@pytest.mark.parametrize(
    "kind, uses, passes",
    [(layers.Dense, 5, 2), (Same, 5, None), (Other, None, None), (Known, 7, 1), (LikeKnown, 7, None)],
)
def test_whose_row_counts(kind, uses, passes):
    """For kernels, of every class that it is derived from; for MACs, of whose `call` it runs; for channels, its own."""
    layer = kind(3)
    assert stages(layer) is None if passes is None else len(stages(layer)) == passes
    assert weights.kernels(layer) == [layer.kernel]
    assert uses is None if uses_of(layer) is None else uses_of(layer)(layer, (5, 4), (5, 3)) == uses


def test_an_operation_is_no_layer_of_the_same_name():
    x = keras.Input((3,))
    operation = (x + x)._keras_history.operation
    assert type(operation).__name__ == "Add" and not rows_of(operation)


@pytest.mark.parametrize(
    "what, row, sentence",
    [
        (Known(3), Kind(), "graph.register: `layer_class` must be a class of layers.* Received: layer_class=<Known"),
        (keras.Model, "dense", "graph.register: `row` must be a keras_admm.graph.Kind. Received: row='dense'. Pass"),
        (dict, Kind(), "graph.register: `layer_class` must be a class of layers"),
    ],
)
def test_what_is_no_kind_gets_a_sentence(what, row, sentence):
    with pytest.raises(TypeError, match=sentence):
        ka.graph.register(what, row)


def read_only(variable):
    value = weights.storable(variable)
    value.flags.writeable = False
    return value


def facts_of(model):
    calls = graph.calls.of(model, "its channels are known")
    return calls, flow.of(calls, read_only)


def by_layer(calls, facts):
    return {call.layer.name: [f[call.outputs[0]].tolist() for f in (facts.constants, facts.needed)] for call in calls}


def test_facts_by_hand():
    """Neurons: one alive, one that nothing reaches, one that reaches nothing."""
    a, b, c = layers.Dense(3, "relu", name="a"), layers.Dense(2, use_bias=False, name="b"), layers.Dense(1, name="c")
    model = chain(a, b, c, shape=(2,))
    a.set_weights([np.array([[1, 0, 3], [2, 0, 4]]), np.array([0.5, 2, 7])])
    b.set_weights([np.array([[1, 0], [5, 3], [0, 0]])])
    c.set_weights([np.array([[1], [1]]), np.array([4])])
    calls, facts = facts_of(model)
    told = by_layer(calls, facts)
    nan = pytest.approx(np.nan, nan_ok=True)
    assert told["a"] == [[nan, 2, nan], [True, True, False]]
    assert told["b"] == [[nan, 6], [True, False]]  # which the last bias can take up
    assert told["c"] == [[nan], [True]]
    assert [type(p.stage).__name__ for p in facts.passages] == ["Elementwise", "Linear"] * 3


def test_facts_of_normalization_and_joined_channels_by_hand():
    x = keras.Input((1,))
    a, b = layers.Dense(2, name="a"), layers.Dense(1, name="b")
    norm = layers.BatchNormalization(epsilon=0.0, name="norm")
    model = keras.Model(
        x, layers.Dense(1, use_bias=False, name="end")(layers.Concatenate(name="both")([norm(a(x)), b(x)]))
    )
    a.set_weights([np.array([[1.0, 0]]), np.array([0.0, 3])])
    norm.set_weights([np.array([2.0, 2]), np.array([1.0, 1]), np.array([0.0, 1]), np.array([4.0, 4])])
    b.set_weights([np.array([[1.0]]), np.array([0.0])])
    model.get_layer("end").set_weights([np.array([[1.0], [1], [0]])])
    told = by_layer(*facts_of(model))
    nan = pytest.approx(np.nan, nan_ok=True)
    assert told["a"] == [[nan, 3], [True, False]]  # beta can take it up
    assert told["norm"] == [[nan, (3 - 1) * 2 / 2 + 1], [True, True]]
    assert told["both"] == [[nan, 3, nan], [True, True, False]]
    assert told["b"] == [[nan], [False]]


@pytest.mark.parametrize("kind", MADE)
def test_what_is_said_to_be_constant_is_and_what_is_not_needed_may_be_anything(kind):
    """And facts are found without editing: the values cannot be written to."""
    model = pruned(made(MADE[kind]))
    calls, facts = facts_of(model)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, *model.input_shape[1:])).astype("float32")

    def compute(call, args, kwargs):
        out = call.layer(*args, **{**kwargs, "training": False} if "training" in kwargs else kwargs)
        told = facts.constants[call.outputs[0]]
        known, value = ~np.isnan(told), ops.convert_to_numpy(out)
        np.testing.assert_allclose(value[..., known], np.broadcast_to(told, value.shape)[..., known], atol=1e-5)
        free = ~known & ~facts.needed[call.outputs[0]]
        return ops.convert_to_tensor(np.where(free, rng.normal(size=value.shape), value).astype(value.dtype))

    assert any(np.isfinite(each).any() for each in facts.constants.values())
    assert any(not each.all() for each in facts.needed.values())
    outputs, expected = (ops.convert_to_numpy(y) for y in (calls.run(x, compute), model(x, training=False)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
