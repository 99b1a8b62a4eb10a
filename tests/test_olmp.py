"""OLMP: splicing and thresholds by hand, their search, whole fits, evaluations that leave no trace, bad input."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_admm as ka
from keras_admm import attach, scoring, weights
from keras_admm.engine import SplicedPruning
from keras_admm.plan import SearchTarget
from keras_admm.search import NCS

BACKEND = keras.backend.backend()
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(optimizer=None, **compiled):
    layers = [keras.layers.Dense(16, "relu", name="a"), keras.layers.Dense(3, name="b")]
    model = keras.Sequential([keras.Input((8,)), *layers], name="m")
    optimizer = keras.optimizers.Adam(0.01) if optimizer is None else optimizer
    model.compile(optimizer, LOSS, metrics=["accuracy"], jit_compile=BACKEND == "jax", **compiled)
    return model


def batches(n=256):
    x = np.random.default_rng(1).normal(size=(n, 8)).astype("float32")
    return x, x[:, :3].argmax(axis=1).astype("int32")


X, Y = batches()


DENSE = {}


def trained(epochs=8):
    """A network after some epochs, which are trained once."""
    model = network()
    if epochs not in DENSE:
        model.fit(X, Y, epochs=epochs, batch_size=32, verbose=0)
        DENSE[epochs] = model.get_weights()
        model = network()
    model.set_weights(DENSE[epochs])
    return model


def olmp(delta=0.1, **how):
    return ka.OLMP(delta, **{"validation_data": (X, Y), "evaluations": 30, "verbose": 0, **how})


def values(model):
    return {v.path: weights.read(v) for v in model.trainable_variables}


def ratio(model):
    arrays = values(model).values()
    return sum(a.size for a in arrays) / sum(np.count_nonzero(a) for a in arrays)


def hold(model):
    variables = weights.select(model, biases=True)
    return attach.Hold(model, variables, attach.choose_optimizers("me", model, variables, "auto"))


# ---- splicing


@pytest.mark.every_backend
def test_a_weight_is_off_below_and_on_above_the_threshold_by_hand():
    """Threshold 1: off at 0.9 and below, back above 1.1, in between as it was; off, it is trained behind its zero."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    held = hold(model)
    (name,) = held.rules
    held.set_rules({name: attach.Spliced()})
    rule, state = held.rules[name], held.states[name]
    rule.set_threshold(1.0)

    def step(w):
        return ops.convert_to_numpy(rule.after_update(ops.convert_to_tensor(np.float32(w)[:, None])))[:, 0].tolist()

    assert step([0.899, -0.89, 0.901, 1.5, 0.0]) == [0, 0, np.float32(0.901), 1.5, 0]
    assert np.allclose(weights.view(state.target)[:, 0], [0.899, -0.89, 0, 0, 0])
    # Behind are then 1.099, still off, and -1.101; of those that were on one goes.
    assert np.allclose(step([0.2, -0.211, 0.85, 1.5, 0.0]), [0, -1.101, 0, 1.5, 0])
    assert rule.zero_mask()[:, 0].tolist() == [True, False, True, False, False]
    rule.set_threshold(None)  # held: nothing comes, nothing goes
    assert np.allclose(step([5.0, 0.01, 3.0, 0.01, 0.0]), [0, 0.01, 0, 0.01, 0])
    assert rule.zero_mask()[:, 0].tolist() == [True, False, True, False, False]
    assert rule.astray(np.float32([[1], [1], [0], [1], [0]])) == 1
    assert rule.restore(np.float32([[1], [1], [0], [1], [0]]))[:, 0].tolist() == [0, 1, 0, 1, 0]
    held.release()


