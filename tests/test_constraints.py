"""The laws of every set: one row a set, every row gets every law."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm.constraints import Binary, Codebook, Joint, Levels, LowRank, PowersOfTwo, Sparse, Support, Ternary
from keras_admm.constraints.projection import largest

pytestmark = pytest.mark.every_backend

MASK = np.array([[True, False, True], [False, True, True]])


def on(*level_grid):
    """Whether a tensor is a scale times levels of the grid, to the last bit."""

    def member(y):
        a = np.abs(y[y != 0]).astype("float64")
        return not a.size or any(np.isin(a * level / a.max(), level_grid).all() for level in level_grid)

    return member


def few(size):
    return lambda y: np.unique(y[y != 0]).size <= size


def of_rank_one(y):
    """Whether a matrix is of rank 1 but for the rounding of its numbers."""
    values = np.linalg.svd(y.astype("float64"), compute_uv=False)
    return np.linalg.norm(values[1:]) <= 2.0**-23.9 * np.linalg.norm(values) + 2.0**-148


def each_channel(member):
    return lambda y: all(member(channel) for channel in y.T)


# a set; whether a tensor of shape (2, 3) is in it
SPARSE = {
    "half": (Sparse(0.5), lambda y: np.count_nonzero(y) <= 3),
    "one kept": (Sparse(0.9), lambda y: np.count_nonzero(y) <= 1),
    "none kept": (Sparse(0.99), lambda y: np.count_nonzero(y) == 0),
    "all kept": (Sparse(0.0), lambda y: True),
    "support": (Support(MASK), lambda y: not y[~MASK].any()),
    "blocks": (Sparse(0.5, "block(3,1)"), lambda y: np.count_nonzero(y.any(axis=1)) <= 1),
    "partial blocks": (Sparse(0.5, "block(2,2)"), lambda y: not (y[:, :2].any() and y[:, 2].any())),
    "blocks larger than the kernel": (Sparse(0.4, "block(5,7)"), lambda y: True),
    "input blocks": (Sparse(0.6, "block(1,2)"), lambda y: np.count_nonzero(y.any(axis=0)) <= 1),
    "filters": (Sparse(0.4, "filter"), lambda y: np.count_nonzero(y.any(axis=0)) <= 2),
    "rows": (Sparse(0.6, "row"), lambda y: np.count_nonzero(y.any(axis=0)) <= 1),
    "columns": (Sparse(0.5, "column"), lambda y: np.count_nonzero(y.any(axis=1)) <= 1),
    "one of two zero": (Sparse(structure="1:2"), lambda y: (np.count_nonzero(y, axis=0) <= 1).all()),
}
SETS = SPARSE | {
    "levels": (Levels(3), on(1, 2, 3)),
    "levels without 0": (Levels(2, zero=False), on(1, 2)),
    "levels, channels": (Levels(2, zero=False, scope="channel"), each_channel(on(1, 2))),
    "many levels": (Levels(9), on(*range(1, 256))),
    "anchored levels": (Levels(8, fit="max"), on(*range(1, 128))),
    "anchored levels, channels": (Levels(4, scope="channel", fit="max"), each_channel(on(*range(1, 8)))),
    "binary": (Binary(keep_zeros=True), on(1)),
    "binary, channels": (Binary("channel", keep_zeros=True), each_channel(on(1))),
    "ternary": (Ternary(), on(1)),
    "powers of two": (PowersOfTwo(3), on(1, 2, 4)),
    "powers of two without 0": (PowersOfTwo(3, zero=False), on(1, 2, 4, 8)),
    "codebook": (Codebook(2), few(2)),
    "codebook, channels": (
        Codebook(2, keep_zeros=False, scope="channel"),
        each_channel(lambda y: np.unique(y).size <= 2),
    ),
    "codebook with 0": (Codebook(2, zero=True), few(1)),
    "codebook with 0, channels": (Codebook(3, zero=True, scope="channel"), each_channel(few(2))),
    "all in one cluster each": (Codebook(6), few(6)),
    "sparse levels": (Joint(Sparse(0.5), Levels(3)), lambda y: np.count_nonzero(y) <= 3 and on(1, 2, 3)(y)),
    "one of two zero, levels": (
        Joint(Sparse(structure="1:2"), Levels(3)),
        lambda y: (np.count_nonzero(y, axis=0) <= 1).all() and on(1, 2, 3)(y),
    ),
    "no cluster": (Joint(Sparse(0.99), Codebook(2)), lambda y: not y.any()),
    "low rank": (LowRank(1), of_rank_one),
    "full rank": (LowRank(2), lambda y: True),
    "low rank, rows by hand": (LowRank(1, scheme=(1,)), of_rank_one),
    "supported levels": (Joint(Support(MASK), Levels(3)), lambda y: not y[~MASK].any() and on(1, 2, 3)(y)),
}
TENSORS = {
    "random": np.random.default_rng(0).normal(size=(2, 3)),
    "ties": np.array([[1, -1, 1], [1, 1, -1]]),
    "equal": np.full((2, 3), 0.1),
    "zeros": np.zeros((2, 3)),
    "tiny": np.array([[1e-30, 2e-30, -3e-30], [1e-38, 1e-40, 0]]),
    "huge": np.array([[1e30, -2e30, 3e38], [1, 2, 3]]),
}
WAYS = {"numpy": lambda x: x, "tensor": ops.convert_to_tensor}


def projected(constraint, x, way):
    return ops.convert_to_numpy(constraint(WAYS[way](x)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SETS)
def test_lands_in_the_set_and_stays(name, way):
    constraint, member = SETS[name]
    for tensor, x in TENSORS.items():
        x = x.astype("float32")
        y = projected(constraint, x, way)
        assert y.shape == x.shape and y.dtype == x.dtype
        assert member(y) and np.isfinite(y).all(), tensor
        np.testing.assert_array_equal(projected(constraint, y, way), y, err_msg=tensor)
        np.testing.assert_array_equal(projected(constraint, -x, way), -y, err_msg=tensor)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SETS)
def test_units_do_not_matter(name, way):
    """The member nearest to `c x` is `c` times the one nearest to `x`, to the edges of what a float32 can hold."""
    x = TENSORS["random"].astype("float32") / np.float32(np.abs(TENSORS["random"]).max())
    y = projected(SETS[name][0], x, way)
    for power in range(-38, 39, 4):
        c = np.float32(10.0**power)
        np.testing.assert_allclose(projected(SETS[name][0], c * x, way), c * y, rtol=2e-5, atol=3e-45, err_msg=c)


@pytest.mark.parametrize("name", SPARSE)
def test_no_member_is_nearer(name):
    """By brute force over every support: the nearest member on a support is the tensor there, 0 elsewhere."""
    constraint, member = SPARSE[name]
    x = TENSORS["random"]
    on_supports = (np.where(np.reshape(s, (2, 3)), x, 0) for s in itertools.product([False, True], repeat=6))
    nearest = min((y for y in on_supports if member(y)), key=lambda y: np.linalg.norm(y - x))
    np.testing.assert_allclose(projected(constraint, x.astype("float32"), "tensor"), nearest, rtol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_the_host_and_the_device_agree(name):
    for tensor, x in TENSORS.items():
        host, device = (projected(SETS[name][0], x.astype("float32"), way) for way in WAYS)
        np.testing.assert_array_equal(host, device, err_msg=tensor)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_exactly_k_stay_of_n(size, way):
    x = np.random.default_rng(size).integers(-3, 4, size).astype("float32") + 10  # many ties, no zeros
    for k in sorted({0, 1, size // 3, size - 1, size}):
        if k:
            assert np.count_nonzero(projected(Sparse(1 - k / size), x, way)) == k


def test_ties_in_large_arrays_go_from_the_end():
    """Longer than the pieces in which an array on the host is gone through."""
    x = np.tile(np.array([1, -2, 2, 3], "float32"), 50_000)
    y = Sparse(0.5)(x)
    expected = np.where(np.abs(x) == 3, x, 0)
    places = np.flatnonzero(np.abs(x) == 2)[:50_000]
    expected[places] = x[places]
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.asarray(Sparse(0.5)(x.astype("float64"))), expected)


@pytest.mark.parametrize("way", WAYS)
def test_between_equals_the_lower_index_stays(way):
    x = np.array([2, -1, 3, 1, 1], "float32")
    assert projected(Sparse(0.4), x, way).tolist() == [2, -1, 3, 0, 0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_stay(dtype):
    x = ops.cast(np.array([0.5, -2.0, 1.0, 0.25]), dtype)
    y = Sparse(0.5)(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert ops.convert_to_numpy(ops.cast(y, "float32")).tolist() == [0, -2, 1, 0]


def test_infinities_do_not_turn_into_nan():
    x = np.array([np.inf, 1.0], "float32")
    for way in WAYS:
        assert projected(Support([False, True]), x, way).tolist() == [0, 1]


@pytest.mark.parametrize("way", WAYS)
def test_groups_compete_inside_their_pool(way):
    """2 pools of 3 groups of 2 members, norms by hand: 5, 1.41, 2 and 0, 3, 3."""
    x = np.array([[[3, 4], [1, 1], [2, 0]], [[0, 0], [3, 0], [0, -3]]], "float32")
    kept = ops.convert_to_numpy(largest(WAYS[way](x), 1))
    assert kept.tolist() == [[True, False, False], [False, True, False]]
    kept = ops.convert_to_numpy(largest(WAYS[way](x), 2))
    assert kept.tolist() == [[True, False, True], [False, True, True]]
    assert ops.convert_to_numpy(largest(WAYS[way](x), 0)).tolist() == [[False] * 3] * 2
    assert ops.convert_to_numpy(largest(WAYS[way](x), 3)).tolist() == [[True] * 3] * 2


@pytest.mark.parametrize("way", WAYS)
def test_small_groups_do_not_vanish(way):
    x = np.array([[[1e-30, 1e-30], [2e-30, 0], [0, 0]]], "float32")
    assert ops.convert_to_numpy(largest(WAYS[way](x), 1)).tolist() == [[False, True, False]]


@pytest.mark.parametrize("name", SETS)
def test_config_round_trip(name):
    constraint = SETS[name][0]
    config = keras.constraints.serialize(constraint)
    again = keras.constraints.deserialize(config)
    assert keras.constraints.serialize(again) == config
    x = TENSORS["random"].astype("float32")
    np.testing.assert_array_equal(constraint(x), again(x))


RISING = np.arange(1, 37, dtype="float32")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "structure, shape, kept",
    [
        # kernels are (..., inputs, outputs); the largest block holds the last weight
        ("block(1,4)", (4, 6), lambda y: y[:, 5]),
        ("block(2,2)", (4, 6), lambda y: y[2:, 4:]),
        ("block(3,1)", (4, 6), lambda y: y[3, 3:]),
        ("block(3,2)", (3, 2, 6), lambda y: y[2, :, 3:]),
    ],
)
def test_blocks_are_of_outputs_by_inputs(structure, shape, kept, way):
    x = RISING[: math.prod(shape)].reshape(shape)
    y = projected(Sparse(0.9, structure), x, way)
    np.testing.assert_array_equal(kept(y), kept(x))
    assert np.count_nonzero(y) == kept(x).size


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "structure, shape, parts",
    [
        # how the last two axes, inputs and outputs, are parted
        ("block(1,4)", (6, 3), ([4, 2], [1, 1, 1])),
        ("block(4,2)", (3, 3, 5, 9), ([2, 2, 1], [4, 4, 1])),
        ("block(3,4)", (2, 3, 1), ([3], [1])),
    ],
)
def test_blocks_at_the_ends_have_fewer_weights(structure, shape, parts, way):
    """One block after the other is the largest: it stays, whole, of whatever size."""
    rest = [(slice(i, i + 1),) for i in range(math.prod(shape[:-2]))]
    cuts = [[slice(sum(p[:i]), sum(p[: i + 1])) for i in range(len(p))] for p in parts]
    for first, inputs, outputs in itertools.product(rest, *cuts):
        x = np.ones((len(rest), *shape[-2:]), "float32")
        x[(*first, inputs, outputs)] = -9
        y = projected(Sparse(1 - 1 / (len(rest) * math.prod(map(len, cuts))), structure), x.reshape(shape), way)
        np.testing.assert_array_equal(y.reshape(x.shape), np.where(x < 0, x, 0))


@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_what_a_share_of_blocks_promises(sparsity):
    x = np.random.default_rng(0).normal(size=(3, 10, 7)).astype("float32")
    y = Sparse(sparsity, "block(2,4)")(x)
    blocks = np.pad(y != 0, ((0, 0), (0, 2), (0, 1))).reshape(3, 3, 4, 4, 2).any(axis=(2, 4))
    kept = round((1 - sparsity) * 36)
    assert np.count_nonzero(blocks) == kept
    assert np.count_nonzero(y) <= kept * 8


def test_blocks_of_one_axis_get_a_sentence():
    with pytest.raises(ValueError, match=r"'block\(1,4\)' needs two axes.* Received: .* shape \(4,\). Exclude"):
        Sparse(0.5, "block(1,4)")(np.ones(4))


@pytest.mark.parametrize("structure", ["block(0,4)", "block(1)", "filters", None])
def test_an_unknown_structure_gets_a_sentence(structure):
    with pytest.raises(ValueError, match="must be 'element', 'filter', .*'block"):
        Sparse(0.5, structure)


def test_as_a_kernel_constraint():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, kernel_constraint=Sparse(0.75))])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 5)), verbose=0)
    assert np.count_nonzero(ops.convert_to_numpy(model.layers[0].kernel)) == 5


def test_a_mask_of_another_shape_gets_a_sentence():
    with pytest.raises(ValueError, match=r"must have the shape of the tensor, \(3,\). Received: .*\(2,\). Make"):
        Support([True, False])(np.ones(3))
