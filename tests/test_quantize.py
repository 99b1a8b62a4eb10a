"""Weights trained onto levels and into clusters, in one fit, on every backend."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
from cases import EAGERLY, some
from keras import layers

import keras_admm as ka
from keras_admm import attach, weights
from keras_admm.attach import PRUNED, sweeps
from keras_admm.constraints import Binary, Codebook, Levels, PowersOfTwo, Sparse, Ternary
from keras_admm.plan import Plan, Step
from keras_admm.retraining import clusters, multiples, value_table

pytestmark = pytest.mark.every_backend

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 8)).astype("float32"), RNG.normal(size=(32, 3)).astype("float32")

PULL = ka.penalties.GradientPenalty(rho=0.1)
PROXIMAL = ka.penalties.ProximalPenalty(rho=0.05)


def net(**how):
    hidden = [layers.Dense(16, activation="relu"), layers.Dense(12, activation="relu")]
    model = keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.01), "mse", **{"jit_compile": False, **EAGERLY, **how})
    return model


def fit(model, callback, epochs=8, *others):
    return model.fit(X, Y, epochs=epochs, batch_size=16, verbose=0, callbacks=[callback, *others]).history


def kernels(model):
    return [weights.read(v) for v in weights.select(model).values()]


TO_THE_END = ka.retraining.StraightThrough(settle=0)
WITH_ZERO = attach.StraightThroughValuesAndZero
BY_CHANNEL = Codebook(2, keep_zeros=False, scope="channel")
# a callback; the set of each kernel, or None where it is left alone
RUNS = {
    "3 bits": (lambda: ka.ADMMQuantize(3, penalty=PULL), [Levels(3)] * 3),
    "3 bits, the outer ones last": (lambda: ka.ADMMQuantize(3, penalty=PULL, first_last="last"), [Levels(3)] * 3),
    "binary": (lambda: ka.ADMMQuantize(levels="binary"), [Binary()] * 3),
    "ternary, skip": (lambda: ka.ADMMQuantize(levels="ternary", first_last="skip"), [None, Ternary(), None]),
    "powers": (lambda: ka.ADMMQuantize(3, levels="power_of_two", first_last="same"), [PowersOfTwo(3)] * 3),
    "channels": (lambda: ka.ADMMQuantize(3, scope="channel", first_last="same"), [Levels(3, scope="channel")] * 3),
    "integer grid": (lambda: ka.ADMMQuantize(4, fit="max", first_last="same"), [Levels(4, fit="max")] * 3),
    "clusters": (lambda: ka.ADMMCluster(5), [Codebook(5, keep_zeros=False)] * 3),
    "clusters, the outer ones last": (
        lambda: ka.ADMMCluster(5, first_last="last"),
        [Codebook(5, keep_zeros=False)] * 3,
    ),
    "clusters, channels": (lambda: ka.ADMMCluster(2, scope="channel"), [BY_CHANNEL] * 3),
    "clusters, 0": (lambda: ka.ADMMCluster(4, zero=True), [Codebook(4, zero=True)] * 3),
    "clusters, 0, channels": (
        lambda: ka.ADMMCluster(3, zero=True, scope="channel"),
        [Codebook(3, zero=True, scope="channel")] * 3,
    ),
    "shared values, 0": (
        lambda: ka.ADMMCluster(4, zero=True, retraining="shared_values"),
        [Codebook(4, zero=True)] * 3,
    ),
    "snap": (lambda: ka.ADMMQuantize(3, retraining="snap"), [Levels(3)] * 3),
    "proximal": (
        lambda: ka.ADMMCluster(5, penalty=ka.penalties.ProximalPenalty(rho=0.05)),
        [Codebook(5, keep_zeros=False)] * 3,
    ),
    "at once": (lambda: ka.ADMMCluster(5, retraining=ka.retraining.Snap((1.0,))), [Codebook(5, keep_zeros=False)] * 3),
    "no retraining": (lambda: ka.ADMMQuantize(3, retrain_epochs=0), [Levels(3)] * 3),
    "scales": (lambda: ka.ADMMQuantize(levels="binary", retraining="shared_values"), [Binary()] * 3),
    "scales, channels": (
        lambda: ka.ADMMQuantize(3, scope="channel", first_last="same", retraining="shared_values"),
        [Levels(3, scope="channel")] * 3,
    ),
    "shared_values": (lambda: ka.ADMMCluster(5, retraining="shared_values"), [Codebook(5, keep_zeros=False)] * 3),
    "shared values, channels": (
        lambda: ka.ADMMCluster(2, scope="channel", first_last="same", retraining="shared_values"),
        [BY_CHANNEL] * 3,
    ),
    "snap, channels": (lambda: ka.ADMMCluster(2, scope="channel", retraining="snap"), [BY_CHANNEL] * 3),
}


COMPILED = ("3 bits", "clusters", "snap", "scales, channels", "shared values, channels")  # and on every backend


@pytest.mark.parametrize("run", some(RUNS, *COMPILED))
def test_every_weight_ends_in_its_place(run):
    make, sets = RUNS[run]
    model = net(**({"run_eagerly": False} if run in COMPILED else {}))
    fit(model, make())
    for w, constraint in zip(kernels(model), sets, strict=True):
        if constraint is None:
            assert len(np.unique(w)) == w.size
        else:
            np.testing.assert_array_equal(np.asarray(constraint(w)), w)


def test_one_fit_prunes_then_quantizes():
    model = net()
    history = fit(model, ka.ADMM([Sparse(0.75), Levels(2, zero=False)], penalty=PULL), 12)
    for w in kernels(model):
        assert np.count_nonzero(w) == round(0.25 * w.size)
        assert len(np.unique(np.abs(w))) <= 3
    assert history["admm_step"][0] == 1 and history["admm_step"][-1] == 2


@pytest.mark.parametrize(
    "second, retraining",
    [
        ("bits", "snap"),
        ("ternary", "straight_through"),
        ("clusters", "straight_through"),
        ("clusters", "shared_values"),
        ("clusters with 0", "straight_through"),
        ("clusters with 0", "shared_values"),
    ],
)
def test_zeros_of_an_earlier_fit_stay(second, retraining):
    model = net()
    fit(model, ka.ADMMPrune(0.8), 2)
    before = [w != 0 for w in kernels(model)]
    how = {"retraining": retraining, "first_last": "same"}
    if "clusters" in second:
        callback = ka.ADMMCluster(3, zero="0" in second, **how)
    else:
        callback = ka.ADMMQuantize(2, **how) if second == "bits" else ka.ADMMQuantize(levels="ternary", **how)
    fit(model, callback, 5)
    for w, kept in zip(kernels(model), before, strict=True):
        assert not w[~kept].any() and (second in ("ternary", "clusters with 0") or w[kept].all())
        assert len(np.unique(w)) <= (3 if "clusters" in second else 5)


def test_biases_by_choice():
    model = net()
    fit(model, ka.ADMM([Sparse(0.5), Levels(2, zero=False)], biases=True), 8)
    for w in map(weights.read, model.trainable_variables):
        assert np.count_nonzero(w) == round(0.5 * w.size) and len(np.unique(np.abs(w[w != 0]))) <= 2
    model = net()
    fit(model, ka.ADMM([{"*kernel": Levels(2), "*bias": Levels(4)}], biases=True))
    for v in model.trainable_variables:
        assert len(np.unique(weights.read(v))) <= (3 if "kernel" in v.path else 15)


@pytest.mark.parametrize("make", [lambda **how: ka.ADMMQuantize(3, **how), lambda **how: ka.ADMMCluster(4, **how)])
def test_first_and_last_layer_come_with_the_others_or_after_them(make):
    names = ["a/kernel", "b/kernel", "c/kernel"]
    takes = [[step.target.takes(names) for step in make(**how).plan.steps] for how in ({}, {"first_last": "last"})]
    assert takes == [[names], [names[1:2], names[::2]]]


def test_biases_go_with_their_layer():
    model = net()
    callback = ka.ADMMQuantize(2, first_last="skip", biases=True)
    fit(model, callback)
    assert [len(np.unique(weights.read(v))) <= 3 for v in model.layers[1].trainable_variables] == [True, True]
    assert len(np.unique(weights.read(model.layers[0].bias))) > 3


class Watch(keras.callbacks.Callback):
    """The kernels after every batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(kernels(self.model))