@pytest.mark.every_backend
def test_a_weight_that_is_off_fades():
    """Threshold 1, a quarter with each step: 0.8 is worth 0.6 after one, and 1.16 after another that adds 0.71."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    held = hold(model)
    (name,) = held.rules
    held.set_rules({name: attach.Spliced(fade=0.25)})
    rule, state = held.rules[name], held.states[name]
    rule.set_threshold(1.0)
    for change, worth, on in ([0.8, 2.0], 0.8, 0.0), ([0.0, 2.0], 0.6, 0.0), ([0.71, 2.0], 0.0, 1.16):
        w = ops.convert_to_numpy(rule.after_update(ops.convert_to_tensor(np.float32(change)[:, None])))
        assert np.allclose(weights.view(state.target)[:, 0], [worth, 0.0]) and np.allclose(w[:, 0], [on, 2.0])
    held.release()


@pytest.mark.every_backend
def test_a_zero_is_trained_by_the_gradient_at_the_masked_weights():
    """Least squares by SGD: the off weight moves by the gradient of the network without it."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=BACKEND == "jax")
    x, y, w = np.float32([[1.0, 2.0]]), np.float32([[3.0]]), np.float32([[0.1], [2.0]])
    model.layers[0].kernel.assign(w)
    held = hold(model)
    (name,) = held.rules
    held.set_rules({name: attach.Spliced()})
    held.rules[name].set_threshold(0.5)
    held.rules[name].after_update(ops.convert_to_tensor(w))
    model.layers[0].kernel.assign([[0.0], [2.0]])
    model.fit(x, y, verbose=0)
    # The gradient at (0, 2) is 2 (4 - 3) (1, 2) = (2, 4): from (0.1, 2) to (-0.9, 0), of which the first comes back.
    assert np.allclose(weights.read(model.layers[0].kernel), [[-0.9], [0.0]])
    assert np.allclose(weights.view(held.states[name].target), 0.0)
    held.release()


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.5])
def test_masks_are_looked_at_in_a_decaying_share_of_the_steps(decay):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    held = hold(model)
    (name,) = held.rules
    held.set_rules({name: attach.Spliced(decay)})
    rule = held.rules[name]
    rule.set_threshold(1.0)
    looks = []
    for _ in range(200):
        held.states[name].target.assign([[0.0]])
        on = float(ops.convert_to_numpy(rule.after_update(ops.convert_to_tensor(np.float32([[0.5]]))))[0, 0])
        looks.append(on == 0)
    assert sum(looks) == (200 if not decay else math.ceil(math.log1p(200 * decay) / decay))
    shares = [1 / (1 + decay * n) for n in range(200)]
    assert abs(sum(looks[:50]) - sum(shares[:50])) < 2 and abs(sum(looks[150:]) - sum(shares[150:])) < 2
    held.release()


# ---- the target and its search


def target(**how):
    made = SearchTarget({"l": ["l/kernel", "l/bias"]}, **how)
    arrays = {"l/kernel": np.float32([[1, -2], [3, 0]]), "l/bias": np.float32([-2, 0])}
    return made, arrays


def sizes(arrays, off=None):
    """The magnitudes that are compared with thresholds."""
    below, above = np.float32(attach.Spliced.SCALES)
    return {n: np.abs(a) * (above if off is None else np.where(off[n], below, above)) for n, a in arrays.items()}


def test_thresholds_by_hand():
    """|w| that are not zero: 1, 2, 3, 2: mean 2, deviation sqrt(1/2)."""
    made, arrays = target()
    made.begin(arrays)
    assert made.threshold("l") == 0
    assert np.isclose(made.threshold("l", 1.0), 2 + 0.5**0.5)
    assert made.threshold("l", -9.0) == 0
    made.c["l"] = 0.0
    assert made.sets(arrays, 0.0)["l/kernel"].mask.tolist() == [[False, False], [True, False]]
    assert made.takes(["l/bias", "other"]) == ["l/bias"]


def test_a_search_finds_the_least_left_and_the_same_mask_is_scored_once():
    """Allowed as long as the weight of 3 stays: it alone is left."""
    made, arrays = target(method="ncs")
    made.begin(arrays)
    asked = []

    def loss(at):
        asked.append(at["l"])
        return at["l"] * 0.9 - 2.99

    off = None
    found, scored = made.find(sizes(arrays, off), ["l"], loss, 200, 0)
    assert found.evaluations == 200 and scored == len(asked) <= 7
    assert np.isclose(found.value, 1 / 6) and 2 < 0.9 * made.threshold("l") < 3


