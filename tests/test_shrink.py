"""A smaller model: what is dead leaves, the outputs stay, and what stays though it is dead is said."""

import functools

import keras
import numpy as np
import pytest
from cases import HERE, rows
from keras import layers, ops
from mortal import RELU, chain
from structured_models import MODELS, halved, random_inputs, randomize

import keras_admm as ka
from keras_admm import graph, weights
from keras_admm.graph import groups
from keras_admm.structure import trial

GATE = ("chain", "residual", "option A", "squeeze and excite", "grouped convolutions", "bidirectional")


def outputs(model, inputs):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(inputs, training=False))]


def assert_same(small, model, seed=7):
    inputs = random_inputs(model, seed=seed)
    for a, b in zip(outputs(small, inputs), outputs(model, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


def shapes(model):
    return [tuple(v.shape) for v in model.weights]


def zero(variable, axis, *indices):
    """Sets to zero what is at some places along an axis; without any, all."""
    value = weights.read(variable)
    value[(slice(None),) * axis + (list(indices) or slice(None),)] = 0
    weights.write(variable, value)


def macs(model):
    return ka.report(model).total.macs


def application(name):
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not have it on torch")
    return getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)


APPLICATIONS = "MobileNetV2 MobileNetV3Small EfficientNetB0 ResNet50 DenseNet121 InceptionV3 ConvNeXtTiny NASNetMobile"
TABLE = {**MODELS, **{name: functools.partial(application, name) for name in APPLICATIONS.split()}}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", rows(lambda name: name in GATE if HERE else name == "residual", TABLE))
def test_half_of_all_groups_leaves_and_the_outputs_stay(name):
    model = TABLE[name]()
    randomize(model)
    found = groups.of(model)
    stays = halved(found)
    before = [weights.read(v) for v in model.weights]
    small = ka.shrink(model)
    assert_same(small, model)
    assert all(map(np.array_equal, before, map(weights.read, model.weights)))
    assert groups.of(small).macs() == found.macs(stays)
    assert small.count_params() == found.parameters(stays)
    assert macs(small) <= 0.6 * macs(model)


def perceptron(activation, constant=2.0, **options):
    """Three units: the second says the same for all inputs, the third is read by nobody."""
    a, b = layers.Dense(3, activation, name="a"), layers.Dense(1, name="b", **options)
    model = chain(a, b, shape=(2,))
    weights.write(a.kernel, [[1, 0, 3], [2, 0, 4]])
    weights.write(a.bias, [0.5, constant, 7])
    weights.write(b.kernel, [[1], [5], [0]])
    return model


@pytest.mark.every_backend
def test_a_constant_goes_into_the_next_bias():
    small = ka.shrink(perceptron("sigmoid"))
    kernel, bias, last, shift = map(weights.read, small.weights)
    assert (kernel.tolist(), bias.tolist(), last.tolist()) == ([[1], [2]], [0.5], [[1]])
    assert shift == pytest.approx([5 / (1 + np.exp(-2))])


def test_a_constant_that_no_bias_takes_up_stays_and_is_said():
    with pytest.warns(UserWarning, match="same for all inputs but not zero stay.*: 1 of a"):
        small = ka.shrink(perceptron("sigmoid", use_bias=False))
    assert shapes(small) == [(2, 2), (2,), (2, 1)]
    assert shapes(ka.shrink(perceptron("relu", -1.0, use_bias=False))) == [(2, 1), (1,), (1, 1)]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_zeros_around_the_image_keep_a_constant_that_is_not_zero(padding):
    a, b = layers.Conv2D(3, 1, activation="sigmoid", name="a"), layers.Conv2D(2, 3, padding=padding, name="b")
    model = chain(a, b, shape=(6, 6, 1))
    randomize(model)
    zero(a.kernel, 3, 1)
    if padding == "same":
        with pytest.warns(UserWarning, match="pads with zeros.*1 of a"):
            small = ka.shrink(model)
    else:
        small = ka.shrink(model)
    assert_same(small, model)
    assert small.layers[1].filters == {"same": 3, "valid": 2}[padding]


def blocks(norm=True):
    """Two residual blocks."""

    def build(x):
        x = layers.Conv2D(4, 1, name="stem")(x)
        for n in "ab":
            y = layers.Conv2D(6, 3, padding="same", use_bias=False, name=f"{n}1", **RELU)(x)
            y = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"{n}2")(y)
            y = layers.BatchNormalization(name=f"{n}3")(y) if norm else y
            x = layers.ReLU(name=f"{n}4")(layers.Add(name=f"{n}5")([x, y]))
        return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="pool")(x))

    model = chain(build, shape=(5, 5, 2))
    randomize(model)
    return model


