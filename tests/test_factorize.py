"""`factorize`: two smaller layers in the place of one, with the same outputs and as few MACs as it says."""

import keras
import numpy as np
import pytest
import scipy.optimize
from cases import HERE, rows, some
from keras import layers, ops
from mortal import chain
from structured_models import MODELS, random_inputs, randomize

import keras_admm as ka
from keras_admm import graph, weights
from keras_admm.structure.candidates import candidates
from keras_admm.structure.splits import RULES, Split

RNG = np.random.default_rng(0)
# A layer; the shape of its input; the axes of its kernel that are the rows of its matrix, by channel and, where that
# is something else, by space.
LAYERS = {
    "Dense": (lambda: layers.Dense(10, activation="relu"), (12,), (0,), None),
    "Dense of sequences": (lambda: layers.Dense(10), (5, 12), (0,), None),
    "Conv1D, causal": (lambda: layers.Conv1D(8, 3, padding="causal", dilation_rate=2), (9, 6), (0, 1), None),
    "Conv2D, same, strides": (
        lambda: layers.Conv2D(8, (3, 5), strides=(2, 1), padding="same", activation="tanh"),
        (9, 11, 6),
        (0, 1, 2),
        (0, 2),
    ),
    "Conv2D, valid, strides": (lambda: layers.Conv2D(8, 3, strides=2, use_bias=False), (9, 11, 6), (0, 1, 2), (0, 2)),
    "Conv2D, dilation": (
        lambda: layers.Conv2D(8, 3, dilation_rate=(2, 3), padding="same"),
        (9, 11, 6),
        (0, 1, 2),
        (0, 2),
    ),
    "Conv2D, 1x1": (lambda: layers.Conv2D(8, 1), (3, 3, 6), (0, 1, 2), (0, 2)),
    "Conv3D": (lambda: layers.Conv3D(5, (2, 3, 3), strides=(1, 2, 2)), (4, 5, 6, 4), (0, 1, 2, 3), (0, 1, 3)),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(5, 3, strides=2, padding="same"), (7, 6), (0, 1), None),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(5, 3, strides=2, output_padding=1),
        (4, 3, 6),
        (0, 1, 2),
        None,
    ),
    "EinsumDense of heads": (
        lambda: layers.EinsumDense("abc,cde->abde", output_shape=(None, 4, 3), bias_axes="de"),
        (5, 6),
        (0,),
        None,
    ),
    "EinsumDense back from heads": (
        lambda: layers.EinsumDense("abcd,cde->abe", output_shape=(None, 9), bias_axes="e"),
        (5, 4, 3),
        (0, 1),
        None,
    ),
    "EinsumDense of known sizes": (
        lambda: layers.EinsumDense("abc,cde->abde", output_shape=(5, 4, 3)),
        (5, 6),
        (0,),
        None,
    ),
    "EinsumDense, ...": (
        lambda: layers.EinsumDense("...x,xy->...y", output_shape=7, bias_axes="y", activation="relu"),
        (5, 6),
        (0,),
        None,
    ),
    "EinsumDense, channels first": (
        lambda: layers.EinsumDense("abc,cd->adb", output_shape=(7, None)),
        (5, 6),
        (0,),
        None,
    ),
}
CASES = [(name, "channel") for name in LAYERS] + [(name, "spatial") for name in LAYERS if LAYERS[name][3]]
ELSEWHERE = [("Conv2D, same, strides", "spatial"), ("Conv2DTranspose", "channel"), ("EinsumDense of heads", "channel")]


def cut(array, rows, rank):
    """The nearest array of a rank, seen as a matrix of given rows, by NumPy's own decomposition."""
    columns = [axis for axis in range(array.ndim) if axis not in rows]
    moved = np.transpose(array, [*rows, *columns])
    matrix = moved.reshape(np.prod([array.shape[axis] for axis in rows]), -1)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    made = ((left[:, :rank] * values[:rank]) @ right[:rank]).reshape(moved.shape)
    return np.transpose(made, np.argsort([*rows, *columns]))


