"""Sets of levels: the nearest scale and assignment, exact numbers, and the grid of integer kernels."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm.constraints import Binary, Codebook, Levels, PowersOfTwo, Ternary, floats, levels, summary
from keras_admm.constraints.scale import best_scale

pytestmark = pytest.mark.every_backend

# a set, and its positive multiples, counted by hand; 0 where it is a level
LEVEL_GRIDS = [
    (Levels(2), [0, 1]),
    (Levels(3), [0, 1, 2, 3]),
    (Levels(1, zero=False), [1]),
    (Levels(2, zero=False), [1, 2]),
    (Levels(3, zero=False), [1, 2, 3, 4]),
    (Binary(), [1]),
    (Binary(keep_zeros=True), [1]),
    (Ternary(), [0, 1]),
    (PowersOfTwo(2), [0, 1]),
    (PowersOfTwo(3), [0, 1, 2, 4]),
    (PowersOfTwo(2, zero=False), [1, 2]),
]
TINY = [np.random.default_rng(seed).normal(size=6).round(seed % 3).astype("float32") for seed in range(12)]


def distance(x, y):
    return np.sum((np.float64(x) - np.float64(y)) ** 2)


def least_distance(x, level_grid):
    """By brute force: of every assignment, with the scale that is best for it."""
    magnitudes = np.abs(np.float64(x))
    assignments = np.array(list(itertools.product(level_grid, repeat=x.size)), "float64")
    along, within = assignments @ magnitudes, np.sum(assignments**2, axis=1)
    return magnitudes @ magnitudes - np.max(np.divide(along**2, within, out=np.zeros_like(along), where=within > 0))


@pytest.mark.parametrize("constraint, level_grid", LEVEL_GRIDS, ids=lambda value: str(getattr(value, "level_grid", "")))
def test_no_member_is_nearer(constraint, level_grid):
    for x in TINY:
        others = x[x != 0] if constraint.keep_zeros else x
        assert distance(x, constraint(x)) == pytest.approx(least_distance(others, level_grid), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("zero", [True, False])
def test_no_scale_of_a_fine_scan_is_better(zero):
    x = np.random.default_rng(0).standard_t(3, 500).astype("float32")
    level_grid = np.arange(0.0 if zero else 1.0, 8.0 + (not zero))
    found = distance(x, Levels(4, zero=zero)(x))
    for scale in np.abs(x).max() / level_grid[-1] * np.linspace(0.01, 1.2, 3000):
        nearest = level_grid[np.abs(np.abs(x)[:, None] - scale * level_grid).argmin(axis=1)]
        assert found <= distance(np.abs(x), scale * nearest) * (1 + 1e-6)


@pytest.mark.parametrize("constraint", [Levels(4), Levels(4, zero=False), PowersOfTwo(4), Ternary(), Levels(8)])
def test_a_histogram_is_nearly_as_good(constraint, monkeypatch):
    x = np.random.default_rng(0).normal(size=20_000).astype("float32")
    best = distance(x, constraint(x))
    monkeypatch.setattr(levels, "ROOM", 4096 * (len(constraint.level_grid) - 1))
    binned = distance(x, constraint(x))
    assert best <= binned * (1 + 1e-6) and binned <= best * 1.001


def test_a_scan_is_nearly_as_good_as_all_points():
    values = np.abs(np.random.default_rng(0).normal(size=300))
    level_grid, ones = np.arange(128.0), np.ones(300)

    def error(scale):
        return distance(values, scale * np.clip(np.rint(values / scale), 0, 127))

    best = error(best_scale(values, ones, level_grid, room=1 << 20))
    assert best <= error(best_scale(values, ones, level_grid, room=0)) <= 1.1 * best


OF_A_SCOPE = {
    "levels": lambda scope: Levels(3, scope=scope),
    "binary": Binary,
    "ternary": Ternary,
    "codebook": lambda scope: Codebook(2, scope=scope),
    "codebook, zeros in clusters": lambda scope: Codebook(2, keep_zeros=False, scope=scope),
}


@pytest.mark.parametrize("make", OF_A_SCOPE.values(), ids=OF_A_SCOPE)
def test_a_channel_is_a_tensor_of_its_own(make):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32") * [1, 10, 0.1, 0]
    x = x.astype("float32")
    y = make("channel")(x)
    for c in range(4):
        np.testing.assert_array_equal(y[..., c], make("tensor")(np.ascontiguousarray(x[..., c])))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", [True, False])
def test_an_integer_kernel_holds_anchored_levels_exactly(bits, zero):
    """The symmetric grid of AI Edge Quantizer and LiteRT: for each channel max|w| / (2^(bits-1) - 1)."""
    x = np.random.default_rng(bits).normal(size=(3, 3, 5, 40)).astype("float32")
    y = Levels(bits, zero=zero, scope="channel", fit="max")(x)
    scale = np.abs(y).max(axis=(0, 1, 2)) / np.float32(2 ** (bits - 1) - 1)
    integers = np.rint(y / scale).astype("int8")
    assert np.abs(integers).max() == 2 ** (bits - 1) - 1
    np.testing.assert_array_equal(integers * scale, y)
    np.testing.assert_allclose(np.abs(y).max(axis=(0, 1, 2)), np.abs(x).max(axis=(0, 1, 2)), rtol=1e-4)
    assert distance(x, y) <= np.sum((scale / 2) ** 2) * x[..., 0].size * (1 if zero else 4)


def test_pruned_weights_stay_and_kept_ones_do_not_vanish():
    x = np.array([0, 1e-3, -1, 0, 2.1, -1e-3], "float32")
    for constraint in [Levels(2, zero=False), Binary(keep_zeros=True), PowersOfTwo(2, zero=False)]:
        assert (constraint(x) != 0).tolist() == (x != 0).tolist()
    assert np.count_nonzero(Levels(3)(x)) == 2


def test_values_by_hand():
    x = np.array([1, -2, 3, 0, -0.0], "float32")
    assert Binary()(x).tolist() == pytest.approx([1.2, -1.2, 1.2, 1.2, 1.2])
    assert Binary(keep_zeros=True)(x).tolist() == [2, -2, 2, 0, 0]
    assert Ternary()(x).tolist() == [0, -2.5, 2.5, 0, 0]  # 5^2 / 2 > 6^2 / 3 > 3^2
    assert Levels(3)(x).tolist() == [1, -2, 3, 0, 0]
    assert PowersOfTwo(2, zero=False)(x).tolist() == [1.5, -1.5, 3, 0, 0]  # 9^2 / 6 > 11^2 / 9
    assert not np.signbit(Ternary()(x)[4])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "constraint", [Levels(4), Levels(4, zero=False, fit="max"), Levels(4, scope="channel"), Binary(), PowersOfTwo(4)]
)
def test_dtypes_stay_and_hold_the_levels_exactly(dtype, constraint):
    x = ops.cast(np.random.default_rng(1).normal(size=(30, 4)), dtype)
    y = constraint(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    y32, again = (ops.convert_to_numpy(ops.cast(t, "float32")) for t in (y, constraint(y)))
    np.testing.assert_array_equal(y32, again)
    channel = np.abs(y32[:, 0]).astype("float64")
    scales = channel.max() / constraint.level_grid[constraint.level_grid > 0]
    assert any(np.isin(channel, scale * constraint.level_grid).all() for scale in scales)


def test_a_scale_stays_below_the_largest_number():
    x = np.array([3.4e38, 2.4e38, 2.4e38, 2.4e38, 1e38], "float32")
    for constraint in [Levels(3), Levels(8, fit="max"), Levels(3, zero=False), Binary(), PowersOfTwo(6)]:
        assert np.isfinite(constraint(x)).all()


@pytest.mark.parametrize("constraint", [Levels(4), Levels(4, zero=False), Levels(4, fit="max"), Binary()])
def test_few_passes_over_memory(constraint, monkeypatch):
    """Everything that goes through a large array goes by `chunks`, but for a count of its non-zeros."""
    seen = []

    def counted(array):
        seen.append(array.size)
        return summary_chunks(array)

    summary_chunks, count_nonzero = summary.chunks, np.count_nonzero
    for module in (floats, levels, summary):
        monkeypatch.setattr(module, "chunks", counted)
    monkeypatch.setattr(np, "count_nonzero", lambda array: (seen.append(array.size), count_nonzero(array))[1])
    x = np.random.default_rng(0).normal(size=1 << 23).astype("float32")
    constraint(x)
    assert sum(size == x.size for size in seen) <= 6


IN_A_STEP = [Levels(4, fit="max"), Levels(4, zero=False, scope="channel", fit="max"), Binary(), Binary("channel", True)]


@pytest.mark.parametrize("unit", [1, 1e-30, 1e38])
@pytest.mark.parametrize("constraint", IN_A_STEP)
def test_in_a_compiled_step_the_same_set(constraint, unit):
    x = np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype("float32") * np.float32(unit)
    x[0, 0] = 0
    inside = ops.convert_to_numpy(constraint.in_step(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(inside, constraint(x), rtol=1e-6)


def trained(constraint):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, kernel_constraint=constraint)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 5)), verbose=0)
    return ops.convert_to_numpy(model.layers[0].kernel)


@pytest.mark.parametrize("constraint", [Levels(2, fit="max"), Binary()])
def test_as_a_kernel_constraint(constraint):
    kernel = trained(constraint)
    np.testing.assert_allclose(constraint(kernel), kernel, rtol=1e-6)
    assert np.unique(np.abs(kernel)).size <= 2


@pytest.mark.parametrize("constraint", [Levels(2), Ternary(), PowersOfTwo(2), Codebook(2)])
def test_what_is_fitted_on_the_host_says_so_in_a_compiled_step(constraint):
    if keras.backend.backend() == "torch":  # whose steps are not compiled
        kernel = trained(constraint)
        np.testing.assert_array_equal(constraint(kernel), kernel)
        return
    with pytest.raises(ValueError, match="inside a compiled step, which has no numbers yet. Use it in ADMM"):
        trained(constraint)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("constraint", [Levels(4), Levels(4, fit="max"), Binary(), Codebook(2)])
def test_a_tensor_that_is_not_finite_gets_a_sentence(constraint, value):
    with pytest.raises(ValueError, match="must be finite to be projected. Received: one with NaN or infinity"):
        constraint(np.array([1, value], "float32"))


@pytest.mark.parametrize(
    "make, error, sentence",
    [
        (lambda: Levels(0), ValueError, "must be an integer from 2 to 16. Received: bits=0"),
        (lambda: Levels(17), ValueError, "must be an integer from 2 to 16. Received: bits=17"),
        (lambda: Levels(1), ValueError, "with 0 among the levels it takes two"),
        (lambda: Levels(1, zero=False, fit="max"), ValueError, "from 2 to 16"),
        (lambda: Levels(4.0), TypeError, "must be an integer from 2 to 16. Received: bits=4.0"),
        (lambda: Levels(True), TypeError, "Received: bits=True"),
        (lambda: Levels("4"), TypeError, "Received: bits='4'"),
        (lambda: Levels(4, scope="layer"), ValueError, "`scope` must be one of 'tensor', 'channel'"),
        (lambda: Levels(4, fit="mean"), ValueError, "`fit` must be one of 'least_squares', 'max'"),
        (lambda: Binary("filter"), ValueError, "Binary: `scope` must be"),
        (lambda: Ternary(1), ValueError, "Ternary: `scope` must be"),
        (lambda: Codebook(2, scope="layer"), ValueError, "Codebook: `scope` must be one of 'tensor', 'channel'"),
        (lambda: PowersOfTwo(7), ValueError, "must be an integer from 2 to 6. Received: bits=7"),
        (lambda: PowersOfTwo(2.5), TypeError, "PowersOfTwo: `bits` must be an integer"),
        (lambda: Levels(12)(np.ones(3, "float16")), ValueError, "float16, whose numbers have 11 binary digits"),
    ],
)
def test_bad_input_gets_a_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