def names(model):
    return {layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)}


@pytest.mark.every_backend
def test_a_branch_that_adds_nothing_leaves():
    model = blocks()
    for variable in model.get_layer("a3").trainable_variables:
        zero(variable, 0)
    small = ka.shrink(model)
    assert_same(small, model)
    assert names(small) == {"stem", "a4", "b1", "b2", "b3", "b4", "b5", "head", "pool"}
    assert [layer.name for layer in keras.models.clone_model(small).layers] == [layer.name for layer in small.layers]


def test_a_branch_without_an_inside_leaves_unless_it_adds_a_constant():
    model = blocks(norm=False)
    zero(model.get_layer("a1").kernel, 3)
    small = ka.shrink(model)
    assert_same(small, model)
    assert names(small) == {"stem", "a4", "b1", "b2", "b4", "b5", "head", "pool"}
    model = blocks()  # which adds the beta of its normalization
    zero(model.get_layer("a1").kernel, 3)
    small = ka.shrink(model)
    assert_same(small, model)
    assert small.get_layer("a1").filters == 1 and names(small) == names(model)


def test_parts_of_a_concatenation_leave():
    def build(x):
        parts = [layers.Conv1D(n, 3, name=f"part{n}", **RELU)(x) for n in (2, 3, 4)]
        return layers.Dense(3)(layers.Concatenate(name="joined")(parts))

    model = chain(build, shape=(6, 2))
    randomize(model)
    for n, left in ((3, {"part2", "joined", "part4"}), (4, {"part2"})):
        for variable in model.get_layer(f"part{n}").weights:
            zero(variable, len(variable.shape) - 1)
        small = ka.shrink(model)
        assert_same(small, model)
        assert names(small) - {"dense"} == left or len(names(small)) == len(left) + 1


def test_operations_that_add_or_subtract_nothing_leave():
    def build(x):
        y, z = layers.Dense(4, name="y"), layers.Dense(4, name="z")
        x = layers.Dense(4, name="x")(x)
        return layers.Dense(2)(layers.Subtract()([x + y(x), z(x)]))

    model = chain(build, shape=(3,))
    randomize(model)
    for name in "yz":
        for variable in model.get_layer(name).weights:
            zero(variable, 0)
    small = ka.shrink(model)
    assert_same(small, model)
    assert shapes(small) == [(3, 4), (4,), (4, 2), (2,)] and len(names(small)) == 2


@keras.saving.register_keras_serializable("test_shrink")
class Given(keras.initializers.Initializer):
    """An initializer of one's own that holds what it gives."""

    def __init__(self, shape):
        self.array = np.ones(shape)

    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(self.array, dtype)

    def get_config(self):
        return {"shape": self.array.shape}


@keras.saving.register_keras_serializable("test_shrink")
def six(shape, dtype=None):
    return ops.ones(6, dtype)


INITIALIZERS = {
    "an array": lambda shape: keras.initializers.Constant(np.ones(shape)),
    "lists": lambda shape: keras.initializers.Constant(np.ones(shape).tolist()),
    "a class of one's own": Given,
    "a function": lambda shape: six,
}
# Layers that hold what was given for their weights, and that they lose some of.
STARTED = {
    "words": (lambda given: layers.Embedding(10, 6, embeddings_initializer=given((10, 6))), "int32"),
    "biases": (lambda given: layers.Dense(6, bias_initializer=given((6,))), "float32"),
    "betas": (lambda given: layers.BatchNormalization(beta_initializer=given((4,))), "float32"),
    "cells both ways": (
        lambda given: layers.Bidirectional(layers.GRU(6, kernel_initializer=given((4, 18)), return_sequences=True)),
        "float32",
    ),
    "each step": (
        lambda given: layers.TimeDistributed(layers.Dense(6, bias_initializer=given((6,)))),
        "float32",
    ),
}