def test_what_is_in_its_place_stays_there_while_the_rest_trains():
    """Of 4 epochs of retraining the shares are a half, three quarters, nine tenths and all; the biases go on."""
    model, watch = net(), Watch()
    callback = ka.ADMMQuantize(3, first_last="same", admm_epochs=1, retrain_epochs=4, retraining="snap")
    fit(model, callback, 5, watch)
    for epoch, share in enumerate(callback.plan.steps[-1].retraining.fractions):
        first, second = watch.seen[2 + 2 * epoch : 4 + 2 * epoch]
        still = sum(np.count_nonzero(a == b) for a, b in zip(first, second, strict=True))
        size = sum(a.size for a in first)
        assert share * size - 3 <= still < (share + 0.1) * size or share == 1 and still == size


def test_shares_by_hand():
    snap = ka.retraining.Snap((0.5, 0.75, 1.0))
    assert [snap.share(e, 6) for e in range(7)] == [0.5, 0.5, 0.75, 0.75, 1.0, 1.0, 1.0]
    assert [snap.share(e, 2) for e in range(3)] == [0.5, 0.75, 1.0]
    assert snap.share(0, 0) == 1.0


@pytest.mark.filterwarnings("ignore:.*must pass its last projection:UserWarning")
@pytest.mark.parametrize("retraining", some(["snap", "straight_through", "shared_values"], "straight_through"))
def test_a_state_goes_on_where_it_was(tmp_path, retraining):
    """Also between two shares."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 5:
                raise InterruptedError

    def run(*others):
        keras.backend.clear_session()  # so that names begin anew, as in a new process
        keras.utils.set_random_seed(0)
        model = net()
        backup = tmp_path if others else None
        how = {"first_last": "same", "admm_epochs": 3, "retraining": retraining}
        callback = ka.ADMMQuantize(3, backup_dir=backup, **how)
        model.fit(X, Y, epochs=9, batch_size=16, shuffle=False, verbose=0, callbacks=[callback, *others])
        return kernels(model)

    whole = run()
    with pytest.raises(InterruptedError):
        run(Stop())
    resumed = run(keras.callbacks.Callback())
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("retraining, last", [("snap", 4), ("straight_through", 2)])
def test_a_run_that_is_stopped_early_says_so_and_can_be_projected(retraining, last):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == last

    model, callback = net(), ka.ADMMQuantize(2, first_last="same", admm_epochs=4, retraining=retraining)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, callback, 12, Enough())
    assert any("must pass its last projection" in str(w.message) for w in caught)
    callback.engine.project()
    for w in kernels(model):
        assert len(np.unique(w)) <= 3


def descended(model, callback, epochs, rate=0.1):
    """The kernels after batches of plain gradient descent on the whole of the data."""
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile=False)
    model.fit(X, Y, epochs=epochs, batch_size=len(X), shuffle=False, verbose=0, callbacks=[callback])
    return kernels(model)


def linear():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3, use_bias=False)])
    model.layers[0].kernel.assign(RNG.normal(size=(8, 3)).astype("float32"))
    return model


def gradient(w):
    """Of the mean squared error of `X @ w`."""
    return 2 * X.T @ (X @ w - Y) / Y.size


def at_once(cls, *args, **kwargs):
    return cls(*args, first_last="same", penalty=ka.penalties.GradientPenalty(rho=0.0), admm_epochs=1, **kwargs)


def test_straight_through_by_hand():
    """Each update goes to the weights behind, at the gradient of those in front; the scale follows at every step."""
    model = linear()
    behind = kernels(model)[0] - 0.1 * gradient(kernels(model)[0])
    near = Levels(2)(behind)
    for _ in range(2):
        behind = behind - 0.1 * gradient(near)
        signs = np.sign(behind) * (np.abs(behind) > np.abs(near).max() / 2)
        near = (behind * signs).sum() / (signs**2).sum() * signs
    after = descended(model, at_once(ka.ADMMQuantize, 2, retraining=TO_THE_END), 3)[0]
    np.testing.assert_allclose(after, near, rtol=1e-5)


@pytest.mark.parametrize("settle, last", [(0.2, 1), (0.5, 2)])
def test_straight_through_settles_by_hand(settle, last):
    """In the last of 4 epochs each weight stays on its level, and the scale goes down its gradient."""
    model = linear()
    behind = kernels(model)[0] - 0.1 * gradient(kernels(model)[0])
    near = Levels(2)(behind)
    for _ in range(4 - last):
        behind = behind - 0.1 * gradient(near)
        signs = np.sign(behind) * (np.abs(behind) > np.abs(near).max() / 2)
        near = (behind * signs).sum() / (signs**2).sum() * signs
    for _ in range(last):
        near = near - 0.1 * (gradient(near) * near).sum() / (near**2).sum() * near
    retraining = ka.retraining.StraightThrough(settle=settle)
    after = descended(model, at_once(ka.ADMMQuantize, 2, retraining=retraining), 5)[0]
    np.testing.assert_allclose(after, near, rtol=1e-5)


def columns(w, scope):
    """Where the weights of each codebook are."""
    return [(slice(None), [i]) for i in range(w.shape[1])] if scope == "channel" else [slice(None)]


@pytest.mark.parametrize("scope", ["tensor", "channel"])
def test_straight_through_with_clusters_by_hand(scope):
    model = linear()
    behind = kernels(model)[0] - 0.1 * gradient(kernels(model)[0])
    near = Codebook(3, keep_zeros=False, scope=scope)(behind)
    behind, wanted = behind - 0.1 * gradient(near), np.empty_like(near)
    for at in columns(near, scope):
        places = np.abs(behind[at][..., None] - np.unique(near[at])).argmin(-1)
        wanted[at] = np.array([behind[at][places == k].mean() for k in range(3)])[places]
    after = descended(model, at_once(ka.ADMMCluster, 3, scope=scope, retraining=TO_THE_END), 2)[0]
    np.testing.assert_allclose(after, wanted, rtol=1e-5)


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("scope", ["tensor", "channel"])
def test_straight_through_beside_zero_by_hand(scope, pruned):
    """0 stays among the values, weights join it and leave it; but what was pruned stays there."""
    model = linear()
    start = np.random.default_rng(3).normal(size=(8, 3)).astype("float32")
    start[np.arange(3) == np.arange(8)[:, None] % 3] *= not pruned
    model.layers[0].kernel.assign(start)
    held = start == 0
    behind = np.where(held, 0, start - 0.1 * gradient(start))
    near = before = Codebook(3, scope=scope, zero=True)(behind)
    places = columns(near, scope)
    values = [np.union1d(near[at], np.float32(0)) for at in places]
    for _ in range(4):
        behind = np.where(held, 0, behind - 0.6 * gradient(near))
        near = near.copy()
        for i, at in enumerate(places):
            nearest = np.abs(behind[at][..., None] - values[i]).argmin(-1)
            own = [behind[at][nearest == k] for k in range(len(values[i]))]
            moved = [v if v == 0 or not o.size else o.mean() for v, o in zip(values[i], own, strict=True)]
            values[i] = np.array(moved)
            near[at] = values[i][nearest]
    how = {"scope": scope, "zero": True, "retraining": TO_THE_END}
    after = descended(model, at_once(ka.ADMMCluster, 3, learning_rate={"retrain": 0.6}, **how), 5)[0]
    np.testing.assert_allclose(after, near, rtol=1e-4)
    assert not after[held].any() and held.any() == pruned
    assert ((before == 0) & (after != 0)).any() and ((before != 0) & (after == 0)).any()


@pytest.mark.parametrize("scope", ["tensor", "channel"])
def test_centroids_by_hand(scope):
    """A cluster's value goes down the mean of its gradients."""
    model = linear()
    before = Codebook(3, keep_zeros=False, scope=scope)(kernels(model)[0] - 0.1 * gradient(kernels(model)[0]))
    wanted = before - 0.1 * gradient(before)
    for at in columns(before, scope):
        for value in np.unique(before[at]):
            wanted[at] = np.where(before[at] == value, wanted[at][before[at] == value].mean(), wanted[at])
    after = descended(model, at_once(ka.ADMMCluster, 3, scope=scope, retraining="shared_values"), 2)[0]
    np.testing.assert_allclose(after, wanted, rtol=1e-5)