def test_the_dead_band_counts_in_a_search():
    """A weight of 1 that is on stays below 1 / 0.9, one that is off comes back below 1 / 1.1; so with the twos."""
    made, arrays = target()
    made.begin(arrays)
    some = {name: np.abs(a) == 2 for name, a in arrays.items()}
    most = {name: a != 3 for name, a in arrays.items()}
    for off, t, left in (
        (some, 1.0, 4),
        (some, 1.2, 3),
        (some, 1.9, 1),
        (most, 0.8, 4),
        (most, 1.0, 3),
        (most, 2.0, 1),
    ):
        made.c["l"] = (t - made._mean["l"]) / made._deviation["l"]
        found, _ = made.find(sizes(arrays, off), ["l"], lambda at: 0.0, 1, 1)
        assert np.isclose(found.value, left / 6)


def test_where_nothing_is_allowed_thresholds_stay():
    made, arrays = target()
    made.begin(arrays)
    made.c["l"] = 0.25
    found, _ = made.find(sizes(arrays), ["l"], lambda at: 1.0, 50, 0)
    assert found.violation == 1.0 and made.c == {"l": 0.25}


def test_a_layer_that_is_not_active_keeps_its_threshold():
    arrays = {"a/kernel": np.float32([[1, 2, 3, 4]]), "b/kernel": np.float32([[1, 2, 3, 4]])}
    made = SearchTarget({"a": ["a/kernel"], "b": ["b/kernel"]})
    made.begin(arrays)
    before = dict(made.c)
    found, _ = made.find(sizes(arrays), ["b"], lambda at: -1.0, 80, 0)
    assert made.c["a"] == before["a"] and made.c["b"] > before["b"]
    assert np.isclose(found.value, 0.5)  # all of a, none of b


def test_zeros_have_no_part_in_mean_and_deviation():
    made = SearchTarget({"l": ["l/kernel"]})
    made.begin({"l/kernel": np.zeros((2, 2), "float32")})
    assert made.threshold("l") == 0
    made.begin({"l/kernel": np.full((2, 2), 3, "float32")})
    assert made.threshold("l", 1.0) == 4  # a deviation of 0 would leave nothing to search


# ---- whole fits


@pytest.mark.every_backend
def test_a_fit_prunes_within_the_loss_that_is_allowed():
    model = trained()
    dense = model.evaluate(X, Y, verbose=0)[1]
    prune = olmp(0.1)
    history = model.fit(X, Y, epochs=8, batch_size=32, verbose=0, callbacks=[prune]).history
    assert dense > 0.9
    assert all(row["score"] >= row["least"] > dense - 0.11 for row in prune.searches)
    assert [row["step"] for row in prune.searches] == list(range(0, 32, 2))
    left = {name: int(np.count_nonzero(w)) for name, w in values(model).items()}
    assert left == prune.counts
    assert np.isclose(history["sparsity"][-1], 1 - sum(left.values()) / 195)
    assert ratio(model) > 3
    assert model.evaluate(X, Y, verbose=0)[1] > dense - 0.1
    assert "apply" not in vars(model.optimizer)
    model.fit(X, Y, verbose=0)  # nothing is left behind: its zeros train again
    assert ratio(model) < 1.5


@pytest.mark.every_backend
def test_what_a_search_finds_is_what_the_next_step_does():
    """At a learning rate of 0 the masks of the next step are those that were scored."""
    model = trained()
    model.optimizer.learning_rate = 0.0
    prune = olmp(0.05, stop_at=2, search_every=5)
    model.fit(X[:64], Y[:64], batch_size=32, epochs=1, verbose=0, callbacks=[prune])
    (row,) = prune.searches
    assert np.isclose(1 / ratio(model), row["left"])
    assert np.isclose(model.evaluate(X, Y, verbose=0)[1], row["score"])