@pytest.mark.parametrize(
    "name, kind", [*((name, "an array") for name in STARTED), *(("biases", kind) for kind in INITIALIZERS)]
)
def test_what_weights_started_from_may_be_of_one_shape(name, kind):
    make, dtype = STARTED[name]
    first = [] if dtype == "int32" else [layers.Dense(4)]
    model = chain(*first, make(INITIALIZERS[kind]), layers.Dense(2), shape=(5,) + (3,) * len(first), dtype=dtype)
    randomize(model)
    halved(groups.of(model))
    small = ka.shrink(model)
    assert_same(small, model)
    assert small.count_params() < model.count_params()
    assert keras.models.clone_model(small).count_params() == small.count_params()


def dropped(noise_shape, kind=layers.Dropout):
    return lambda x: kind(0.5, noise_shape=noise_shape)(x)


# Layers whose configs say sizes of what they take or give, and what these are where half of the channels stay.
SIZED = {
    "noise for each channel": (dropped((None, 1, 6)), "noise_shape", (None, 1, 3)),
    "noise for each place": (dropped((None, 4, 1)), "noise_shape", (None, 4, 1)),
    "noise for all": (dropped((2, 4, 6)), "noise_shape", (2, 4, 3)),
    "noise of few axes": (dropped((6,)), "noise_shape", (3,)),
    "noise that keeps the mean": (dropped((None, None, 6), layers.AlphaDropout), "noise_shape", (None, None, 3)),
    "noise at each step": (
        lambda x: layers.TimeDistributed(layers.Dropout(0.5, noise_shape=(None, 6)))(x),
        "layer",
        (None, 3),
    ),
    "attention to more axes": (
        lambda x: layers.Reshape((4, 20))(layers.MultiHeadAttention(2, 4, output_shape=(4, 5))(x, x)),
        "output_shape",
        (1, 5),  # half of what is the layer's: its heads, their places, and of what it gives the first axis
    ),
}


@pytest.mark.parametrize("name", SIZED)
def test_sizes_in_configs_are_those_of_what_stays(name):
    build, key, expected = SIZED[name]
    model = chain(layers.Dense(6), build, layers.Dense(2), shape=(4, 3))
    randomize(model)
    halved(groups.of(model))
    small = ka.shrink(model)
    assert_same(small, model)
    configs = [layer.get_config() for layer in small.layers]
    (found,) = [config[key] for config in configs if key in config]
    assert tuple(found["config"]["noise_shape"] if key == "layer" else found) == expected
    small(random_inputs(model), training=True)


def test_weights_that_stay_keep_what_they_started_from():
    like = {"kernel_initializer": "orthogonal", "bias_initializer": Given((3,))}
    model = chain(layers.Dense(4, name="a"), *(layers.Dense(3, name=name, **like) for name in "bc"), shape=(3,))
    randomize(model)
    for variable in model.get_layer("a").weights:
        zero(variable, len(variable.shape) - 1, 0)
    _, _, b, c = ka.shrink(model).layers
    assert [type(layer.kernel_initializer).__name__ for layer in (b, c)] == ["Orthogonal"] * 2
    assert [type(layer.bias_initializer).__name__ for layer in (b, c)] == ["Zeros", "Given"]  # b has a smaller kernel