def test_scales_by_hand():
    """A scale goes down the part of its gradients that is along its multiples."""
    model = linear()
    before = Binary()(kernels(model)[0] - 0.1 * gradient(kernels(model)[0]))
    wanted = before - 0.1 * (gradient(before) * np.sign(before)).mean() * np.sign(before)
    after = descended(model, at_once(ka.ADMMQuantize, 1, retraining="shared_values"), 2)[0]
    np.testing.assert_allclose(after, wanted, rtol=1e-5)


def variable(value, dtype="float32"):
    return keras.Variable(value, dtype=dtype, trainable=False)


def ruled(kind, target, values):
    """A rule of a way of retraining, with its target and its values or shares."""
    state = attach.RuleState(
        variable(target), variable(0.0), lambda name, shape, dtype: variable(np.zeros(shape), dtype)
    )
    rule = kind(values.shape)
    state.require(rule.own_variables)
    rule = rule.bound(state, state.pull)
    (rule.set_shares if kind in SHARED else rule.set_values)(values)
    return rule


SHARED = {attach.SharedScale: multiples, attach.SharedClusters: clusters}


def stepped(kind, constraint, unit):
    """What becomes of weights that moved away from their places, in units of `unit`."""
    w = np.random.default_rng(1).normal(size=(6, 4)).astype("float32") * np.float32(unit)
    moved, z = np.roll(w, 1, axis=0) * np.float32(1.1), constraint(w)
    codes = constraint.codes(z)
    rule = ruled(kind, *(SHARED[kind](codes) if kind in SHARED else (moved - z, value_table(codes))))
    return keras.ops.convert_to_numpy(rule.after_update(variable(moved if kind in SHARED else z)))