def of_rank(model, rank, rows=None):
    """Draw all weights, kernels of a rank."""
    for variable in model.variables:
        array = RNG.normal(size=variable.shape)
        kernel = variable.name in ("kernel", "recurrent_kernel") and array.ndim > 1
        array = cut(array, tuple(range(array.ndim - 1)) if rows is None else rows, rank) if kernel else np.abs(array)
        weights.write(variable, array)
    return model


def outputs(model, x):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def assert_same_outputs(small, model, x):
    for y, z in zip(outputs(small, x), outputs(model, x), strict=True):
        np.testing.assert_allclose(y, z, atol=1e-4 * max(1, np.abs(z).max()))


@pytest.mark.every_backend
@pytest.mark.parametrize("case", some(CASES, *ELSEWHERE))
def test_each_layer_comes_apart_with_the_same_outputs(case):
    name, scheme = case
    make, shape, channel, spatial = LAYERS[name]
    model = of_rank(keras.Sequential([keras.Input(shape), make()]), 2, rows=spatial if scheme == "spatial" else channel)
    small = ka.factorize(model, scheme=scheme, verbose=0)
    assert len(small.layers) == 2 and isinstance(small, keras.Sequential)
    assert small.layers[1].name == model.layers[0].name
    first, second = ops.shape(small.layers[0].kernel), ops.shape(small.layers[1].kernel)
    assert np.prod(first) + np.prod(second) < np.prod(model.layers[0].kernel.shape)
    assert_same_outputs(small, model, RNG.normal(size=(2, *shape)).astype("float32"))


def test_every_rule_has_a_row():
    assert {type(make()) for make, *_ in LAYERS.values()} | {layers.Conv3DTranspose} == set(RULES)


def test_the_layers_by_hand(capsys):
    """A 3x3 convolution of 4 to 6 channels of rank 2 at 25 places: 3 * 3 * 4 * 6 = 216 to 2 * (36 + 6) = 84 a place."""
    layer = layers.Conv2D(6, 3, padding="same", activation="relu", kernel_regularizer="l2", name="conv")
    model = of_rank(keras.Sequential([keras.Input((5, 5, 4)), layer, layers.Flatten()]), 2)
    small = ka.factorize(model)
    said = capsys.readouterr().out
    assert "factorize: 1 of 1 layers in two, 5,400 to 2,100 of their MACs" in said
    assert "  conv: rank 2 of 6, 5,400 to 2,100 MACs" in said
    first, second, _ = small.layers
    assert (first.name, first.kernel_size, first.filters, first.use_bias) == ("conv_basis", (3, 3), 2, False)
    assert (second.name, second.kernel_size, second.filters) == ("conv", (1, 1), 6)
    assert first.activation.__name__ == "linear" and second.activation.__name__ == "relu"
    assert first.kernel_regularizer and second.kernel_regularizer
    assert ka.report(small).total.macs == 2100


def test_the_cheaper_scheme_is_taken():
    """Of rank 1, at a place: of 3 to 9 channels 27 + 9 or 3 * 3 + 3 * 9, of 9 to 3 81 + 3 or 3 * 9 + 3 * 3."""
    for inputs, outputs_, cheaper in [(3, 9, 36), (9, 3, 36)]:
        kernel = np.einsum("h,w,i,o->hwio", *(RNG.normal(size=n) for n in (3, 3, inputs, outputs_)))
        conv = layers.Conv2D(outputs_, 3, padding="same", use_bias=False)
        model = keras.Sequential([keras.Input((4, 4, inputs)), conv])
        model.set_weights([kernel])
        assert ka.report(ka.factorize(model, verbose=0)).total.macs == 16 * cheaper
    assert ka.report(ka.factorize(model, scheme="channel", verbose=0)).total.macs == 16 * 84