@pytest.mark.every_backend
def test_a_search_changes_nothing_of_the_training_state():
    dense, norm, drop = keras.layers.Dense, keras.layers.BatchNormalization, keras.layers.Dropout
    model = keras.Sequential([keras.Input((8,)), dense(8), norm(), drop(0.5), dense(3)])
    model.compile("adam", LOSS, metrics=["accuracy"], jit_compile=BACKEND == "jax")
    model.fit(X, Y, verbose=0)
    run = SplicedPruning("me", model, (None, None), "accuracy", NCS, {})
    run.attach(100, 10)
    before = [np.array(ops.convert_to_numpy(v)) for v in [*model.variables, *model.optimizer.variables]]
    found = run.search((X, Y), -1.0, 0, np.random.default_rng(0), 20)
    after = [np.array(ops.convert_to_numpy(v)) for v in [*model.variables, *model.optimizer.variables]]
    moved = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a.tobytes() != b.tobytes()]
    # On JAX the thresholds are among the optimizer's variables.
    assert all(before[i].ndim == 0 and before[i] == -1 for i in moved) and len(moved) in (0, 4)
    assert found.left < 1
    run.release()


def test_each_mask_costs_one_forward_pass():
    calls = []
    model = trained(epochs=1)
    run = SplicedPruning("me", model, (None, None), "accuracy", NCS, {})
    run.attach(100, 10)
    found = run.search((X, Y), 0.2, 0, np.random.default_rng(0), 60, lambda: calls.append(1))
    assert len(calls) == found.scored <= 60
    run.release()


class Masks(keras.callbacks.Callback):
    """Which weights are zero after each step."""

    def __init__(self):
        super().__init__()
        self.zeros = []

    def on_train_batch_end(self, batch, logs=None):
        self.zeros.append(np.concatenate([weights.read(v).ravel() == 0 for v in self.model.trainable_variables]))


@pytest.mark.every_backend
def test_masks_are_held_from_stop_at_on():
    model, masks = trained(), Masks()
    model.fit(X, Y, epochs=3, batch_size=32, verbose=0, callbacks=[olmp(stop_at=11, search_every=4), masks])
    assert len(masks.zeros) == 24
    assert all((zeros == masks.zeros[10]).all() for zeros in masks.zeros[11:])
    assert any((zeros != masks.zeros[10]).any() for zeros in masks.zeros[:10])


@pytest.mark.every_backend
def test_what_is_off_comes_back_where_the_loss_wants_it():
    model, masks = trained(epochs=2), Masks()
    model.optimizer.learning_rate = 0.05
    model.fit(X, Y, epochs=8, batch_size=32, verbose=0, callbacks=[olmp(0.3), masks])
    zeros = np.array(masks.zeros)
    assert (zeros[:-1] & ~zeros[1:]).any()


def test_the_same_seed_is_the_same_run():
    ends = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(0)
        model = trained(epochs=4)
        prune = olmp(seed=seed, batch_size=64)
        model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[prune])
        ends.append([row["c"] for row in prune.searches])
    assert ends[0] == ends[1] != ends[2]


def test_layers_that_are_excluded_stay_dense():
    model = trained()
    model.fit(X, Y, epochs=4, batch_size=32, verbose=0, callbacks=[prune := olmp(exclude="b")])
    assert set(prune.counts) == {"m/a/kernel", "m/a/bias"}
    assert np.count_nonzero(weights.read(model.layers[1].kernel)) == 48


def test_cma_and_a_search_of_ones_own():
    for method in ("cma", NCS):
        model = trained(epochs=4)
        prune = olmp(method=method, settings={"sigma": 0.1})
        model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[prune])
        assert ratio(model) > 1.5 and prune.searches[0]["scored"] <= 30


def test_a_metric_of_ones_own():
    def mine(y_true, y_pred):
        return -keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True) + 10.0

    model = trained()
    prune = olmp(0.2, metric=mine)
    model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[prune])
    assert 9 < prune.searches[0]["least"] < prune.searches[0]["score"] < 10


