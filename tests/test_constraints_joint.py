"""Two sets at once: the nearest member against brute force, and pairs that are refused."""

import itertools

import keras
import numpy as np
import pytest

from keras_admm.constraints import Axes, Binary, Codebook, Joint, Levels, PowersOfTwo, Sparse, Support, Ternary, joint

pytestmark = pytest.mark.every_backend

SIZE = 6
TINY = [np.random.default_rng(seed).normal(seed % 2, 1, SIZE).astype("float32") for seed in range(6)]


def distance(x, y):
    return np.sum((np.float64(x) - np.float64(y)) ** 2)


def keeping(count):
    sparse = Sparse(1 - count / SIZE) if count else Sparse(0.99)
    assert round((1 - sparse.sparsity) * SIZE) == count
    return sparse


def supports(counts):
    for count in counts:
        for kept in itertools.combinations(range(SIZE), count):
            yield np.isin(np.arange(SIZE), kept)


@pytest.mark.parametrize("count", range(SIZE + 1))
@pytest.mark.parametrize(
    "levels", [Levels(2, zero=False), Levels(3), PowersOfTwo(3), Ternary(), Binary(keep_zeros=True)]
)
def test_no_member_on_levels_is_nearer(levels, count):
    """Over every support; the levels themselves are proved in their own tests."""
    for x in TINY:
        y = Joint(keeping(count), levels)(x)
        assert np.count_nonzero(y) <= count
        least = min(distance(x, levels(np.where(support, x, np.float32(0)))) for support in supports([count]))
        assert distance(x, y) == pytest.approx(least, rel=1e-6, abs=1e-12)


def test_no_member_on_levels_with_zeros_in_each_window_is_nearer():
    """Over every support with one of each three; along other axes the same."""
    for x in TINY:
        sets = Joint(Sparse(structure="2:3"), Levels(3))
        y = sets(x[:, None])[:, 0]
        masks = (np.isin(np.arange(SIZE), [a, 3 + b]) for a in range(3) for b in range(3))
        least = min(distance(x, Levels(3)(np.where(mask, x, np.float32(0)))) for mask in masks)
        assert distance(x, y) == pytest.approx(least, rel=1e-6, abs=1e-12)
        turned = sets.along(Axes((-1,), (-2,)))
        turned.check_shape((1, SIZE))
        np.testing.assert_array_equal(turned(x[None])[0], y)


@pytest.mark.parametrize("count", range(SIZE + 1))
@pytest.mark.parametrize("size, zero", [(2, False), (3, False), (3, True)])
def test_no_member_in_clusters_is_nearer(size, zero, count):
    """Over every support of up to so many; the clusters themselves are proved in their own tests."""
    for x in TINY:
        codebook = Codebook(size, zero=zero)
        y = Joint(keeping(count), codebook)(x)
        assert np.count_nonzero(y) <= count and np.unique(y[y != 0]).size <= size - zero
        every = supports(range(count + 1))
        least = min(distance(x, codebook(np.where(support, x, np.float32(0)))) for support in every)
        assert distance(x, y) == pytest.approx(least, rel=1e-6, abs=1e-12)


def test_a_kept_weight_becomes_0_where_that_is_nearer():
    x = np.array([10, 11, -10, 0.1, -0.1, 0], "float32")
    assert Joint(keeping(5), Codebook(2))(x).tolist() == [10.5, 10.5, -10, 0, 0, 0]


@pytest.mark.parametrize(
    "levels",
    [
        Levels(2, scope="channel"),
        Codebook(2),
        Codebook(2, scope="channel"),
        Binary("channel", keep_zeros=True),
        Levels(4, fit="max"),
    ],
)
def test_on_a_support_the_rest_is_free_of_it(levels):
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    mask = np.random.default_rng(1).random((4, 5)) < 0.5
    y = Joint(Support(mask), levels)(x)
    assert not y[~mask].any()
    np.testing.assert_array_equal(y, levels(np.where(mask, x, np.float32(0))))


def test_in_a_saved_layer(tmp_path):
    constraint = Joint(Sparse(0.5), Levels(3, zero=False))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_constraint=constraint)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").layers[0].kernel_constraint
    assert again.get_config() == constraint.get_config()


def test_too_many_kept_in_clusters_are_refused(monkeypatch):
    monkeypatch.setattr(joint, "EXACT", 2)
    with pytest.raises(ValueError, match=r"up to 2 kept weights. Received: a tensor of shape \(6,\) that keeps 3."):
        Joint(keeping(3), Codebook(2))(TINY[0])


@pytest.mark.parametrize(
    "parts, error, sentence",
    [
        ((Sparse(0.5, "block(1,2)"), Levels(4)), ValueError, "single weights only.*Received: structure='block"),
        ((Sparse(structure="2:4"), Codebook(4)), ValueError, "single weights only.*Received: structure='2:4'"),
        ((Sparse(0.5), Levels(4, scope="channel")), ValueError, "one scale or codebook only.*Received: scope='ch"),
        ((Sparse(0.5), Codebook(4, scope="channel")), ValueError, "one scale or codebook only.*Received: scope"),
        ((Sparse(0.5), Binary()), ValueError, "must stay 0. Received: a set that moves zeros, Binary"),
        ((Support([True]), Codebook(4, keep_zeros=False)), ValueError, "moves zeros, Codebook"),
        ((Levels(4), Sparse(0.5)), TypeError, "`sparse` must be a Sparse or a Support"),
        ((Sparse(0.5), Sparse(0.5)), TypeError, "`levels` must be a Levels, Binary"),
        ((0.5, Levels(4)), TypeError, "Received: sparse=0.5"),
    ],
)
def test_what_is_not_proved_is_refused(parts, error, sentence):
    with pytest.raises(error, match=sentence):
        Joint(*parts)