def branches():
    """A residual block, a layer that is called twice, a model in the model, one that is frozen."""
    x = keras.Input((8, 8, 6))
    shared = layers.Conv2D(6, 3, padding="same", name="shared")
    y = layers.BatchNormalization()(shared(layers.ReLU()(shared(x))))
    inner = keras.Sequential([keras.Input((8, 8, 6)), layers.Conv2D(12, 3, name="deep"), layers.ReLU()], name="inner")
    y = inner(layers.Add()([x, y]))
    frozen = layers.Dense(16, name="frozen", trainable=False)
    out = layers.Dense(10, activation="softmax", name="head")(frozen(layers.GlobalAveragePooling2D()(y)))
    return of_rank(keras.Model(x, out), 2)


@pytest.mark.every_backend
def test_graphs_keep_what_is_shared_and_frozen():
    model = branches()
    small = ka.factorize(model, verbose=0)
    assert_same_outputs(small, model, RNG.normal(size=(3, 8, 8, 6)).astype("float32"))
    assert not small.get_layer("frozen").trainable and not small.get_layer("frozen_basis").trainable
    assert small.get_layer("head").trainable
    assert len(small.get_layer("shared_basis")._inbound_nodes) == 2
    kernels = [v.path for v in weights.kernels(small)]
    assert sum("shared" in path for path in kernels) == 2 and sum("deep" in path for path in kernels) == 2
    assert model.get_layer("shared").kernel.shape == (3, 3, 6, 6)  # as it was


GATE = ("residual", "option A", "U-Net", "shared", "Transformer", "bidirectional") if HERE else ("residual",)


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", rows(lambda kind: kind in GATE, MODELS))
def test_models_of_many_kinds(kind):
    model = MODELS[kind]()
    randomize(model)
    found, _ = candidates(model, weights.choose(model, training=False), "channel")
    for each in found.values():
        lower = ka.constraints.LowRank(max(1, each.split.full_rank // 4), scheme=each.split.scheme)
        each.split.layer.kernel.assign(lower(weights.read(each.split.layer.kernel)))
    small = ka.factorize(model, verbose=0)
    assert len(weights.kernels(small)) > len(weights.kernels(model))
    assert small.count_params() < model.count_params()
    assert_same_outputs(small, model, random_inputs(model))


def test_the_factors_are_layers_like_others(tmp_path):
    model = branches()
    small = ka.factorize(model, verbose=0)
    small.save(tmp_path / "small.keras")
    ka.save(small, tmp_path / "small.kadmm")
    x = RNG.normal(size=(3, 8, 8, 6)).astype("float32")
    for again in (keras.models.load_model(tmp_path / "small.keras"), ka.load(tmp_path / "small.kadmm")):
        np.testing.assert_array_equal(outputs(again, x)[0], outputs(small, x)[0])
    small.compile("adam", "sparse_categorical_crossentropy")
    prune = ka.ADMM([ka.constraints.Sparse(0.5), ka.constraints.Levels(3, zero=False)], exclude="frozen*")
    small.fit(x, np.arange(3), epochs=4, verbose=0, callbacks=[prune])
    kernel = ops.convert_to_numpy(small.get_layer("shared_basis").kernel)
    assert np.unique(np.abs(kernel[kernel != 0])).size <= 4


def test_layers_may_have_the_names_of_halves():
    """A model that was factorized before, and one with layers of such names beside and in it."""
    line = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="d")])
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="d_basis"), layers.Dense(16, name="d")])
    halves = ["d_basis_3", "d", "d_basis_basis", "d_basis", "d_basis_2", "d"]  # models in it come first
    for model, expected in (
        (ka.factorize(line, 6, verbose=0), ["d_basis_basis", "d_basis", "d_basis_2", "d"]),
        (chain(layers.Dense(16, name="d"), inner, shape=(16,)), halves),
    ):
        small = ka.factorize(model, 2, verbose=0)
        names = [call.layer.name for call in graph.calls.of(small, "its names can be read")]
        assert names == expected


def refused():
    """A layer of every kind that does not come apart, and what is said of it."""
    x = keras.Input((8, 8, 6))
    y = layers.Conv2D(6, 3, groups=2, name="grouped")(x)
    y = layers.DepthwiseConv2D(3, name="depthwise")(y)
    y = layers.Conv2D(8, 3, kernel_constraint="non_neg", name="held")(y)
    y = layers.Reshape((4, 8))(y)
    y = layers.TimeDistributed(layers.Dense(8), name="each")(y)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    y = layers.EinsumDense("abc,bcd->abd", output_shape=(4, 8), name="own")(y)
    y = layers.LSTM(5, name="lstm")(y)
    y = layers.Dense(3, name="dense")(y)
    return keras.Model(x, y)


