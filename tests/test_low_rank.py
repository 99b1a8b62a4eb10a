"""Low rank: the set, which ranks a budget chooses, and the callbacks that train to it."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_admm as ka
from keras_admm.constraints import LowRank

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 4, 5)).astype("float32")
# Of each scheme: the kernel as its matrix, written out, and back.
MATRICES = {
    "channel": (lambda w: w.reshape(36, 5), lambda m: m.reshape(3, 3, 4, 5)),
    "spatial": (
        lambda w: np.transpose(w, (0, 2, 1, 3)).reshape(12, 15),
        lambda m: np.transpose(m.reshape(3, 4, 3, 5), (0, 2, 1, 3)),
    ),
    (2,): (
        lambda w: np.transpose(w, (2, 0, 1, 3)).reshape(4, 45),
        lambda m: np.transpose(m.reshape(4, 3, 3, 5), (1, 2, 0, 3)),
    ),
}


def cut(matrix, rank):
    left, values, right = np.linalg.svd(matrix.astype("float64"), full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@pytest.mark.every_backend
@pytest.mark.parametrize("way", [lambda x: x, ops.convert_to_tensor], ids=["numpy", "tensor"])
@pytest.mark.parametrize("rank", [1, 3, 4])
@pytest.mark.parametrize("scheme", MATRICES)
def test_the_nearest_of_a_rank_is_the_truncated_svd(scheme, rank, way):
    to, back = MATRICES[scheme]
    y = ops.convert_to_numpy(LowRank(rank, scheme=scheme)(way(KERNEL)))
    np.testing.assert_allclose(y, back(cut(to(KERNEL), rank)), atol=1e-6)
    assert np.linalg.matrix_rank(to(y)) == rank


@pytest.mark.parametrize("shape", [(6, 4), (3, 6, 4)])
def test_spatial_of_fewer_than_two_places_is_channel(shape):
    x = RNG.normal(size=shape).astype("float32")
    np.testing.assert_array_equal(LowRank(2, scheme="spatial")(x), LowRank(2)(x))


# singular values 2, 1, 1, 0: of their squares 4, 1, 1
ENERGIES = [(0.5, 1), (4 / 6, 1), (0.67, 2), (5 / 6, 2), (0.84, 3), (1.0, 3)]


@pytest.mark.parametrize("energy, rank", ENERGIES)
def test_energy_is_the_share_of_squared_singular_values(energy, rank):
    x = np.diag(np.array([2.0, 1.0, 1.0, 0.0], "float32"))
    assert LowRank(energy=energy).rank_of(x) == rank
    assert np.count_nonzero(LowRank(energy=energy)(x)) == rank
    held = LowRank(energy=energy).held(x)
    assert held.rank == rank and LowRank(rank).held(x).rank == rank


def test_nothing_has_no_rank():
    zeros = np.zeros((3, 2), "float32")
    assert LowRank(energy=0.5).rank_of(zeros) == 0
    np.testing.assert_array_equal(LowRank(energy=0.5)(zeros), zeros)


@pytest.mark.every_backend
@pytest.mark.parametrize("how", [{"rank": 1}, {"energy": 0.6}])
def test_as_a_kernel_constraint_in_a_compiled_step(how):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=LowRank(**how))])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = RNG.normal(size=(8, 4)).astype("float32")
    model.fit(x, x[:, :3], verbose=0)
    kernel = ops.convert_to_numpy(model.layers[0].kernel)
    assert np.linalg.matrix_rank(kernel, tol=1e-5) == 1 if "rank" in how else LowRank(**how).rank_of(kernel) < 3


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: LowRank(4)(np.ones((8, 3))), r"at most the full one, 3 .* Received: rank=4. Lower it"),
        (lambda: LowRank(1)(np.ones(4)), r"two axes at least.* Received: a tensor of shape \(4,\)"),
        (lambda: LowRank(1, scheme=(3,))(np.ones((4, 2))), r"two axes at least.* scheme \(3,\)"),
        (lambda: LowRank(), "one of `rank` and `energy` must be given.* Received: rank=None, energy=None"),
        (lambda: LowRank(2, energy=0.5), "one of `rank` and `energy` must be given.* Received: rank=2, energy=0.5"),
    ],
)
def test_what_no_matrix_has_gets_a_sentence(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def small():
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input((8,)), dense(6, name="a"), dense(5, name="b")])


def ranks(model):
    return [int(np.linalg.matrix_rank(ops.convert_to_numpy(layer.kernel), tol=1e-5)) for layer in model.layers]


def test_a_rank_that_energy_chose_is_held_in_retraining():
    """Asked again, it would fall: of squares 70 and five times 6, 75% are two, and of these two one."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, use_bias=False)])
    model.layers[0].kernel.assign(np.diag(np.sqrt([70.0, 6, 6, 6, 6, 6])))
    step = ka.Step(target=LowRank(energy=0.75), admm_epochs=1, retrain_epochs=2)
    engine = ka.Engine(model, ka.Plan(steps=[step]), optimizer=None)
    engine.begin()
    for _ in range(3):
        engine.end_epoch()
        assert ranks(model) == [2]
    assert engine.finish() and ranks(model) == [2]