@pytest.mark.parametrize("unit", [1e-33, 1e-20, 1e20, 1e29])
@pytest.mark.parametrize(
    "kind, constraint",
    [
        (attach.StraightThroughScale, Levels(3)),
        (attach.StraightThroughScale, Levels(3, scope="channel")),
        (attach.SharedScale, Binary()),
        (attach.SharedScale, Levels(3, scope="channel")),
        (attach.StraightThroughValues, Codebook(3)),
        (WITH_ZERO, Codebook(3, zero=True)),
        (attach.SharedClusters, Codebook(3, scope="channel")),
    ],
)
def test_units_do_not_matter(kind, constraint, unit):
    np.testing.assert_allclose(stepped(kind, constraint, unit) / np.float32(unit), stepped(kind, constraint, 1), 1e-4)


@pytest.mark.parametrize(
    "kind, constraint",
    [
        (attach.StraightThroughScale, Levels(3)),
        (attach.StraightThroughScale, Levels(3, scope="channel")),
        (attach.StraightThroughValues, Codebook(4)),
        (attach.StraightThroughValues, Codebook(3, scope="channel")),
    ],
)
def test_size_does_not_matter(kind, constraint, monkeypatch):
    """Large variables are compiled, or computed in parts."""
    small = stepped(kind, constraint, 1)
    monkeypatch.setattr(sweeps, "LARGE", 0)
    monkeypatch.setattr(sweeps, "CACHED", 1)
    np.testing.assert_allclose(stepped(kind, constraint, 1), small, rtol=1e-6)