def test_accuracy_is_what_keras_means_by_it():
    y = np.array([0, 2, 1])
    logits = np.float32([[1, 0, 0], [1, 0, 0], [0, 3, 0]])
    one_hot = ops.one_hot(y, 3)
    assert np.mean(ops.convert_to_numpy(scoring.accuracy(y, ops.convert_to_tensor(logits)))) == np.float32(2 / 3)
    assert np.mean(ops.convert_to_numpy(scoring.accuracy(one_hot, ops.convert_to_tensor(logits)))) == np.float32(2 / 3)
    probable = ops.convert_to_tensor(np.float32([[0.2], [0.7], [0.6]]))
    assert np.mean(ops.convert_to_numpy(scoring.accuracy(np.array([0, 1, 0]), probable))) == np.float32(2 / 3)


def test_several_inputs_and_a_step_of_ones_own():
    class Own(keras.Model):
        def train_step(self, *data):
            return super().train_step(*data)

    a, b = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    model = Own([a, b], keras.layers.Dense(3)(keras.layers.Concatenate()([a, b])))
    model.compile(keras.optimizers.Adam(0.05), LOSS, metrics=["accuracy"])
    x = [X[:, :4], X[:, 4:]]
    model.fit(x, Y, epochs=5, verbose=0)
    model.fit(x, Y, epochs=2, verbose=0, callbacks=[prune := olmp(validation_data=(x, Y), batch_size=100)])
    assert prune.counts == {v.path: int(np.count_nonzero(weights.read(v))) for v in model.trainable_variables}
    assert ratio(model) > 1.5


def test_early_stopping_counts_from_masked_training_on():
    """Of a sparsity that rises and then stays, the least is that of the first epoch; in masked training of any."""
    stop = keras.callbacks.EarlyStopping("sparsity", mode="min", restore_best_weights=True)
    model, prune = trained(), olmp(stop_at=24)
    history = model.fit(X, Y, epochs=8, batch_size=32, verbose=0, callbacks=[prune, stop]).history
    assert len(history["loss"]) == 5 and history["sparsity"][0] < history["sparsity"][-1]
    assert {v.path: int(np.count_nonzero(weights.read(v))) for v in model.trainable_variables} == prune.counts


def test_what_it_prints(capsys):
    model = trained()
    model.fit(X, Y, epochs=2, batch_size=32, verbose=2, callbacks=[olmp(verbose="auto", search_every=4, stop_at=8)])
    said = capsys.readouterr().out
    assert "OLMP: step 0: " in said and "x at a score of 0." in said and "masks scored" in said
    assert "OLMP: masks held from step 8 on, " in said and "30/30" in said
    model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[olmp(verbose="auto")])
    assert not capsys.readouterr().out


# ---- ends before the end, and bad input


class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise RuntimeError("mine")


def test_a_fit_that_is_interrupted_leaves_zeros_and_no_trace():
    model = trained()
    with pytest.warns(UserWarning, match="ended at step 8, before stop_at=16"):
        try:
            model.fit(X, Y, epochs=4, batch_size=32, verbose=0, callbacks=[olmp(), Fails()])
        except RuntimeError:
            pass  # and with it the frames of the fit
    assert "apply" not in vars(model.optimizer) and ratio(model) > 1.5


def test_a_fit_that_begins_later_is_refused():
    model = trained()
    before = model.get_weights()
    with pytest.raises(ValueError, match="must begin with its first epoch.*begins at epoch 1"):
        model.fit(X, Y, epochs=3, initial_epoch=1, verbose=0, callbacks=[olmp()])
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_loss_that_is_not_finite_stops_training():
    model = trained()
    prune = olmp()
    x = np.where(np.arange(256)[:, None] > 200, np.nan, X)
    with pytest.warns(UserWarning, match="must stay finite"):
        model.fit(x, Y, epochs=4, batch_size=256, verbose=0, callbacks=[prune])
    assert "apply" not in vars(model.optimizer)


def fitted(model=None, data=None, epochs=2, **how):
    given = {"x": X, "y": Y, "batch_size": 32} if data is None else {"x": data}
    (model or trained(epochs=1)).fit(**given, epochs=epochs, verbose=0, callbacks=[olmp(**how)])