SUMS = {
    "a sum": lambda x, y: layers.Add(name="pred")([x, y]),
    "a difference": lambda x, y: layers.Subtract(name="pred")([x, y]),
    "an operation": lambda x, y: x + y,
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", rows(lambda name: HERE or name == "a sum", SUMS))
def test_outputs_keep_their_names(name):
    x = keras.Input((3,), name="x")
    h, nothing = layers.Dense(3, name="h")(x), layers.Dense(3, kernel_initializer="zeros")
    model = keras.Model(x, [SUMS[name](h, nothing(x)), h])
    small = ka.shrink(model)
    assert_same(small, model)
    assert small.output_names == model.output_names and len(small.weights) == 2
    small.compile("sgd", {key: "mse" for key in model.output_names})
    small.fit(np.ones((2, 3)), [np.ones((2, 3))] * 2, verbose=0)


def test_an_output_keeps_its_type():
    """A sum in full precision of layers in half of it."""
    half = [layers.Dense(3, dtype="mixed_bfloat16", kernel_initializer=kind) for kind in ("ones", "zeros")]
    model = chain(lambda x: layers.Add(dtype="float32")([layer(x) for layer in half]), shape=(3,))
    small = ka.shrink(model)
    assert small.outputs[0].dtype == model.outputs[0].dtype == "float32" and len(small.weights) == 2


def test_a_model_in_which_all_is_dead_keeps_one_channel_of_each():
    model = MODELS["residual"]()
    randomize(model)
    for variable in model.weights[:-1]:
        zero(variable, 0)
    small = ka.shrink(model)
    assert_same(small, model)
    assert not any(isinstance(layer, (layers.Add, layers.BatchNormalization)) for layer in small.layers)
    assert {layer.filters for layer in small.layers if isinstance(layer, layers.Conv2D)} == {1}


def test_widths_are_multiples():
    model = chain(layers.Dense(30, **RELU), layers.Dense(20, **RELU), layers.Dense(3), shape=(4,))
    randomize(model)
    for layer, living in zip(model.layers[1:3], (11, 17), strict=True):
        for variable in layer.weights:
            zero(variable, len(variable.shape) - 1, *range(living, layer.units))
    small = ka.shrink(model, round_to=8)
    assert_same(small, model)
    assert [layer.units for layer in small.layers[1:]] == [16, 20, 3]  # 20 is no multiple, but what it was
    assert [layer.units for layer in ka.shrink(model).layers[1:]] == [11, 17, 3]


def test_products_of_tensors_read_them_too():
    """A channel that no kernel reads, but attention by itself does."""
    last = layers.Dense(2)

    def build(x):
        x = layers.Dense(4, name="x")(x)
        return last(layers.Attention()([x, x]))

    model = chain(build, shape=(5, 3))
    randomize(model)
    zero(last.kernel, 0, 1)
    with pytest.warns(UserWarning, match="no channel is dead: prune whole channels first"):
        small = ka.shrink(model)
    assert_same(small, model)


def test_what_is_frozen_is_said():
    first = layers.Dense(4, name="first")
    model = chain(first, layers.LayerNormalization(name="norm"), layers.Dense(2), shape=(3,))
    randomize(model)
    for variable in first.weights:
        zero(variable, len(variable.shape) - 1, 0, 2)
    with pytest.warns(UserWarning, match="zero stay, of 2 of first, since norm normalizes over them"):
        assert_same(ka.shrink(model), model)


class Noisy(layers.Layer):
    """A layer without a rule, of weights and the state of a seed."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones")
        self.drop = layers.Dropout(0.5)

    def call(self, x):
        return self.drop(x) * self.scale


def test_a_layer_without_a_rule_keeps_what_it_takes():
    parts = layers.Dense(4, name="a"), Noisy(name="noisy"), layers.Dense(6, name="b"), layers.Dense(2)
    model = chain(*parts, shape=(3,))
    randomize(model)
    for layer in (model.get_layer("a"), model.get_layer("b")):
        for variable in layer.weights:
            zero(variable, len(variable.shape) - 1, 0)
    with pytest.warns(UserWarning, match="zero stay, of 1 of a, since noisy is of a class that has no rule"):
        small = ka.shrink(model)
    assert_same(small, model)
    assert [small.get_layer(name).units for name in "ab"] == [4, 5]


class Shift(layers.Layer):
    """A layer that gives what it takes where its weights are zero."""

    def build(self, shape):
        self.shift = self.add_weight(shape=shape[-1:], initializer="zeros")

    def call(self, x):
        return x + self.shift


def test_what_was_zero_for_some_inputs_stays():
    """A branch behind a layer of one's own, which gives zero on the random inputs that the outputs are compared on."""
    far = layers.Dense(4, name="far", **RELU)

    def build(x):
        x = layers.Dense(4)(x)
        return layers.Dense(2)(layers.Add()([x, far(Shift()(x))]))

    model = chain(build, shape=(3,))
    randomize(model)
    zero(model.layers[2].shift, 0)
    weights.write(far.bias, np.full(4, -1000.0))
    with pytest.warns(UserWarning, match="no channel is dead"):
        small = ka.shrink(model)
    assert_same(small, model)
    x = 1e4 * random_inputs(model)
    np.testing.assert_allclose(outputs(small, x)[0], outputs(model, x)[0], rtol=1e-5)


def passing(layer):
    """What a layer gives whose weights are all zero, and lets pass what it takes; behind it nothing is small."""

    def build(x):
        h = layers.Dense(4)(x)
        far = layers.Dense(4, bias_initializer=keras.initializers.Constant(-50.0), **RELU)
        return layers.Dense(2)(layers.Add()([h, far(layer(h))]))

    return build


def from_states(layer):
    def build(h):
        return layer(layers.RepeatVector(2)(h), initial_state=[h] * (2 if isinstance(layer, layers.LSTM) else 1))

    return build


START = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "unit_forget_bias": False}
PASSING = {
    "batch normalization": layers.BatchNormalization(scale=False),
    "batch normalization by itself": layers.BatchNormalization(scale=False, center=False),
    "group normalization": layers.GroupNormalization(2, scale=False),
    "LSTM": from_states(layers.LSTM(4, **START)),
    "GRU": from_states(layers.GRU(4, kernel_initializer="zeros", recurrent_initializer="zeros")),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_without_weights_stays(name):
    model = chain(passing(PASSING[name]), shape=(4,))
    with pytest.warns(UserWarning, match="no channel is dead|same for all inputs"):
        small = ka.shrink(model)
    assert len(small.layers) == len(model.layers)
    for scale in (1, 300, 3e4):
        x = scale * random_inputs(model, batch=8)
        np.testing.assert_allclose(outputs(small, x)[0], outputs(model, x)[0], rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize(
    "layer",
    [layers.BatchNormalization(gamma_initializer="zeros"), layers.Dense(4, kernel_initializer="zeros", name="z")],
)
def test_what_does_not_pass_leaves(layer):
    model = chain(passing(layer), shape=(4,))
    small = ka.shrink(model)
    assert_same(small, model)
    assert len(small.layers) == 3


def test_some_layers_only():
    model = chain(*(layers.Dense(4, name=name, **RELU) for name in "ab"), layers.Dense(2), shape=(3,))
    randomize(model)
    for layer in model.layers[1:3]:
        for variable in layer.weights:
            zero(variable, len(variable.shape) - 1, 0)
    assert [layer.units for layer in ka.shrink(model, layers="b").layers[1:]] == [4, 3, 2]


@pytest.mark.every_backend
def test_masks_come_off():
    model = chain(*(layers.Dense(4, name=name, **RELU) for name in "ab"), layers.Dense(2), shape=(3,))
    randomize(model)
    zero(model.layers[1].bias, 0, 0)
    zero(model.layers[1].kernel, 1, 0)
    masked = ka.mask(model)
    weights.write(masked.layers[1].layer.kernel, np.ones((3, 4)))
    small = ka.shrink(masked)
    assert [type(layer) for layer in small.layers[1:]] == 3 * [layers.Dense] and small.layers[1].units == 3
    assert_same(small, masked)


def test_what_is_one_stays_one():
    """Models in a model, layers that are shared, what is frozen, a Sequential model."""
    model = MODELS["shared"]()
    randomize(model)
    halved(groups.of(model))
    model.get_layer("both").trainable = False
    small = ka.shrink(model)
    assert isinstance(small.get_layer("inner"), keras.Sequential) and not small.get_layer("both").trainable
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    line = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")], name="line")
    zero(line.layers[0].kernel, 1, 0)
    small = ka.shrink(line)
    assert type(small) is keras.Sequential and small.name == "line" and small.layers[0].units == 3


@pytest.mark.parametrize("policy, shape", [("mixed_bfloat16", (6, 6, 2)), ("float32", (None, None, 2))])
def test_half_precision_and_open_sizes(policy, shape):
    parts = [layers.Conv2D(8, 3, dtype=policy, **RELU), layers.GlobalMaxPooling2D(), layers.Dense(2)]
    model = chain(*parts, shape=shape)
    randomize(model)
    halved(groups.of(model))
    assert ka.shrink(model).layers[1].filters == 4


class Centered(layers.Layer):
    """A layer in which each channel depends on all."""

    def call(self, x):
        return x - ops.mean(x, axis=-1, keepdims=True)


def test_a_rule_that_is_wrong_fails_loudly(monkeypatch):
    def same(layer, call, widths):
        widths.give(call.outputs[0], widths.axes(call.reads()[0]))

    monkeypatch.setitem(graph.kind.ROWS, Centered, graph.Kind(groups=same))
    model = chain(layers.Dense(4, name="a"), Centered(), layers.Dense(2), shape=(3,))
    randomize(model)
    zero(model.layers[-1].kernel, 0, 1)
    with pytest.raises(ValueError, match="m: the smaller model must give the same outputs.*difference of"):
        ka.shrink(model)


@pytest.mark.parametrize(
    "function",
    [ops.log, ops.sqrt, ops.arcsin, lambda x: ops.log(1 - x), ops.arccosh],
    ids=["log", "sqrt", "arcsin", "log of what is below 1", "arccosh"],
)
def test_models_of_numbers_in_a_range(function, monkeypatch):
    hidden = layers.Dense(6, name="hidden", **RELU)
    model = chain(function, hidden, layers.Dense(2), shape=(5,))
    randomize(model)
    zero(hidden.kernel, 1, 1, 3)
    zero(hidden.bias, 0, 1, 3)
    assert ka.shrink(model).get_layer("hidden").units == 4
    monkeypatch.setattr(trial, "DRAWS", trial.DRAWS[:1])
    with pytest.raises(ValueError, match="m: the model must give numbers for random inputs.*Received: NaN for"):
        ka.shrink(model)


@pytest.mark.parametrize(
    "before, after, apart",
    [
        ([[1, 2]], [[1, 3]], 0.5),
        ([[0, 0.5]], [[0, 0.25]], 0.25),
        ([[8], [0]], [[8], [4]], 0.5),
        ([[np.inf, -np.inf, 4]], [[np.inf, -np.inf, 3]], 0.25),
        ([[np.inf]], [[-np.inf]], np.inf),
        ([[1], [np.nan]], [[2], [np.nan]], np.nan),
        ([[1], [1]], [[1], [np.nan]], np.nan),
        ([[1], [np.inf]], [[1], [3]], np.inf),
    ],
)
def test_how_far_outputs_are_apart(before, after, apart):
    arrays = ([np.array(each, "float32") for each in outputs] for outputs in (before, after))
    np.testing.assert_equal(trial.apart(*arrays), apart)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x):
        return self.dense(x)


class Around(keras.Model):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, x):
        return self.part(x)


