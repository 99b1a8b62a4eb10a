"""Budgets divided by hand."""

import weakref

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import weights
from keras_admm.allocation import OWL, MeasuredAllocation, Saliency, allocate, divide, starved
from keras_admm.constraints.magnitudes import reached_by
from keras_admm.weights import Lazy

ARRAYS = {
    "conv/kernel": np.array([[9.0, 1.0], [2.0, 3.0]]),
    "fc/kernel": np.array([[4.0, -5.0, 0.5], [0.25, 0.125, 8.0]]),
}


@pytest.mark.parametrize(
    "sparsity, how, min_keep, counts",
    [
        (0.5, "global", 0, [2, 3]),  # the five largest: 9 8 5 4 3
        (0.8, "global", 0, [1, 1]),
        (0.9, "global", 0, [1, 0]),
        (0.8, "global", 1, [1, 1]),
        (0.7, "global", 2, [1, 2]),  # impossible for both: see the error below
        (0.0, "global", 0, [4, 6]),
        (0.5, "uniform", 0, [2, 3]),
        (0.9, "uniform", 1, [1, 1]),
        # density in proportion to 4/4 and 5/6: scale 5/9
        (0.5, "erk", 0, [2, 3]),
        (0.1, "erk", 0, [4, 5]),  # the first is full, the other takes the rest
        # scores 9: 1, 3: .1, 2: .043, 1: .01 and 8: 1, 5: .28, 4: .15, .5: .0024, ...
        (0.5, "lamp", 0, [2, 3]),
        (0.6, "lamp", 0, [1, 3]),
        (0.5, {"conv*": 0.0}, 0, [4, 3]),
        (0.5, {"*": 0.25, "fc": 0.9}, 0, [3, 1]),
        (0.5, lambda arrays, s: {"conv/kernel": 3, "fc/kernel": 0}, 0, [3, 0]),
    ],
)
def test_by_hand(sparsity, how, min_keep, counts):
    if (sparsity, min_keep) == (0.7, 2):
        with pytest.raises(ValueError, match="leaves 3 weights, fewer than min_keep=2 for each of 2 tensors. Lower"):
            allocate(ARRAYS, sparsity, how, min_keep)
    else:
        assert list(allocate(ARRAYS, sparsity, how, min_keep).values()) == counts


@pytest.mark.parametrize("how", ["global", "erk", "lamp"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.77, 0.9, 0.99])
def test_the_budget_is_spent_exactly(how, sparsity):
    rng = np.random.default_rng(0)
    arrays = {str(i): rng.normal(size=shape) for i, shape in enumerate([(3, 3, 4, 8), (50, 20), (7,), (400, 3)])}
    counts = allocate(arrays, sparsity, how, min_keep=1)
    assert sum(counts.values()) == round((1 - sparsity) * sum(a.size for a in arrays.values()))
    assert all(1 <= counts[n] <= a.size for n, a in arrays.items())


@pytest.mark.parametrize("unit", [1e-38, 1e-30, 1e30, 1e38])
@pytest.mark.parametrize("how", ["global", "uniform", "erk", "lamp"])
def test_units_do_not_matter(how, unit):
    arrays = {name: array.astype("float32") / 9 for name, array in ARRAYS.items()}
    counts = allocate(arrays, 0.5, how)
    assert allocate({name: np.float32(unit) * array for name, array in arrays.items()}, 0.5, how) == counts