def test_what_stays_is_said(capsys):
    model = refused()
    small = ka.factorize(model)
    said = capsys.readouterr().out
    for line in [
        "grouped/kernel stays: its channels come in groups",
        "depthwise/kernel stays: a DepthwiseConv2D does not come apart",
        "held/kernel stays: it has a kernel_constraint",
        "each/dense/kernel stays: a TimeDistributed does not come apart",
        "attention/query/kernel stays: a MultiHeadAttention does not come apart",
        "own/kernel stays: its equation has a kernel of its own for each place",
        "lstm/lstm_cell/recurrent_kernel stays: a LSTM does not come apart",
        "dense/kernel stays: rank 3 of 3 saves no MACs",
        "factorize: 0 of 12 layers in two, 0 to 0 of their MACs; outputs differ by 0",
    ]:
        assert line in said, said
    assert [type(layer) for layer in small.layers] == [type(layer) for layer in model.layers]


class Backwards(layers.Layer):
    """A layer that reads another one's kernel."""

    def __init__(self, dense):
        super().__init__()
        self.dense = dense

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.dense.kernel))


def test_weights_that_another_layer_reads_stay():
    x, dense = keras.Input((6,)), layers.Dense(5, name="d")
    model = keras.Model(x, Backwards(dense)(dense(x)))
    found, refused = candidates(model, weights.named(model), "channel")
    assert not found and refused["d/kernel"] == "another layer reads it too"


@pytest.mark.parametrize("budget", [{"macs": 0.5}, {"params": 0.4}, {"macs": 100_000}])
def test_a_budget_is_met(budget):
    layer = {"padding": "same", "activation": "relu"}
    convs = [layers.Conv2D(16, 3, **layer), layers.Conv2D(24, 3, strides=2, **layer), layers.Conv2D(16, 3, **layer)]
    model = keras.Sequential([keras.Input((8, 8, 8)), *convs, layers.Flatten(), layers.Dense(10)])
    of_rank(model, 30)
    small = ka.factorize(model, budget=budget, verbose=0)
    ((unit, amount),) = budget.items()
    whole, left = (ka.report(m).total.macs if unit == "macs" else m.count_params() for m in (model, small))
    allowed = amount if isinstance(amount, int) else amount * whole
    assert 0.98 * allowed < left <= allowed


def test_what_a_cut_loses_is_said_layer_by_layer(capsys):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, use_bias=False, name="d")])
    model.set_weights([np.diag([2.0, 1.0, 1.0, 0.0])])
    small = ka.factorize(model, rank=1)
    assert "  d: rank 1 of 4, 16 to 8 MACs, which cuts off 0.58 of its norm" in capsys.readouterr().out
    np.testing.assert_allclose(outputs(small, np.eye(4))[0], np.diag([2.0, 0, 0, 0]), atol=1e-6)
    ka.factorize(model, energy=0.6)
    assert "rank 1 of 4" in capsys.readouterr().out