def held_step(kind, w, target, values):
    """Weights, target and values after a step."""
    rule = ruled(kind, target, values)
    return [keras.ops.convert_to_numpy(v) for v in (rule.after_update(variable(w)), *rule.assigned[:2])]


@pytest.mark.parametrize("size", [3, 4, 100])
@pytest.mark.parametrize("kind", [attach.StraightThroughScale, attach.StraightThroughValues, WITH_ZERO])
def test_held_weights_are_no_part_of_the_values(kind, size):
    """With as many values as a power of two, and fewer; with so few that they are compared, and more."""
    z = np.tile(np.linspace(-1, 2, size, dtype="float32"), 4).reshape(-1, 2)
    behind, held = 1.01 * z, np.arange(len(z))[:, None] % 2 == [0]
    values = value_table(Codebook(size, keep_zeros=False).codes(z))
    alone = held_step(kind, z[1::2], (behind - z)[1::2], values)
    among = held_step(kind, z, np.where(held, PRUNED, behind - z), values)
    for one, other in zip(alone, (among[0][1::2], among[1][1::2], among[2]), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    assert np.all(among[0][::2] == 0) and np.all(among[1][::2] == PRUNED)


BAD = {
    "bits": (lambda: ka.ADMMQuantize(17), ValueError, "`bits` must be an integer from 1 to 16"),
    "a float of bits": (lambda: ka.ADMMQuantize(3.0), TypeError, "`bits` must be an integer"),
    "no bits": (lambda: ka.ADMMQuantize(), TypeError, "`bits` must be an integer"),
    "levels": (lambda: ka.ADMMQuantize(levels="septenary"), ValueError, "`levels` must be one of None, 'binary'"),
    "bits that are not used": (
        lambda: ka.ADMMQuantize(3, levels="binary"),
        ValueError,
        "Received: bits=3, fit=.* Leave",
    ),
    "a fit that is not used": (lambda: ka.ADMMQuantize(1, fit="max"), ValueError, "fit='max' with it. Leave"),
    "clusters": (lambda: ka.ADMMCluster(1), ValueError, "`clusters` must be an integer from 2"),
    "a float of clusters": (lambda: ka.ADMMCluster(2.0), TypeError, "`clusters` must be an integer from 2"),
    "first_last": (lambda: ka.ADMMQuantize(3, first_last="first"), ValueError, "`first_last` must be one of"),
    "scope of clusters": (lambda: ka.ADMMCluster(2, scope="layer"), ValueError, "`scope` must be one of"),
    "snap": (lambda: ka.retraining.Snap((0.5, 0.4, 1)), ValueError, "`fractions` must be rising shares"),
    "retraining": (lambda: ka.ADMMQuantize(3, retraining="thaw"), ValueError, "`retraining` must be one of"),
    "snap without an end": (lambda: ka.retraining.Snap((0.5,)), ValueError, "the last of them 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    make, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence):
        make()


@pytest.mark.parametrize("retraining", ["straight_through", "shared_values"])
def test_a_run_that_is_stopped_while_it_retrains_is_in_the_set(retraining):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 4

    model, callback = net(), ka.ADMMQuantize(2, first_last="same", admm_epochs=4, retraining=retraining)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, callback, 12, Enough())
    assert not any("must pass its last projection" in str(w.message) for w in caught)
    for w in kernels(model):
        np.testing.assert_array_equal(np.asarray(Levels(2)(w)), w)


@pytest.mark.parametrize("units", [(3,), (6, 3)])
def test_without_a_layer_between_the_first_and_the_last_all_are_quantized_in_one_step(units):
    model = keras.Sequential([keras.Input((8,)), *map(layers.Dense, units)])
    model.compile("sgd", "mse", jit_compile=False)
    history = fit(model, ka.ADMMQuantize(3), 4)
    assert max(history["admm_step"]) == 1
    for w in kernels(model):
        np.testing.assert_array_equal(np.asarray(Levels(3)(w)), w)
    with pytest.raises(ValueError, match="Use first_last='same'"):
        fit(model, ka.ADMMQuantize(3, first_last="skip"))


@pytest.mark.parametrize("constraints", [Levels(3), [Sparse(0.5), Levels(3, zero=False)]])
def test_half_precision_cannot_hold_levels(constraints):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3, dtype="bfloat16", name="half")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="half/kernel must be .* dtype=bfloat16 and Levels.* 'mixed_bfloat16'"):
        fit(model, ka.ADMM(constraints))


def test_a_loop_with_another_optimizer_cannot_hold_levels():
    engine = ka.Engine(net(), Plan(steps=[Step(target=Levels(3), admm_epochs=1, retrain_epochs=1)]), optimizer=None)
    with pytest.raises(ValueError, match="with a keras.Optimizer"):
        engine.begin()


@pytest.mark.parametrize(
    "constraint, said", [(keras.constraints.MaxNorm(1.0), True), (Sparse(0.1), False), (None, False)]
)
def test_a_layers_own_constraint_is_told_of(constraint, said):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="a", kernel_constraint=constraint)])
    model.compile("sgd", "mse", run_eagerly=True)
    run = ka.ADMMQuantize(3, first_last="same")
    sentence = r"no constraint of its own.*Received: .*a/kernel \(MaxNorm\). The values outweigh it"
    with pytest.warns(UserWarning, match=sentence) if said else contextlib.nullcontext():
        model.fit(np.ones((4, 8)), np.ones((4, 6)), epochs=2, verbose=0, callbacks=[run])
    assert len(np.unique(np.abs(model.layers[0].kernel))) <= 4
