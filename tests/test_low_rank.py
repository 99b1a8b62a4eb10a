"""Low rank: the set, which ranks a budget chooses, and the callbacks that train to it."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

import keras_admm as ka
from keras_admm.constraints import LowRank
from keras_admm.structure.ranks import choice, within

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


def trp_by_hand(w, x, y, energy, period, nuclear, rate, batch, together):
    """The alternation of the paper in NumPy, on a linear model under the mean squared error."""

    def truncated(w):
        left, values, right = np.linalg.svd(w, full_matrices=False)
        shares = np.cumsum(values**2) / np.sum(values**2)
        rank = int(np.argmax(shares >= energy)) + 1
        return (left[:, :rank] * values[:rank]) @ right[:rank], left[:, :rank] @ right[:rank]

    for step in range(len(x) // batch):
        if step % period == 0:
            w, direction = truncated(w)
        pull = nuclear * direction if step % period < together else 0.0  # several steps in one call have it alike
        part = slice(step * batch, (step + 1) * batch)
        gradient = 2 * x[part].T @ (x[part] @ w - y[part]) / y[part].size
        w = w - rate * (gradient + pull)
    return truncated(w)[0]


@pytest.mark.every_backend
@pytest.mark.parametrize("period, together", [(1, 1), (2, 1), (3, 1), (4, 2)])
def test_trp_is_the_alternation_of_the_paper(period, together):
    if together > 1 and keras.backend.backend() == "torch":
        pytest.skip("Keras takes one step at a time on torch")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)).astype("float32"), rng.normal(size=(32, 5)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, use_bias=False, name="d")])
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=together)
    w = rng.normal(size=(6, 5))
    model.set_weights([w])
    trp = ka.TRP(energy=0.8, period=period, nuclear=0.3)
    history = model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[trp]).history
    kernel = ops.convert_to_numpy(model.layers[0].kernel)
    np.testing.assert_allclose(kernel, trp_by_hand(w, x, y, 0.8, period, 0.3, 0.1, 4, together), atol=2e-5)
    assert np.linalg.matrix_rank(kernel, tol=1e-5) < 5 and 0 < history["rank_share"][-1] < 1


def test_trp_leaves_nothing_behind():
    model = small()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
    with pytest.raises(RuntimeError, match="stop"):
        stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / 0 if batch else None)
        try:
            model.fit(x, x[:, :5], batch_size=2, verbose=0, callbacks=[ka.TRP(energy=0.5), stop])
        except ZeroDivisionError as error:
            raise RuntimeError("stop") from error
    other = small()
    other.set_weights(model.get_weights())
    other.compile("sgd", "mse")
    for each in (model, other):
        each.fit(x, x[:, :5], batch_size=2, shuffle=False, verbose=0)
    for w, v in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(w, v, atol=1e-6)


def blocks():
    x = keras.Input((8, 8, 4))
    y = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="first")(x)
    y = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="second")(y)
    return keras.Model(x, keras.layers.Dense(5, name="head")(keras.layers.GlobalAveragePooling2D()(y)))


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "how",
    [{"rank": 3}, {"energy": 0.6}, {"budget": {"macs": 0.5}, "scheme": "spatial"}],
    ids=["rank", "energy", "budget"],
)
def test_admm_leaves_a_model_that_factorizes(how):
    model = blocks()
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8, 8, 4)).astype("float32"), rng.normal(size=(16, 5)).astype("float32")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[ka.ADMMLowRank(**how)])
    small = ka.factorize(model, verbose=0)
    assert len(small.layers) > len(model.layers)
    outputs = [ops.convert_to_numpy(each(x)) for each in (model, small)]
    np.testing.assert_allclose(*outputs, atol=1e-4)
    if "budget" in how:
        share = ka.report(small).total.macs / ka.report(model).total.macs
        assert 0.45 < share <= 0.5  # a single rank of a kernel is 4% of this small model


def test_what_does_not_come_apart_is_said_before_training():
    x = keras.Input((6, 6, 4))
    y = keras.layers.Conv2D(8, 3, name="conv")(keras.layers.DepthwiseConv2D(3, name="depthwise")(x))
    model = keras.Model(x, y)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"ADMMLowRank: kernels must be of layers .* depthwise/kernel \(a Depthwise"):
        model.fit(np.ones((4, 6, 6, 4)), np.ones((4, 2, 2, 8)), epochs=1, verbose=0, callbacks=[ka.ADMMLowRank(2)])


def test_a_rank_above_the_full_one_names_the_kernel():
    model = small()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="the full rank of each kernel. Received: rank=6, above .*/b/kernel, 5"):
        model.fit(np.ones((4, 8)), np.ones((4, 5)), epochs=1, verbose=0, callbacks=[ka.ADMMLowRank(6)])


def test_open_sizes_have_no_budget_in_macs():
    model = keras.Sequential([keras.Input((None, 8)), keras.layers.Dense(8, name="d")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="inputs have known sizes. Received: .* Build it with fixed ones"):
        model.fit(np.ones((4, 3, 8)), np.ones((4, 3, 8)), verbose=0, callbacks=[ka.ADMMLowRank(budget={"macs": 0.5})])


class Unknown(keras.layers.Layer):
    """Nobody knows how often it uses its kernel."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 8))

    def call(self, x):
        return x @ self.w