def test_global_is_one_threshold():
    rng = np.random.default_rng(1)
    arrays = {"a": rng.normal(size=300), "b": 3 * rng.normal(size=200)}
    counts = allocate(arrays, 0.9, "global", min_keep=0)
    joined = np.sort(np.abs(np.concatenate(list(arrays.values()))))[-50]
    assert counts == {n: int((np.abs(a) >= joined).sum()) for n, a in arrays.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_threshold_is_found_by_counting(dtype):
    rng = np.random.default_rng(0)
    parts = [rng.exponential(size=size).astype(dtype) for size in (1, 500, 40)] + [np.array([1, 1, 0, 1e30], dtype)]
    ordered = np.sort(np.concatenate(parts))[::-1]
    for count in (1, 2, 300, ordered.size):
        found = reached_by(lambda: parts, count)
        assert found == ordered[count - 1] and found.dtype == dtype


def test_arrays_may_be_made_at_each_look():
    arrays = {"a": np.array([3.0, -1.0], "float32"), "b": np.array([2.0, 0.5], "float32")}
    sizes, there = dict.fromkeys(arrays, 2), []

    def make(name):
        there.append(weakref.ref(made := arrays[name].copy()))
        assert sum(ref() is not None for ref in there) <= 2
        return made

    assert divide(Lazy(arrays, make), sizes, 0.5, "global", 1) == {"a": 1, "b": 1}
    assert len(there) > 4


@pytest.mark.every_backend
@pytest.mark.parametrize("budget", [0, 1, 17, 30, 52, 53])
def test_tensors_of_the_backend_are_divided_as_arrays_are(budget):
    """Numbers of which many are equal: between these the earlier tensor's stay."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(-3, 4, size).astype("float32") for name, size in enumerate([(5, 6), (7,), (4, 4)])}
    tensors = {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}
    sizes = {name: array.size for name, array in arrays.items()}
    of_both = [divide(each, sizes, 1 - budget / 53, "global", min_keep=0) for each in (arrays, tensors)]
    assert of_both[0] == of_both[1]
    assert sum(of_both[1].values()) == budget


def test_ties_go_to_the_earlier_tensor():
    arrays = {"a": np.ones(4), "b": np.ones(4)}
    assert allocate(arrays, 0.25, "global", min_keep=0) == {"a": 4, "b": 2}


def test_a_layer_that_would_die_keeps_its_least():
    arrays = {"small": np.full(10, 1e-3), "large": np.arange(1.0, 91.0)}
    assert allocate(arrays, 0.9, "global", min_keep=0) == {"small": 0, "large": 10}
    assert allocate(arrays, 0.9, "global", min_keep=4) == {"small": 4, "large": 6}


@pytest.mark.parametrize(
    "counts, sizes, min_keep, names",
    [
        ([1, 999], [1000, 9000], 1, ["a"]),  # of 1000, an even share would be 100
        ([1, 999], [990, 9010], 1, []),  # of 990, 99
        ([2, 998], [9000, 1000], 1, []),
        ([2, 99_998], [1_000_000, 9_000], 1, ["a"]),  # no thousandth of it
        ([5, 995], [9000, 1000], 5, ["a"]),
        ([0, 1000], [9000, 1000], 0, []),  # it was allowed to die
    ],
)
def test_starved_by_hand(counts, sizes, min_keep, names):
    assert starved(dict(zip("ab", counts, strict=True)), dict(zip("ab", sizes, strict=True)), min_keep) == names


@pytest.mark.parametrize(
    "how, sentence",
    [
        ("fair", r"must be one of .*Received: allocation='fair'. Use 'global'"),
        ({"conv1*": 0.5}, r"every pattern must fit a name. Received: \['conv1\*'\].*Write"),
        (
            {"conv*": 1.5},
            r"pattern 'conv\*': `sparsity` must be a number in .0, 1., the share of zeros. Received: sparsity=1.5",
        ),
        (lambda arrays, s: {"conv/kernel": 99, "fc/kernel": 1}, "a whole number from 0 to the tensor's size.*Received"),
        (lambda arrays, s: {"conv/kernel": 1}, "a whole number from 0 to the tensor's size.*Received"),
    ],
)
def test_bad_input_gets_a_sentence(how, sentence):
    with pytest.raises(ValueError, match=sentence):
        allocate(ARRAYS, 0.5, how)


# ---- allocations that measure the model


def two_layers(first, second):
    layers = [keras.layers.Dense(2, use_bias=False, name="a"), keras.layers.Dense(2, use_bias=False, name="b")]
    model = keras.Sequential([keras.Input((2,)), *layers], name="m")
    model.set_weights([np.float32(first), np.float32(second)])
    return model


def chosen(model):
    return weights.select(model)


@pytest.mark.every_backend
def test_owl_measures_the_share_of_outliers_by_hand():
    """Norms of the inputs 5 and 1: |w| ||x|| is 5, 10, 1, 2, of mean 4.5: two above once, one above twice it."""
    model, x = two_layers([[1, -2], [1, 2]], np.eye(2)), np.float32([[3, 1], [4, 0]])
    by_threshold = {1.0: 0.5, 2.0: 0.25, 3.0: 0.0}
    for threshold, share in by_threshold.items():
        measured = OWL(x, threshold=threshold, batch_size=1).measure(model, chosen(model))
        assert measured["m/a/kernel"] == np.float32(share)
    # The second layer has what comes out of the first: (4, -4) and (4, -8), of norms 5.7 and 8.9.
    assert OWL(x, threshold=2.2).measure(model, chosen(model))["m/b/kernel"] == np.float32(0.25)
    assert OWL(x, threshold=1.2).measure(model, chosen(model))["m/b/kernel"] == np.float32(0.5)


def test_owl_divides_by_hand():
    """Densities t, t + 0.08 and t + 0.16 of a mean of 0.3; of unequal sizes the same t for all."""
    measured = {"a": np.float32(0.0), "b": np.float32(0.02), "c": np.float32(0.04)}
    shares = OWL(np.ones(3)).shares
    assert shares(measured, {"a": 100, "b": 100, "c": 100}, 90) == {"a": 22, "b": 30, "c": 38}
    assert shares(measured, {"a": 200, "b": 100, "c": 100}, 120) == {"a": 48, "b": 32, "c": 40}
    assert shares(measured, {"a": 1000, "b": 1000, "c": 1000}, 30) == {"a": 5, "b": 10, "c": 15}  # no more than 0.005
    mlp = {"c": 235_200, "b": 30_000, "a": 1_000}  # most weights are where the outliers are: half of 1/30 is left to a
    assert shares(measured | {"b": np.float32(0.0)}, mlp, 8_873) == {"c": 8_356, "b": 500, "a": 17}
    assert shares(dict.fromkeys("abc", 0.5), {"a": 10, "b": 20, "c": 30}, 30) == {"a": 5, "b": 10, "c": 15}
    assert shares(measured, {"a": 10, "b": 20, "c": 30}, 60) == {"a": 10, "b": 20, "c": 30}
    assert shares(measured, {"a": 10, "b": 20, "c": 30}, 0) == {"a": 0, "b": 0, "c": 0}


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda: keras.layers.Conv2D(4, 3), (8, 8, 3)),
        (lambda: keras.layers.Conv2D(4, 3, groups=2), (8, 8, 6)),
        (lambda: keras.layers.DepthwiseConv2D(3), (8, 8, 3)),
        (lambda: keras.layers.Conv1D(4, 3), (8, 3)),
        (lambda: keras.layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 4)), (5, 3)),
        (lambda: keras.layers.EinsumDense("abde,dec->abc", output_shape=(None, 4)), (5, 2, 3)),
        (lambda: keras.layers.Conv2DTranspose(4, 3), (8, 8, 3)),
    ],
)
def test_owl_weighs_each_weight_by_what_it_reads(layer, shape):
    """With inputs of one channel's norm 0 the share is that of the weights that do not read it."""
    model = keras.Sequential([keras.Input(shape), layer()], name="m")
    (name,) = chosen(model)
    model.set_weights([np.ones(w.shape) for w in model.get_weights()])
    x = np.ones((2, *shape), "float32")
    x[..., -1] = 0
    measured = OWL(x, threshold=0.5).measure(model, chosen(model))
    channels = shape[-1]
    if len(shape) == 3 and "dec" in str(model.layers[0].get_config().get("equation")):
        channels = 3
    assert measured[name] == np.float32(1 - 1 / channels)


def test_what_reads_something_else_is_measured_without_inputs():
    model = keras.Sequential([keras.Input((3,), dtype="int32"), keras.layers.Embedding(5, 4), keras.layers.LSTM(4)])
    rng = np.random.default_rng(0)
    measured = OWL(rng.integers(0, 5, (6, 3)), threshold=2.0).measure(model, chosen(model))
    for name, variable in chosen(model).items():
        w = np.abs(weights.read(variable))
        if "recurrent" in name or "embeddings" in name:
            assert measured[name] == np.float32(np.mean(w > 2 * w.mean()))


@pytest.mark.every_backend
def test_saliency_by_hand():
    """y = x1 + 2 x2: gradients by weights: of y^2 at x = (1, 1) (6, 6), of (y - 3)^2 at (1, 0) (-4, 0)."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="a")], name="m")
    model.set_weights([np.float32([[1], [2]])])
    data = np.float32([[1, 1], [1, 0]]), np.float32([[0], [3]])
    for size, scores in ((1, [6 + 4, 12]), (2, [1, 6])):
        measured = Saliency(data, "mse", batch_size=size).measure(model, chosen(model))
        assert np.allclose(measured["m/a/kernel"][:, 0], scores)
        assert measured["m/a/kernel"].dtype == "float32"


def test_saliency_divides_by_one_threshold():
    measured = {"a": np.float32([[9, 1], [2, 3]]), "b": np.float32([4, 5, 0.5])}
    shares = Saliency((np.ones((2, 1)), np.ones((2, 1))), "mse").shares
    assert [shares(measured, {"a": 4, "b": 3}, k) for k in (1, 3, 4)] == [
        {"a": 1, "b": 0},
        {"a": 1, "b": 2},
        {"a": 2, "b": 2},
    ]


@pytest.mark.every_backend
def test_saliency_leaves_the_model_and_a_tensor_that_the_loss_does_not_feel_has_none():
    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(4, name="a")(inputs))
    outputs = [keras.layers.Dense(2, name="b")(x), keras.layers.Dense(2, name="c")(x)]
    model = keras.Model(inputs, outputs, name="m")
    before = model.get_weights()
    data = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")

    def first(y_true, y_pred):
        return keras.ops.mean((y_true - y_pred[0]) ** 2, axis=-1)

    measured = Saliency(data, first).measure(model, chosen(model))
    assert not measured["c/kernel"].any() and measured["b/kernel"].any() and measured["a/kernel"].any()
    assert measured["c/kernel"].shape == (4, 2)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises(ValueError, match="must be finite. Received: NaN or infinity at"):
        Saliency((data[0] * np.nan, data[1]), first).measure(model, chosen(model))


def test_saliency_is_of_keras_3():
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    with pytest.raises(ValueError, match="must be a model of Keras 3"):
        Saliency((np.ones((2, 3)), np.ones((2, 2))), "mse").measure(model, weights.select(model))


class Calls(MeasuredAllocation):
    """By a number that is told, of which it is known how often it was measured."""

    def __init__(self, by_weight=False):
        self.by_weight, self.calls = by_weight, []

    def measure(self, model, variables):
        self.calls.append(list(variables))
        return {name: np.float32(weights.read(v) ** 2) for name, v in variables.items()}

    def shares(self, measured, sizes, budget):
        sums = {name: float(measured[name].sum()) for name in sizes}
        self.shapes = {name: measured[name].shape for name in sizes}
        first, *_ = sizes
        return {
            name: budget - min(budget, sizes[first]) if name != first else min(budget, sizes[first]) for name in sums
        }

    def get_config(self):
        return {"by_weight": self.by_weight}


def test_the_model_is_measured_once_as_a_run_begins_and_counts_follow():
    model = two_layers(np.ones((2, 2)), np.ones((2, 2)))
    model.compile("adam", "mse")
    how = Calls()
    x = np.ones((8, 2), "float32")
    model.fit(x, x, epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.25, allocation=how, path="cubic", verbose=0)])
    assert how.calls == [["m/a/kernel", "m/b/kernel"]]
    assert [np.count_nonzero(w) for w in model.get_weights()] == [4, 2]


def test_scores_of_weights_are_summed_over_the_groups_of_a_structure():
    model = two_layers([[1, 2], [3, 4]], np.ones((2, 2)))
    how = Calls(by_weight=True)
    target = ka.PruningTarget(0.5, allocation=how, structure="column").of(model, chosen(model))
    target.sets(weights.views(chosen(model)), 1.0)
    assert how.shapes["m/a/kernel"] == (2,)
    assert np.allclose(target._scores()["m/a/kernel"], [5.0, 25.0])


@pytest.mark.parametrize(
    "data, received",
    [
        (np.ones((0, 2)), r"shapes \[\(0, 2\)\]"),
        ({"a": np.ones((4, 2)), "b": np.ones((3, 2))}, r"shapes \[\(4, 2\), \(3, 2\)\]"),
        ([[1.0, 2.0], [3.0, 4.0]], r"shapes \[\(\), \(\), \(\), \(\)\]"),
    ],
)
def test_data_without_samples_are_refused(data, received):
    with pytest.raises(ValueError, match=f"OWL: `data` must be .* as many samples in each. Received: {received}"):
        OWL(data)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_owl_measures_nothing_that_is_not_finite(value):
    model = two_layers(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="must be finite. Received: NaN or infinity at m/a/kernel. Look at the data"):
        OWL(np.float32([[1, value], [1, 1]])).measure(model, chosen(model))


def test_an_allocation_that_measures_needs_a_model():
    with pytest.raises(TypeError, match="Hand it to ADMMPrune"):
        allocate(ARRAYS, 0.5, OWL(np.ones((2, 2))))
    with pytest.raises(ValueError, match="must know the model, which it measures"):
        ka.PruningTarget(0.5, allocation=OWL(np.ones((2, 2)))).sets(ARRAYS, 1.0)
