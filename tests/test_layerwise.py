"""Pruning after training, layer by layer: products as matrices, methods worked by hand, ways through models."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_admm as ka
from keras_admm.constraints import Sparse
from keras_admm.layerwise import passages, samples
from keras_admm.layerwise.problem import Moments, Problem
from keras_admm.layerwise.products import Matrices, product_of

RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.normal(size=shape).astype("float32")


# Layers, and the shapes that come in. The outputs of each are those of its matrices, in whichever order.
PRODUCTS = {
    "dense": (lambda: layers.Dense(3), (2, 4, 5)),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (None, 3)), (2, 4, 5)),
    "einsum, heads out": (lambda: layers.EinsumDense("abc,cde->abde", (None, 3, 2)), (2, 4, 5)),
    "einsum, heads in": (lambda: layers.EinsumDense("abcd,cde->abe", (None, 6)), (2, 4, 3, 5)),
    "einsum, kernels apart": (lambda: layers.EinsumDense("abc,bcd->abd", (4, 6)), (2, 4, 3)),
    "einsum, summed": (lambda: layers.EinsumDense("abc,cd->ad", (6,)), (2, 4, 3)),
    "einsum, dots": (lambda: layers.EinsumDense("...x,xy->...y", (3, 6)), (2, 3, 5)),
    "conv1d, causal": (lambda: layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (2, 9, 4)),
    "conv2d, same": (lambda: layers.Conv2D(4, (3, 2), padding="same"), (2, 6, 5, 4)),
    "conv2d, strides": (lambda: layers.Conv2D(4, 3, strides=2, padding="same", groups=2), (2, 7, 6, 4)),
    "conv2d, dilated": (lambda: layers.Conv2D(4, 2, dilation_rate=2, groups=4), (2, 5, 6, 4)),
    "conv3d": (lambda: layers.Conv3D(3, 2, padding="same"), (2, 3, 4, 2, 2)),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), (2, 5, 4, 3)),
    "depthwise, strides": (lambda: layers.DepthwiseConv1D(3, strides=2), (2, 7, 3)),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("case", PRODUCTS)
def test_a_layer_is_the_product_of_rows_with_its_matrices(case):
    make, shape = PRODUCTS[case]
    layer, x = make(), drawn(*shape)
    outputs = ops.convert_to_numpy(layer(x))
    kernel = ops.convert_to_numpy(layer.kernel)
    product = product_of(layer, layer.weights[0])
    found = product.rows(x) @ product.matrices.of(kernel)
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(outputs.ravel()), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(product.matrices.kernel(product.matrices.of(kernel), kernel.shape), kernel)


def problem(x, w, damping=0.0, before=None, correction=0.0):
    seen = Matrices(w.shape, (0, 1), 1, *w.shape)
    moments = Moments(Told(seen), before is not None)
    moments.add(x, before)
    return Problem(moments, w, seen, damping, correction)


class Told:
    """A product whose rows are what comes in."""

    def __init__(self, matrices):
        self.matrices = matrices

    def rows(self, x):
        return x[None]


METHODS = {"admm": ka.layerwise.ADMM(), "sparsegpt": ka.layerwise.SparseGPT(), "wanda": ka.layerwise.Wanda()}
METHODS["magnitude"] = ka.layerwise.Magnitude()


def test_apart_inputs_have_the_largest_products_kept_as_they_were():
    """What a weight gives is `|w|` times the norm of its input: 4, 3, 2 of inputs of norm 1, 10, 1 are 4, 30, 2."""
    x = np.diag([1.0, 10.0, 1.0, 1.0]).astype("float32")
    w = np.array([[4.0], [3.0], [2.0], [5.0]], "float32")
    for name, kept in {
        "admm": [0, 3, 0, 5],
        "wanda": [0, 3, 0, 5],
        "sparsegpt": [0, 3, 0, 5],
        "magnitude": [4, 0, 0, 5],
    }.items():
        np.testing.assert_allclose(METHODS[name].solve(problem(x, w), Sparse(0.5))[:, 0], kept, err_msg=name, rtol=1e-6)


def test_inputs_that_say_the_same_are_one():
    """The second input is half the first: of weights 1 and 2 either alone gives what both did, as 2 or as 4."""
    x = np.array([[2.0, 1.0], [4.0, 2.0]], "float32")
    w = np.array([[1.0], [2.0]], "float32")
    (found,) = METHODS["admm"].solve(problem(x, w, 1e-6), Sparse(0.5)).T
    assert np.count_nonzero(found) == 1
    np.testing.assert_allclose(x @ found, x @ w[:, 0], rtol=1e-3)


def correlated(inputs, outputs):
    x = drawn(40, inputs) @ drawn(inputs, inputs)
    return x, drawn(inputs, outputs)


def test_the_support_is_near_the_best_of_all():
    gaps = []
    for _ in range(5):
        x, w = correlated(6, 1)
        given = problem(x, w)
        best = min(
            np.linalg.lstsq(x[:, list(kept)], (x @ w)[:, 0], rcond=None)[1].sum()
            for kept in itertools.combinations(range(6), 3)
        )
        gaps.append(given.error(METHODS["admm"].solve(given, Sparse(0.5))) * np.sum((x @ w) ** 2) / best)
    assert np.median(gaps) < 1.001 and max(gaps) < 3, gaps


@pytest.mark.parametrize("structure", ["element", "2:4", "block(2,4)", "row"])
def test_admm_is_nearest_and_every_method_is_in_the_set(structure):
    x, w = correlated(16, 8)
    constraint = Sparse(None if ":" in structure else 0.5, structure)
    given, errors = problem(x, w, 0.01), {}
    for name, method in METHODS.items():
        if name != "sparsegpt" or structure in ("element", "2:4"):
            kernel = method.solve(given, constraint)
            errors[name] = given.error(kernel)
            np.testing.assert_array_equal(kernel, constraint.project(kernel))
            assert np.count_nonzero(kernel) == w.size // 2
    assert min(errors, key=errors.get) == "admm", errors
    assert errors.get("sparsegpt", 0) < errors["magnitude"]


def test_sparsegpt_makes_up_behind_as_worked_by_hand():
    """Of H = [[2, 1], [1, 2]] the inverse's upper factor is sqrt(2/3) [[1, -1/2], [0, sqrt(3)/2]]: a weight w that
    leaves the first input adds w / 2 to the second's."""
    x = np.linalg.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]])).T.astype("float32") * np.sqrt(2, dtype="float32")
    found = METHODS["sparsegpt"].solve(problem(x, np.array([[1.0], [3.0]], "float32")), Sparse(0.5))
    np.testing.assert_allclose(found[:, 0], [0.0, 3.5], rtol=1e-5)