def test_a_budget_in_macs_says_which_kernels_it_does_not_count():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), Unknown(name="own")])
    model.compile("sgd", "mse")
    low_rank = ka.ADMMLowRank(budget={"macs": 0.5}, layers="dense*")
    with pytest.warns(UserWarning, match="the MACs of each kernel .* Received: .*own/.* without"):
        model.fit(np.ones((4, 8)), np.ones((4, 8)), verbose=0, callbacks=[low_rank])


def test_ranks_of_a_budget_are_the_best_there_are():
    """Against all ranks of three kernels, one by one."""
    rng = np.random.default_rng(0)
    squares = [np.sort(rng.exponential(size=n) ** 3)[::-1] for n in (5, 6, 7)]
    choices = [choice(each, cost, whole) for each, cost, whole in zip(squares, (3, 5, 2), (13, 25, 13), strict=True)]
    every = list(itertools.product(*(range(len(each.ranks)) for each in choices)))

    def total(chosen, what):
        return sum(getattr(each, what)[i] for each, i in zip(choices, chosen, strict=True))

    for budget in range(10, 52):
        chosen = within(choices, budget)
        best = min(total(each, "losses") for each in every if total(each, "costs") <= budget)
        assert total(chosen, "costs") <= budget
        assert total(chosen, "losses") <= best + 0.35
    assert within(choices, 51) == [len(each.ranks) - 1 for each in choices]


@pytest.mark.every_backend
@pytest.mark.parametrize("penalty", [ka.penalties.GradientPenalty, ka.penalties.ProximalPenalty])
def test_what_is_of_low_rank_trains_freely(penalty):
    """One step with a loss that is 0: of a kernel diag(3, 1) of rank 1 to be, 1 is pulled to 0, and 3 is left alone."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    model.set_weights([np.diag([3.0, 1.0])])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    rule = penalty(rho=0.25, rho_growth=1.0, penalize_kept=False)
    engine = ka.Engine(
        model, ka.Plan(steps=[ka.Step(target=LowRank(1), admm_epochs=1, retrain_epochs=1)], penalty=rule)
    )
    engine.begin()
    model.layers[0].kernel.assign(np.diag([5.0, 1.0]))  # as a step of training would move what is kept
    model.optimizer.apply([ops.zeros((2, 2))], [model.layers[0].kernel])
    engine.release()
    left = {"GradientPenalty": 0.75, "ProximalPenalty": 0.8}[penalty.__name__]
    np.testing.assert_allclose(ops.convert_to_numpy(model.layers[0].kernel), np.diag([5.0, left]), atol=1e-6)


@pytest.mark.parametrize("path, shares", [("constant", [0.5, 0.5, 0.5]), ("cubic", [1.0, 0.5625, 0.5])])
def test_a_budget_tightens_on_its_path(path, shares):
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="a"), keras.layers.Dense(64, name="b")])
    kernels = {layer.name: layer.kernel for layer in model.layers}
    target = ka.LowRankTarget(budget={"macs": 0.5}, path=path).of(model, kernels)
    arrays = {name: rng.normal(size=(64, 64)) for name in kernels}
    for fraction, share in zip([0.0, 0.5, 1.0], shares, strict=True):
        ranks = [each.rank for each in target.sets(arrays, fraction).values()]
        macs = sum(64 * 64 if rank == 64 else 128 * rank for rank in ranks)
        assert share - 0.02 < macs / (2 * 64 * 64) <= share