def test_of_a_subclassed_model_the_parts_are_made_smaller():
    model, x = Around(perceptron("relu")), np.ones((1, 2), "float32")
    before = ops.convert_to_numpy(model(x))
    with pytest.raises(ValueError, match=r"Or shrink the parts of it that have a graph \(m\), and make it again"):
        ka.shrink(model)
    again = Around(ka.shrink(model.part))
    np.testing.assert_allclose(ops.convert_to_numpy(again(x)), before, rtol=1e-5)


class OfItsOwn(keras.Model):
    """A Functional model whose constructor makes its layers."""

    def __init__(self, **kwargs):
        x = keras.Input((4,))
        super().__init__(x, layers.Dense(2)(layers.Dense(3)(x)), **kwargs)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_words_are_looked_up_and_masked(dtype):
    lines = layers.Embedding(10, 6, mask_zero=True), layers.LSTM(5, return_sequences=True), layers.GRU(6)
    model = chain(layers.Identity(), *lines, layers.Dense(2), shape=(7,), dtype=dtype)
    randomize(model)
    halved(groups.of(model))
    small = ka.shrink(model)
    words = np.random.default_rng(0).integers(0, 10, (4, 7)).astype(dtype)
    np.testing.assert_allclose(outputs(small, words)[0], outputs(model, words)[0], rtol=1e-5, atol=1e-6)
    assert small.layers[2].output_dim == 3