def test_data_says_which_outputs_stay(capsys):
    """Outputs of 0.2 and 10: of the two, the larger weight gives the smaller one, and is what rank 1 leaves out."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, use_bias=False, name="d")])
    model.set_weights([np.diag([2.0, 1.0, 0.0, 0.0])])
    small = ka.factorize(model, rank=1, data=np.array([[0.1, 0, 0, 0], [0, 10.0, 0, 0]], "float32"))
    # 0.04 of the 100.04 that the outputs are in squares
    assert "  d: rank 1 of 4, 16 to 8 MACs, with 0.0004 of what it gave lost" in capsys.readouterr().out
    np.testing.assert_allclose(outputs(small, np.eye(4))[0], np.diag([0.0, 1.0, 0, 0]), atol=1e-6)
    np.testing.assert_array_equal(model.layers[0].kernel, np.diag([2.0, 1.0, 0.0, 0.0]))


def correlated():
    """A net of convolutions, and images whose neighbours are alike."""
    layer = {"padding": "same", "activation": "relu"}
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), *(layers.Conv2D(16, 3, **layer) for _ in range(3)), layers.Flatten(), layers.Dense(5)]
    )
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).cumsum(axis=1).cumsum(axis=2).astype("float32")
    return model, x / np.abs(x).max()


def test_data_makes_the_outputs_nearer_and_leaves_the_model():
    model, x = correlated()
    before, wanted = model.get_weights(), outputs(model, x)[0]
    errors = []
    for data in (None, x[:48]):
        small = ka.factorize(model, budget={"macs": 0.5}, data=data, num_samples=48, verbose=0)
        errors.append(np.square(outputs(small, x[48:])[0] - wanted[48:]).sum())
    assert errors[1] < 0.2 * errors[0]
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


KERNELS = {
    "strides": (layers.Conv2D(8, 3, strides=2), (12, 12, 4)),
    "sides of other lengths, dilation": (layers.Conv2D(8, (2, 4), dilation_rate=2, padding="same"), (12, 12, 4)),
    "three sides": (layers.Conv3D(6, 3), (6, 6, 6, 3)),
    "causal": (layers.Conv1D(8, 5, padding="causal"), (30, 4)),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_data_makes_every_convolution_nearer(kind):
    layer, shape = KERNELS[kind]
    model = keras.Sequential([keras.Input(shape), layer.__class__.from_config(layer.get_config()), layers.Flatten()])
    x = np.random.default_rng(0).normal(size=(32, *shape))
    for axis in range(1, len(shape)):
        x = x.cumsum(axis=axis)  # neighbours are alike
    x = (x / np.abs(x).max()).astype("float32")
    wanted, errors = outputs(model, x)[0], []
    for data in (None, x):
        small = ka.factorize(model, rank=3, data=data, correction=0.0, verbose=0)
        errors.append(np.square(outputs(small, x)[0] - wanted).sum())
    assert errors[1] < 0.5 * errors[0]


def alone(*parts):
    """A model whose other layers do not come apart, or have nothing to give, beside one that does."""
    return keras.Sequential([keras.Input((8, 8, 4)), *parts, layers.Flatten(), layers.Dense(6, name="last")])


BESIDE = {
    "depthwise": lambda: alone(layers.DepthwiseConv2D(3), layers.Conv2D(8, 3)),
    "separable": lambda: alone(layers.SeparableConv2D(8, 3), layers.Conv2D(8, 3)),
    "groups": lambda: alone(layers.Conv2D(8, 3, groups=2), layers.Conv2D(8, 3)),
    "equation of many axes": lambda: alone(layers.EinsumDense("abcd,defg->abcefg", output_shape=(8, 8, 2, 3, 4))),
    "nothing but zeros": lambda: alone(layers.Conv2D(8, 3, kernel_initializer="zeros"), layers.Conv2D(8, 3)),
    "nothing that comes in": lambda: alone(layers.ReLU(max_value=0.0), layers.Conv2D(8, 3)),
}


@pytest.mark.parametrize("scheme", ["spatial", "channel"])
@pytest.mark.parametrize("correction", [0.0, 1.0])
@pytest.mark.parametrize("kind", BESIDE)
def test_what_comes_apart_does_so_beside_layers_of_every_kind(kind, correction, scheme):
    model, x = BESIDE[kind](), np.random.default_rng(0).normal(size=(8, 8, 8, 4)).astype("float32")
    small = ka.factorize(model, energy=0.6, data=x, correction=correction, scheme=scheme, verbose=0)
    assert len(small.layers) > len(model.layers)
    assert np.isfinite(outputs(small, x)[0]).all()


def test_data_says_which_ranks_are_worth_their_cost():
    """Kernels with the same singular values; what comes in to the second lies along one direction alone."""
    model = keras.Sequential([keras.Input((8,)), *(layers.Dense(8, use_bias=False, name=name) for name in "ab")])
    whole, line = np.diag([4.0, 3, 2, 1, 0, 0, 0, 0]), np.zeros((2, 8), "float32")
    model.set_weights([whole, whole])
    line[0, 3] = 1.0  # it reaches the direction that is weakest in both
    ranks = {}
    for data in (None, line):
        small = ka.factorize(model, energy=0.9, data=data, verbose=0)
        ranks[data is None] = [layer.kernel.shape[1] for layer in small.layers if layer.name.endswith("basis")]
    assert ranks == {True: [3, 3], False: [1, 1]}
    np.testing.assert_allclose(outputs(small, line)[0], outputs(model, line)[0], atol=1e-6)


def test_each_layer_by_itself_or_for_those_in_front_of_it():
    model = keras.Sequential([keras.Input((4,)), *(layers.Dense(4, use_bias=False, name=name) for name in "ab")])
    kernels = [np.diag([2.0, 1, 0, 0]), np.diag([1.0, 3, 0, 0])]
    model.set_weights(kernels)
    x, wanted, errors = np.float32([[1, 1, 0, 0], [2, 2, 0, 0], [1, 0.5, 0, 0]]), [], []
    given = x
    for kernel in kernels:  # what the model gives, not the smaller one
        given = given @ kernel
        _, directions = np.linalg.eigh(given.T @ given)
        wanted.append(kernel @ np.outer(directions[:, -1], directions[:, -1]))
    for correction in (0.0, 1.0):
        small = ka.factorize(model, rank=1, data=x, correction=correction, verbose=0)
        errors.append(np.abs(outputs(small, x)[0] - given).max())
        if not correction:
            first, second, third, fourth = small.get_weights()
            np.testing.assert_allclose([first @ second, third @ fourth], wanted, atol=1e-6)
    assert errors[1] < errors[0]


def patch(rows):
    """A filter that sees an image as a whole, whose four pixels are the columns of an array, and those images."""
    layer = layers.Conv2D(3, 2, use_bias=False, name="c")
    model = keras.Sequential([keras.Input((2, 2, 1)), layer, layers.Flatten()])
    layer.kernel.assign(np.random.default_rng(1).normal(size=(2, 2, 1, 3)))
    return model, np.reshape(rows, (-1, 2, 2, 1)).astype("float32")


def squares_lost(model, x, **how):
    small = ka.factorize(model, rank=1, data=x, verbose=0, **how)
    return np.square(outputs(small, x)[0] - outputs(model, x)[0]).sum(), small


@pytest.mark.parametrize("correction", [0.0, 1.0])
def test_pixels_that_have_nothing_in_common_leave_the_svd(correction):
    model, x = patch(np.eye(4))
    _, small = squares_lost(model, x, correction=correction)
    plain = ka.factorize(model, rank=1, verbose=0)
    np.testing.assert_allclose(outputs(small, x)[0], outputs(plain, x)[0], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_sides_apart_are_about_the_best_that_there_are(seed):
    """A `2 x 1` filter and a `1 x 2` one: six numbers and two, which scipy finds from 20 places."""
    model, x = patch(np.random.default_rng(seed).normal(size=(9, 4)) @ np.random.default_rng(seed).normal(size=(4, 4)))
    pixels, kernel = x.reshape(-1, 2, 2), np.asarray(model.layers[0].kernel)[:, :, 0]

    def lost(numbers):
        error = np.einsum("h,wo->hwo", numbers[:2], numbers[2:].reshape(2, 3)) - kernel
        return np.square(np.einsum("nhw,hwo->no", pixels, error)).sum()

    starts = np.random.default_rng(0).normal(size=(20, 8))
    best = min(scipy.optimize.minimize(lost, start).fun for start in starts)
    assert squares_lost(model, x, correction=0.0)[0] <= 1.05 * best + 1e-6


def test_places_that_see_the_same_can_be_one():
    """Columns of pixels that are equal: what the filter has of either counts by their sum alone, which is of rank 1."""
    model, x = patch(np.random.default_rng(0).normal(size=(8, 2, 1)).repeat(2, axis=2).reshape(8, 4))
    kernel = np.random.default_rng(2).normal(size=(2, 2, 1, 3)).astype("float32")
    kernel[:, 1, 0] = np.outer([1, 2], [3, 4, 5]) - kernel[:, 0, 0]
    model.layers[0].kernel.assign(kernel)
    assert squares_lost(model, x, correction=0.0)[0] < 1e-3 * np.square(outputs(model, x)[0]).sum()


def test_what_data_can_do_nothing_for_is_said(capsys):
    model = keras.Sequential(
        [keras.Input((4, 4, 8)), layers.Conv2DTranspose(8, 3, name="t"), layers.Dense(8, name="d")]
    )
    ka.factorize(model, rank=2, data=np.ones((4, 4, 4, 8), "float32"))
    said = capsys.readouterr().out
    assert "t/kernel by its weights alone: Conv2DTranspose does not multiply what comes in with it as a matrix" in said
    assert "d: rank 2 of 8" in said and "of what it gave lost" in said


def test_half_precision(capsys):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(16, dtype="mixed_bfloat16")])
    small = ka.factorize(of_rank(model, 2), verbose=0)
    assert len(small.layers) == 2 and small.layers[0].compute_dtype == "bfloat16"


@pytest.mark.parametrize("name", ["Dense", "Conv2D, same, strides", "Conv2DTranspose", "EinsumDense of heads"])
def test_what_weights_started_from_may_be_of_one_shape(name):
    make, shape, rows, _ = LAYERS[name]
    built = keras.Sequential([keras.Input(shape), make()])
    config = make().get_config() | {"kernel_initializer": keras.initializers.Constant(np.ones(built.weights[0].shape))}
    model = of_rank(keras.Sequential([keras.Input(shape), type(make()).from_config(config)]), 1, rows=rows)
    small = ka.factorize(model, verbose=0)
    assert len(small.layers) == 2
    assert keras.models.clone_model(small).count_params() == small.count_params()


def test_a_model_of_logarithms_is_compared_too(monkeypatch, capsys):
    """Nothing is cut off, and a kernel goes wrong."""
    model = chain(ops.log, layers.Dense(6, use_bias=False, name="d"), shape=(6,))
    of_rank(model, 1)
    ka.factorize(model)
    assert "nan" not in capsys.readouterr().out
    monkeypatch.setattr(Split, "factors", lambda self, kernel, rank: self.kernels(kernel[:, :1], kernel[:1]))
    with pytest.raises(ValueError, match="factorize: the outputs must be the same"):
        ka.factorize(model)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)


def subclassed():
    model = Own()
    model(np.ones((1, 3)))
    return model


def nothing():
    return keras.Sequential([keras.Input((8,)), layers.ReLU()])


X = np.ones((4, 8), "float32")


def dense():
    return keras.Sequential([keras.Input((8,)), layers.Dense(8, name="d")], name="m")


@pytest.mark.parametrize(
    "make, how, said",
    [
        (subclassed, {}, "only a Sequential or Functional model has a graph to follow.* Received: a Own"),
        (
            dense,
            {"rank": 9},
            "must be at most the full rank of each kernel. Received: rank=9, above .*, 8. Lower",
        ),
        (dense, {"budget": {"macs": 0.1}}, "must be at least what the model costs .* 6 of 64 macs, where .* leave 16"),
        (dense, {"data": X}, "`data` must be given beside `rank`, `energy` or `budget`.* none of them"),
        (dense, {"data": X[:, :5], "rank": 2}, "`data` must be what the model is called with"),
        (dense, {"rank": 2, "energy": 0.5}, "one of `rank`, `energy` and `budget` must be given"),
        (
            lambda: keras.Sequential([keras.Input((8,)), layers.ReLU()]),
            {"rank": 2},
            "at least one layer must come apart",
        ),
    ],
)
def test_what_cannot_be_gets_a_sentence(make, how, said):
    with pytest.raises(ValueError, match=said):
        ka.factorize(make(), **how)
