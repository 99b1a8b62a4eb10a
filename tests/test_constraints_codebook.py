"""Optimal clusters: against brute force, with zeros apart, and of large tensors by a histogram."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm.constraints import Codebook, codebook
from keras_admm.constraints.clusters import optimal_clusters
from keras_admm.constraints.zero_cluster import clusters_beside_zero

pytestmark = pytest.mark.every_backend

TINY = [np.random.default_rng(seed).normal(size=7).round(seed % 3).astype("float32") for seed in range(12)]


def distance(x, y, counts=1):
    return np.sum(counts * (np.float64(x) - np.float64(y)) ** 2)


def least_distance(x, size, counts=None, zero=False):
    """By brute force over every way to cut the sorted numbers into no more than `size` runs, with `zero` one at 0."""
    counts = np.ones(len(x)) if counts is None else counts
    order = np.argsort(x)
    x, counts, best = np.float64(x)[order], counts[order], np.inf
    for runs in range(1, min(size, len(x)) + 1):
        for cuts in itertools.combinations(range(1, len(x)), runs - 1):
            parts = [slice(a, b) for a, b in itertools.pairwise((0, *cuts, len(x)))]
            means = [np.average(x[part], weights=counts[part]) for part in parts]
            at_zero = range(runs) if zero else [None]
            for at in at_zero:
                values = [0 if i == at else mean for i, mean in enumerate(means)]
                best = min(best, sum(distance(x[p], v, counts[p]) for p, v in zip(parts, values, strict=True)))
    return best


@pytest.mark.parametrize("size", [2, 3, 5, 7, 9])
@pytest.mark.parametrize("keep_zeros", [True, False])
def test_no_codebook_is_nearer(size, keep_zeros):
    for x in TINY:
        others = x[x != 0] if keep_zeros else x
        least = least_distance(others, size) if others.size else 0
        y = Codebook(size, keep_zeros)(x)
        assert distance(x, y) == pytest.approx(least, rel=1e-5, abs=1e-9)
        assert np.unique(y[y != 0] if keep_zeros else y).size <= size


@pytest.mark.parametrize("size", [2, 3, 5, 7, 9])
@pytest.mark.parametrize("keep_zeros", [True, False])
def test_no_codebook_with_zero_is_nearer(size, keep_zeros):
    for x in TINY + [x + np.float32(shift) for x in TINY for shift in (-1, 1)]:
        y = Codebook(size, keep_zeros, zero=True)(x)
        least = least_distance(np.append(x, np.float32(0)), size, zero=True)  # which gains nothing, and may be alone
        assert distance(x, y) == pytest.approx(least, rel=1e-5, abs=1e-9)
        assert np.unique(y[y != 0]).size <= size - 1 and not y[x == 0].any()


def test_clusters_beside_zero_by_hand():
    x = np.array([-5, 0.5, 1, 3, 0], "float32")
    assert Codebook(2, zero=True)(x).tolist() == [-5, 0, 0, 0, 0]
    assert Codebook(3, zero=True)(x).tolist() == [-5, 0, 0, 3, 0]
    assert Codebook(4, zero=True)(x).tolist() == [-5, 0.75, 0.75, 3, 0]
    assert Codebook(2, zero=True)(np.array([3, 4, 5], "float32")).tolist() == [4, 4, 4]  # none is nearer to 0
    assert not np.signbit(Codebook(2, zero=True)(np.array([-0.1, 5], "float32")))[0]
    (means,) = clusters_beside_zero([(np.array([-1.0, 1.0, 2.0]), np.array([3.0, 4.0, 4.0]))], 1)
    assert means.tolist() == [0, 1.5]
    (means,) = clusters_beside_zero([(np.array([-1.0, 1.0, 2.0]), np.array([30.0, 4.0, 4.0]))], 1)
    assert means.tolist() == [-1, 0]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_counts_weigh(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        values, counts = np.sort(rng.normal(size=8)), rng.integers(1, 9, 8).astype("float64")
        (means,) = optimal_clusters(values[None], counts[None], size)
        nearest = means[np.abs(values[:, None] - means).argmin(axis=1)]
        assert distance(values, nearest, counts) == pytest.approx(least_distance(values, size, counts))


def test_rows_are_clustered_each_by_itself():
    """Rows of many lengths, filled up by numbers that do not occur."""
    rows = [np.sort(np.random.default_rng(length).normal(size=length)) for length in (9, 4, 2, 7)]
    values = np.stack([np.pad(row, (0, 9 - row.size), mode="edge") for row in rows])
    counts = np.stack([np.arange(9) < row.size for row in rows]).astype("float64")
    for row, means in zip(rows, optimal_clusters(values, counts, 3), strict=True):
        np.testing.assert_allclose(means, optimal_clusters(row[None], np.ones((1, row.size)), 3)[0], rtol=1e-12)


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("keep_zeros", [True, False])
def test_many_channels_are_clustered_in_parts(keep_zeros, zero, monkeypatch):
    monkeypatch.setattr(codebook, "TOGETHER", 50)
    x = np.random.default_rng(0).normal(size=(20, 7)).astype("float32")
    x[:18, 2] = x[3:9, 4] = 0
    x[:, 5] = np.abs(x[:, 5])
    y = Codebook(3, keep_zeros, "channel", zero)(x)
    for c in range(7):
        np.testing.assert_array_equal(y[:, c], Codebook(3, keep_zeros, zero=zero)(np.ascontiguousarray(x[:, c])))


def test_zeros_stay_and_take_no_place():
    x = np.array([0, 1, 0, 2, -0.5, 0], "float32")
    assert Codebook(3)(x).tolist() == x.tolist()
    assert Codebook(2)(x).tolist() == [0, 1.5, 0, 1.5, -0.5, 0]
    assert not np.signbit(Codebook(2)(np.array([0, -1, -2, -9], "float32")))[0]
    assert Codebook(2, keep_zeros=False)(x).tolist() == pytest.approx([-0.125, 1.5, -0.125, 1.5, -0.125, -0.125])
    assert not Codebook(3)(np.zeros(5, "float32")).any()


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("size", [4, 16])
@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "random"])
def test_a_histogram_is_nearly_as_good(size, draw, zero, monkeypatch):
    x = getattr(np.random.default_rng(0), draw)(size=30_000).astype("float32")
    monkeypatch.setattr(codebook, "EXACT", x.size)
    best = distance(x, Codebook(size, zero=zero)(x))
    monkeypatch.setattr(codebook, "EXACT", 1000)
    binned = Codebook(size, zero=zero)(x)
    assert np.unique(binned).size <= size
    assert best * (1 - 1e-6) <= distance(x, binned) <= best * (1 + 1e-3)
    monkeypatch.setattr(codebook, "TOGETHER", 10)
    monkeypatch.setattr(codebook, "BINS", 1024)
    channels = Codebook(size, scope="channel", zero=zero)(np.stack([x, -x], axis=1))
    assert best * (1 - 1e-6) <= distance(x, channels[:, 0]) <= best * (1 + 1e-2)


def test_pruned_weights_do_not_count_as_large():
    x = np.zeros(300_000, "float32")
    x[::100] = np.random.default_rng(0).normal(size=3000)
    np.testing.assert_array_equal(Codebook(8)(x)[::100], Codebook(8)(x[::100]))


@pytest.mark.parametrize("values", [[1, 1 + 2**-23, 1.5], [0, 1e-40, 1e-41], [-1e30, 1e-30, 7]])
def test_a_large_tensor_of_few_values_is_its_own_nearest(values):
    """Though two of them share a bin of the histogram."""
    x = np.repeat(np.float32(values), 50_000)
    np.testing.assert_array_equal(Codebook(3)(x), x)
    np.testing.assert_array_equal(Codebook(3, keep_zeros=False)(x), x)


def test_neighbouring_numbers_are_told_apart():
    x = np.float32([1, 1 + 2**-23, 1 + 2**-22, 5])  # whose middles, rounded to even, are their neighbours
    np.testing.assert_array_equal(codebook.nearest_mean(x, x, keep_zeros=False), x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_stay(dtype):
    x = ops.cast(np.random.default_rng(1).normal(size=(30, 4)), dtype)
    y = Codebook(5)(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    y32, again = (ops.convert_to_numpy(ops.cast(t, "float32")) for t in (y, Codebook(5)(y)))
    np.testing.assert_array_equal(y32, again)
    assert np.unique(y32).size == 5


def test_one_value_beside_zeros():
    """What two clusters are in a pruned tensor."""
    assert Codebook(1)(np.array([0, 1, -3, 0], "float32")).tolist() == [0, -1, -1, 0]


def test_an_empty_tensor_stays_empty():
    assert Codebook(2)(np.zeros((0, 3), "float32")).shape == (0, 3)


@pytest.mark.parametrize(
    "size, error, sentence",
    [
        (0, ValueError, "must be an integer from 1 to 65,536. Received: size=0. Pass 16"),
        (65537, ValueError, "Received: size=65537"),
        (16.0, TypeError, "must be an integer from 1 to 65,536. Received: size=16.0"),
        (True, TypeError, "Received: size=True"),
        (None, TypeError, "Received: size=None"),
    ],
)
def test_bad_input_gets_a_sentence(size, error, sentence):
    with pytest.raises(error, match=sentence):
        Codebook(size)


def test_zero_alone_is_no_codebook():
    with pytest.raises(ValueError, match="must be an integer from 2 to 65,536. Received: size=1"):
        Codebook(1, zero=True)