def test_what_adds_nothing_but_takes_a_mask_away_stays():
    table, nothing = layers.Embedding(10, 6, mask_zero=True), layers.Embedding(10, 6)
    model = chain(lambda x: layers.Add()([table(x), nothing(x)]), layers.LSTM(4), layers.Dense(2), shape=(7,))
    randomize(model)
    zero(nothing.embeddings, 0)
    with pytest.warns(UserWarning, match="no channel is dead"):
        small = ka.shrink(model)
    assert sum(isinstance(layer, layers.Embedding) for layer in small.layers) == 2


def test_bad_models_and_numbers_get_a_sentence():
    inner = OfItsOwn(name="inner")
    with pytest.raises(ValueError, match="inner: .* Received: a OfItsOwn, whose constructor .* Use keras.Model"):
        ka.shrink(chain(inner, layers.Dense(3), shape=(4,)))
    own = Subclassed()
    own(np.ones((1, 2)))
    with pytest.raises(ValueError, match="subclassed: only a Sequential or Functional .*Build it as keras.Model"):
        ka.shrink(own)
    with pytest.raises(ValueError, match="early: the model must be built before"):
        ka.shrink(keras.Sequential([layers.Dense(2)], name="early"))
    with pytest.raises(ValueError, match="round_to` must be an integer >= 1. Received: round_to=0. Pass for example 8"):
        ka.shrink(perceptron("relu"), round_to=0)
    with pytest.raises(TypeError, match="shrink: `model` must be a keras.Model"):
        ka.shrink("model.keras")
    with pytest.raises(ValueError, match="layers / exclude: each entry must choose"):
        ka.shrink(perceptron("relu"), layers="no such")