def scored_nan(y_true, y_pred):
    return y_pred[:, 0] * np.nan


REFUSED = {
    "delta below 0": (lambda: olmp(-0.1), "`delta` must be a number >= 0"),
    "delta of text": (lambda: olmp("little"), "`delta` must be a number >= 0"),
    "no pair": (lambda: olmp(validation_data=X), "`validation_data` must be a pair"),
    "a dataset": (lambda: olmp(validation_data=zip(X, Y, strict=True)), "`validation_data` must be a pair"),
    "uneven": (lambda: olmp(validation_data=(X, Y[:5])), "`validation_data` must be a pair"),
    "empty": (lambda: olmp(validation_data=(X[:0], Y[:0])), "`validation_data` must be a pair"),
    "search_every": (lambda: olmp(search_every=0), "`search_every` must be an integer >= 1"),
    "method": (lambda: olmp(method="genetic"), "`method` must be one of"),
    "a setting that is none": (lambda: olmp(settings={"sigm": 1}), "NCS: .* Received: sigm. Did you mean sigma"),
    "setting": (lambda: olmp(settings={"population": -1}), "`population` must be an integer"),
    "levels": (lambda: olmp(method="levels"), "levels must be integers"),
    "metric": (lambda: olmp(metric="val_accuracy"), "`metric` must be 'accuracy', or a function"),
    "dense at chance": (lambda: fitted(network(), delta=0.9), "than one of zeros does, by more than delta"),
    "one class": (lambda: fitted(delta=0.1, validation_data=(X, 0 * Y)), r"zeros .* and 1, delta=0.1.* a metric by"),
    "nan": (lambda: fitted(metric=scored_nan), "than one of zeros does, by more than delta.*Received: nan and nan"),
    "stop after the end": (lambda: fitted(stop_at=17), "stop_at must be within the fit"),
    "unbuilt": (lambda: fitted(layers="c"), "each entry must choose at least one variable"),
}


@pytest.mark.parametrize("call, sentence", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_pruned_is_said_before_training(call, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        call()


def test_a_metric_may_be_negative():
    def less_is_better(y_true, y_pred):
        return -keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    prune = olmp(0.05, metric=less_is_better)
    trained().fit(X, Y, epochs=2, verbose=0, callbacks=[prune])
    assert prune.searches[0]["score"] >= prune.searches[0]["least"] and 0.5 < prune.searches[0]["left"] < 1


def test_masks_without_a_score_are_too_much():
    """Outputs that are the same for all samples have no correlation with anything, here with themselves."""

    def correlation(y_true, y_pred):
        return ops.where(ops.max(y_pred, 0) > ops.min(y_pred, 0), 1.0, np.nan)

    anywhere = {"spread": True, "sigma": 0.5}
    prune = olmp(0.5, metric=correlation, search_every=4, stop_at=8, settings=anywhere)
    model = trained()
    model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[prune])
    assert all(each["score"] == 1 for each in prune.searches) and ratio(model) < np.inf


def test_data_of_unknown_length_need_stop_at():
    class Batches(keras.utils.PyDataset):
        def __getitem__(self, i):
            return X[:32], Y[:32]

        @property
        def num_batches(self):
            return None

    model = trained(epochs=1)
    with pytest.raises(ValueError, match="stop_at must be known"):
        model.fit(Batches(), shuffle=False, verbose=0, callbacks=[olmp()])


def test_several_outputs_need_a_metric():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(3)(inputs)])
    model.compile("sgd", [LOSS, LOSS])
    with pytest.raises(ValueError, match="'accuracy' must have one output"):
        model.fit(X, [Y, Y], verbose=0, callbacks=[olmp()])


@pytest.mark.tensorflow_only
def test_a_model_of_tf_keras_is_refused():
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(8,))])
    model.compile("sgd", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="must be a model of Keras 3"):
        model.fit(X, Y, verbose=0, callbacks=[olmp()])