def test_wanda_chooses_for_each_output():
    w = np.array([[1.0, 100.0], [2.0, 300.0], [3.0, 200.0], [4.0, 400.0]], "float32")
    found = METHODS["wanda"].solve(problem(np.eye(4, dtype="float32"), w), Sparse(0.5))
    np.testing.assert_array_equal(found, [[0, 0], [0, 300], [3, 0], [4, 400]])


def test_what_layers_in_front_have_lost_is_made_up_for():
    """Half of what comes in is left, so twice the weights give what they gave; at a correction of a half, 1.5 times."""
    x, w = drawn(30, 4), drawn(4, 3)
    for correction, factor in ((1.0, 2.0), (0.5, 1.5), (0.0, 1.0)):
        found = problem(x, w, 0.0, before=2 * x, correction=correction)
        np.testing.assert_allclose(found.w[0], factor * w, rtol=1e-4)


class Block(layers.Layer):
    """What a language model has many of: attention with a mask, and two dense layers, each added to what comes in."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")
        self.up, self.down = layers.Dense(16, "relu", name="up"), layers.Dense(8, name="down")
        self.drop = layers.Dropout(0.5, seed=1)

    def build(self, shape):
        self.attention.build(shape, shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 16))

    def call(self, x, mask=None, training=None):
        x = x + self.attention(x, x, attention_mask=None if mask is None else mask[:, None])
        return x + self.down(self.up(self.drop(x, training=training)))

    def compute_mask(self, x, mask=None):
        return mask


class Subclassed(keras.Model):
    def __init__(self, parts):
        super().__init__(name="subclassed")
        self.parts = parts

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


class WithBlocks(Subclassed):
    def get_quantization_layer_structure(self, mode=None):
        return {"pre_block_layers": self.parts[:1], "sequential_blocks": self.parts[1:3]}


def parts():
    keras.utils.set_random_seed(1)
    return [layers.Embedding(12, 8, mask_zero=True), Block(name="one"), Block(name="two"), layers.Dense(3, name="head")]


def language_model(kind):
    if kind == "functional":
        made = parts()
        x = y = keras.Input((6,), dtype="int32")
        for part in made:
            y = part(y)
        return keras.Model(x, y)
    model = {"subclassed": Subclassed, "blocks": WithBlocks}[kind](parts())
    model(TOKENS[:2])
    return model


TOKENS = np.random.default_rng(1).integers(0, 12, (40, 6)).astype("int32")
WAYS = {"functional": passages.GraphOrder, "subclassed": passages.WholeModel, "blocks": passages.NamedBlocks}


@pytest.mark.every_backend
def test_all_ways_through_a_model_prune_it_alike(monkeypatch):
    kept = {}
    for kind, way in WAYS.items():
        model = language_model(kind)
        assert isinstance(passages.passage_of(model, [TOKENS[:2]], [], False), way)
        before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
        method = ka.layerwise.ADMM(iterations=20)
        report = ka.prune_layerwise(model, TOKENS, method=method, exclude="head", num_samples=16, verbose=0)
        kept[kind] = [ops.convert_to_numpy(v) for v in model.variables]
        assert len(report.rows) == 12 and report.sparsity == 0.5
        changed = {v.path for v in model.variables if not np.array_equal(ops.convert_to_numpy(v), before[v.path])}
        assert changed == {row.name for row in report.rows}
    for kind in ("subclassed", "blocks"):
        for a, b in zip(kept[kind], kept["functional"], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)


def outputs(model, x):
    return ops.convert_to_numpy(model(x))


def test_the_outputs_are_nearer_by_admm_and_nearer_still_with_correction():
    errors = {}
    for method in (*METHODS, ka.layerwise.ADMM(correction=0.0)):
        model = language_model("functional")
        dense = outputs(model, TOKENS)
        ka.prune_layerwise(model, TOKENS, 0.6, method=method, layers="two", batch_size=40, verbose=0)
        errors[method if isinstance(method, str) else "apart"] = float(np.sum((outputs(model, TOKENS) - dense) ** 2))
    assert errors["admm"] < errors["apart"] < min(errors[name] for name in ("sparsegpt", "wanda", "magnitude")), errors


def test_activations_are_held_only_while_they_are_read():
    model = keras.Sequential([keras.Input((4,)), *(layers.Dense(4) for _ in range(5))])
    passage = passages.GraphOrder(model, [drawn(3, 4)], True)
    for _ in passage.blocks():
        assert len(passage._now[0]) == len(passage._before[0]) == 1


# What each is, and the reasons for what was left.
SKIPPED = {
    "embedding": (lambda: [layers.Embedding(12, 4), layers.Dense(2, name="head")], "Embedding does not multiply"),
    "recurrent": (lambda: [layers.Embedding(12, 4), layers.LSTM(4), layers.Dense(2, name="head")], "LSTM"),
    "own call": (lambda: [layers.Embedding(12, 4), Doubled(4), layers.Dense(2, name="head")], "a call of its own"),
    "masked": (
        lambda: [layers.Embedding(12, 4), ka.layers.Masked(layers.Dense(4)), layers.Dense(2, name="head")],
        "strip",
    ),
}


class Doubled(layers.Dense):
    def call(self, x):
        return super().call(2 * x)


@pytest.mark.parametrize("case", SKIPPED)
def test_what_cannot_be_pruned_stays_with_a_reason(case):
    make, reason = SKIPPED[case]
    model = keras.Sequential([keras.Input((6,), dtype="int32"), *make()])
    report = ka.prune_layerwise(model, TOKENS, verbose=0)
    assert [row.name for row in report.rows] == [v.path for v in model.get_layer("head").weights[:1]]
    assert any(reason in each for each in report.skipped.values()), report.skipped
    assert "stays: " in str(report)


class Unused(Subclassed):
    def call(self, x):
        return self.parts[-1](self.parts[0](x))


def test_a_layer_that_is_not_called_stays():
    model = Unused([layers.Dense(4), layers.Dense(4, name="idle"), layers.Dense(4)])
    model.parts[1].build((None, 4))
    model(drawn(2, 4))
    report = ka.prune_layerwise(model, drawn(20, 4), verbose=0)
    assert list(report.skipped.values()) == ["its layer is not called"] and len(report.rows) == 2


def test_shared_layers_see_all_of_their_calls():
    x, shared = keras.Input((4,)), layers.Dense(4, name="shared")
    model = keras.Model(x, shared(shared(x)))
    assert isinstance(passages.passage_of(model, [drawn(2, 4)], model.weights[:1], True), passages.WholeModel)
    report = ka.prune_layerwise(model, drawn(20, 4), verbose=0)
    assert [row.kept for row in report.rows] == [8]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return TOKENS[8 * index : 8 * index + 8], np.zeros(8)


def dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((TOKENS, np.zeros(40))).batch(8)


# Forms of the same samples, each a function that gives them.
FORMS = {"array": lambda: TOKENS, "PyDataset": lambda: Batches(), "tf.data": dataset}


@pytest.mark.parametrize("form", FORMS)
def test_samples_in_every_form(form):
    found = samples.batches("me", FORMS[form](), 16, 8, 0)
    assert [len(keras.tree.flatten(batch)[0]) for batch in found] == [8, 8]
    samples.check_runs("me", language_model("functional"), found[0])
    if form in ("PyDataset", "tf.data"):
        np.testing.assert_array_equal(np.concatenate(found), TOKENS[:16])


def test_several_inputs_by_name_and_draws_that_a_seed_repeats():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([a, layers.Dense(3)(b)])))
    data = {"b": drawn(50, 2), "a": drawn(50, 3)}
    assert len(ka.prune_layerwise(model, data, verbose=0).rows) == 2
    drawn_twice = [samples.batches("me", data, 10, 4, seed)[0]["a"] for seed in (0, 0, 1)]
    assert np.array_equal(*drawn_twice[:2]) and not np.array_equal(*drawn_twice[1:])


# Arguments that fit no model, or not this one, and what is said of them.
REFUSED = {
    "shape": (dict(data=np.ones((4, 7, 2), "float32")), "data` must be what the model is called with"),
    "no samples": (dict(data=TOKENS[:0]), "which is not 0"),
    "a sparsity beside 2:4": (dict(structure="2:4", sparsity=0.7), "left out beside structure='2:4'"),
    "sparsegpt by blocks": (dict(structure="block(2,2)", method="sparsegpt"), "Use method='admm'"),
    "outputs' components for zeros": (
        dict(method=ka.layerwise.OutputComponents()),
        "must be a constraints.LowRank of a rank. Received: Sparse",
    ),
    "nothing to prune": (dict(layers="embedding*"), "at least one kernel"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_changed(case):
    given, said = REFUSED[case]
    model = language_model("functional")
    before = [ops.convert_to_numpy(v) for v in model.variables]
    with pytest.raises(ValueError, match=said):
        ka.prune_layerwise(model, **{"data": TOKENS, "verbose": 0} | given)
    for a, v in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, ops.convert_to_numpy(v))


def test_a_structure_that_does_not_fit_is_told_and_an_allocation_divides():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, name="a"), layers.Dense(4, name="b")])
    report = ka.prune_layerwise(model, drawn(30, 6), structure="2:4", verbose=0)
    assert [row.name.split("/")[-2] for row in report.rows] == ["b"] and "4 divides" in str(report)
    report = ka.prune_layerwise(model, drawn(30, 6), 0.75, allocation="global", verbose=0)
    assert sum(row.kept for row in report.rows) == 20


def test_inputs_that_never_come_and_those_that_are_not_finite():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, "relu", name="a"), layers.Dense(2, name="b")])
    model.get_layer("a").set_weights([np.zeros((4, 4)), -np.ones(4)])
    assert ka.prune_layerwise(model, drawn(8, 4), layers="b", verbose=0).rows[0].kept == 4
    model.get_layer("a").set_weights([np.full((4, 4), 1e38), np.ones(4)])
    with pytest.raises(ValueError, match="finite"):
        ka.prune_layerwise(model, 1e3 * np.ones((8, 4), "float32"), verbose=0)


def test_printed(capsys):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="a")])
    ka.prune_layerwise(model, drawn(8, 4))
    assert "a/kernel    4x2     4   8  0.5000" in capsys.readouterr().out


# Sets of few values: how many a channel (or the tensor) may have at most, zeros among them.
FEW = {
    "4 bits": (4, 15, True),
    "ternary": (ka.constraints.Ternary("channel"), 3, True),
    "clusters": (ka.constraints.Codebook(4), 5, False),
}


def distinct(kernel, by_channel):
    rows = kernel.reshape(-1, kernel.shape[-1]).T if by_channel else [kernel]
    return max(len(np.unique(row)) for row in rows)


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("sparsity", [None, 0.5])
def test_quantized_on_few_values_and_nearer_than_the_nearest(case, sparsity):
    levels, most, by_channel = FEW[case]
    model = keras.Sequential([keras.Input((8,)), layers.Dense(12, "relu", name="a"), layers.Dense(4, name="b")])
    x = drawn(60, 8) @ drawn(8, 8)
    dense, begin = outputs(model, x), model.get_weights()
    report = ka.quantize_layerwise(model, x, levels, sparsity=sparsity, verbose=0)
    ours = np.sum((outputs(model, x) - dense) ** 2)
    given = ka.constraints.Levels(4, scope="channel", fit="max") if levels == 4 else levels
    for v in model.weights[::2]:
        kernel = ops.convert_to_numpy(v)
        assert distinct(kernel, by_channel) <= most
        np.testing.assert_array_equal(given.project(kernel), kernel)
    assert sparsity is None or report.sparsity >= sparsity
    for v, array in zip(model.weights, begin, strict=True):
        each = Sparse(sparsity or 0.0).project(array) if v.name == "kernel" else array
        v.assign(given.project(each) if v.name == "kernel" else each)
    assert ours < np.sum((outputs(model, x) - dense) ** 2)


def test_keras_int4_keeps_what_is_on_its_levels():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(12, "relu"), layers.Dense(4)])
    x = drawn(20, 8)
    ka.quantize_layerwise(model, x, verbose=0)
    before = outputs(model, x)
    model.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=-1), filters="dense")
    assert np.abs(outputs(model, x) - before).max() < 1e-5 * np.abs(before).max()


def test_levels_that_move_zeros_are_refused_beside_a_sparsity():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    with pytest.raises(ValueError, match="Pass keep_zeros=True"):
        ka.quantize_layerwise(model, drawn(9, 8), ka.constraints.Binary(), sparsity=0.5, verbose=0)
    with pytest.raises(TypeError, match="constraint of few values"):
        ka.quantize_layerwise(model, drawn(9, 8), Sparse(0.5), verbose=0)