def shrunk(name):
    model = TABLE[name]()
    randomize(model)
    halved(groups.of(model))
    return ka.shrink(model)


@pytest.mark.every_backend
@pytest.mark.parametrize("name", rows(lambda name: HERE and name in ("residual", "bidirectional"), TABLE))
def test_a_smaller_model_is_saved_loaded_and_trained(name, tmp_path):
    small = shrunk(name)
    small.save(tmp_path / "small.keras")
    ka.save(small, tmp_path / "small.kadmm")
    for again in (keras.models.load_model(tmp_path / "small.keras"), ka.load(tmp_path / "small.kadmm")):
        assert shapes(again) == shapes(small)
        assert_same(again, small)
    inputs, before = random_inputs(small), weights.read(small.trainable_variables[-1])
    small.compile("sgd", "mse", run_eagerly=HERE)
    small.fit(inputs, [0 * y for y in outputs(small, inputs)], verbose=0)
    assert not np.array_equal(weights.read(small.trainable_variables[-1]), before)


NO_COUNTERPART = ("grouped-query attention", "operations", "ConvNeXtTiny")  # in tf_keras
RECURRENT = ("LSTM", "bidirectional", "sequence to sequence", "others")  # LiteRT needs them of one sample


@pytest.mark.tensorflow_only
@pytest.mark.filterwarnings("ignore:.* An LSTM in the file goes on")
@pytest.mark.parametrize("name", rows(lambda name: name == "residual", TABLE))
def test_a_smaller_model_is_exported(name, tmp_path):
    small = shrunk(name)
    inputs = random_inputs(small, batch=1)
    if name not in NO_COUNTERPART:
        twin = ka.export.to_tf_keras(small, batch_size=1)
        for a, b in zip(keras.tree.flatten(twin(inputs)), outputs(small, inputs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    exported = twin if name in RECURRENT else small
    assert ka.export.litert(exported, tmp_path / "small.tflite", check_data=inputs).relative < 1e-4
