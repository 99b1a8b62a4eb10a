"""Pruning by a tolerance of accuracy: which sparsities are tried, what holds, and what the model is at the end."""

import keras
import numpy as np
import pytest
from cases import EAGERLY
from keras import layers

import keras_admm as ka
from keras_admm import attach, weights
from keras_admm.callbacks.tolerance import Judged, steps_in
from keras_admm.plan import Ladder

every_backend = pytest.mark.every_backend
X = np.random.default_rng(0).normal(size=(32, 16)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
SIZE = 16 * 16 + 16 * 2


def model(metrics=("accuracy",), **how):
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((16,)), layers.Dense(16, "relu"), layers.Dense(2)], name="m")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, metrics=list(metrics), **EAGERLY, **how)
    return made


def fit(made, epochs=12, callbacks=(), validation_data=(X, Y), **how):
    how = {"admm_epochs": 1, "retrain_epochs": 1, **how}
    prune = ka.ADMMPrune(max_accuracy_drop=how.pop("drop", 0.01), **how)
    made.fit(X, Y, epochs=epochs, verbose=0, validation_data=validation_data, callbacks=[prune, *callbacks])
    return prune


def kept(made):
    return sum(int(np.count_nonzero(weights.read(v))) for v in weights.select(made).values())


def test_steps_that_come_to_the_same_are_told_together(capsys):
    fit(model(), epochs=6, verbose=1)
    told = capsys.readouterr().out.splitlines()[0]
    assert told == "ADMMPrune: epochs 1-6 in 3 steps of ADMM and retraining, as far as the tolerance holds (2 tensors)"


@pytest.fixture
def bearing(monkeypatch):
    """Has the accuracy fall from 0.9 to 0.8 where less than so many weights are left."""

    def at_least(count):
        value = lambda self, logs: 0.9 if kept(self._model) >= count else 0.8  # noqa: E731
        monkeypatch.setattr(Judged, "_value", value)
        monkeypatch.setattr(attach, "direction", lambda *_: 1)

    return at_least


@pytest.mark.parametrize("rate", [1.5, 3, 4, 10, 64, 300])
def test_sparsities_that_are_tried_close_in_on_what_is_borne(rate):
    ladder, tried = Ladder(), []
    for _ in range(12):
        tried.append(1 / (1 - ladder.aim))
        ladder.tell(tried[-1] <= rate * (1 + 1e-9))
    assert tried[0] == pytest.approx(4)
    assert 1 / (1 - ladder.held) <= rate * (1 + 1e-9) < 1 / (1 - ladder.broken)
    assert (1 - ladder.held) / (1 - ladder.broken) < 1.3


@pytest.mark.parametrize(
    "epochs, admm, retrain, steps",
    [(2, 0.7, None, 1), (12, 0.7, None, 2), (48, 0.5, None, 8), (99, None, None, 8), (60, 4, 2, 10), (60, 9, None, 6)],
)
def test_epochs_make_steps(epochs, admm, retrain, steps):
    assert steps_in(epochs, admm, retrain) == steps


@every_backend
def test_the_model_is_the_sparsest_that_held(bearing):
    """288 weights: 72 hold, 18 do not, 36 = sqrt(72 * 18) hold, 25 do not, 30 hold, 28 do not."""
    bearing(29)
    made = model()
    prune = fit(made, validation_data=None)
    assert [round(SIZE * (1 - row["sparsity"])) for row in prune.steps] == [72, 18, 36, 25, 30, 28]
    assert [row["held"] for row in prune.steps] == [True, False, True, False, True, False]
    assert [round(row["drop"], 6) for row in prune.steps] == [0, 0.1, 0, 0.1, 0, 0.1]
    assert kept(made) == 30 and prune.engine.released
    made.fit(X, Y, verbose=0)
    assert kept(made) > 30  # nothing is held any more


def test_each_step_begins_at_what_held(bearing):
    bearing(20)
    begun = []

    class At(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if not batch:
                begun.append(kept(self.model))

    fit(model(), epochs=8, validation_data=None, callbacks=[At()])
    # Of each step its epoch of ADMM, from all weights or those that held; and its epoch of retraining.
    assert begun[1::2] == [72, 18, 36, 25] and begun[0] > 280
    assert [72 <= begun[2], 72 <= begun[4], 36 <= begun[6]] == [True] * 3


@every_backend
def test_where_none_holds_the_model_is_the_dense_one(bearing):
    made = model()
    bearing(SIZE)
    dense = made.get_weights()
    with pytest.warns(UserWarning, match="one step at least must hold .*=0.01 .*none of 2 that ended. The model is"):
        prune = fit(made, epochs=4, validation_data=None)
    assert not any(row["held"] for row in prune.steps)
    assert all((a == b).all() for a, b in zip(dense, made.get_weights(), strict=True))


def test_the_best_epoch_of_a_step_counts(monkeypatch):
    """Of three epochs of retraining the second alone holds: the model is what it was then."""
    values = iter([0.9, 0.8, 0.95, 0.7])
    monkeypatch.setattr(Judged, "_value", lambda self, logs: next(values))
    monkeypatch.setattr(attach, "direction", lambda *_: 1)
    seen = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(made.get_weights()))
    made = model()
    prune = fit(made, epochs=4, retrain_epochs=3, validation_data=None, callbacks=[after])
    (row,) = prune.steps
    assert row["held"] and row["val_accuracy"] == 0.95 and row["drop"] == pytest.approx(-0.05)
    assert all((a == b).all() for a, b in zip(seen[2], made.get_weights(), strict=True))


def stopped(made):
    made.stop_training = True


def interrupted(made):
    raise KeyboardInterrupt


def spoiled(made):
    made.layers[0].kernel.assign(np.full((16, 16), np.nan))


@every_backend
@pytest.mark.parametrize("end, at", [(stopped, 4), (interrupted, 4), (spoiled, 5)])
def test_whatever_ends_a_fit_the_best_so_far_is_kept(end, at, bearing):
    """In the third step, after one that held 72 weights and one that did not hold 18."""
    bearing(40)
    made = model()
    act = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: end(made) if epoch == at else None)
    with pytest.warns(UserWarning, match="all steps must pass .*The model is the last that held"):
        try:
            fit(made, validation_data=None, callbacks=[act])
        except KeyboardInterrupt:
            pass
    assert kept(made) == 72 and all(np.isfinite(w).all() for w in made.get_weights())


def test_a_step_that_held_before_its_end_counts(bearing):
    bearing(60)
    made = model()
    act = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: stopped(made) if epoch == 1 else None)
    with pytest.warns(UserWarning, match="all steps must pass .*a fit that stopped, after 2 epoch"):
        prune = fit(made, epochs=6, retrain_epochs=2, validation_data=None, callbacks=[act])
    assert [row["held"] for row in prune.steps] == [True] and kept(made) == 72


@every_backend
@pytest.mark.parametrize(
    "how", [{}, {"monitor": "val_loss", "drop": 2.0}, {"structure": "block(1,4)"}, {"state": "device"}], ids=str
)
def test_a_real_fit_holds_its_tolerance(how):
    made = model()
    made.fit(X, Y, epochs=5, verbose=0)
    dense = made.evaluate(X, Y, verbose=0, return_dict=True)
    prune = fit(made, epochs=4, **{"drop": 0.5, **how})
    name = how.get("monitor", "val_accuracy").removeprefix("val_")
    now = made.evaluate(X, Y, verbose=0, return_dict=True)
    sign = -1 if name == "loss" else 1
    assert sign * (dense[name] - now[name]) <= how.get("drop", 0.5) + 1e-6
    best = max((row["sparsity"] for row in prune.steps if row["held"]), default=0)
    assert 1 - kept(made) / SIZE == pytest.approx(best)
    assert len(prune.steps) == 2 and best > 0.5


def test_epochs_without_validation_are_evaluated_and_the_next_fit_begins_anew():
    made = model()
    prune = ka.ADMMPrune(max_accuracy_drop=0.5, admm_epochs=1, retrain_epochs=1)
    for _ in range(2):
        made.fit(X, Y, epochs=4, verbose=0, validation_split=0.25, validation_freq=3, callbacks=[prune])
        assert [round(row["sparsity"], 2) for row in prune.steps] == [0.75, 0.94]


@pytest.mark.parametrize(
    "monitor, mode, expected",
    [("val_loss", "auto", -1), ("val_accuracy", "auto", 1), ("val_mae", "auto", -1), ("val_mae", "max", 1)],
)
def test_whether_more_is_better_is_known_as_keras_knows_it(monitor, mode, expected):
    made = keras.Sequential([keras.Input((16,)), layers.Dense(1)])
    made.compile("sgd", "mse", metrics=["accuracy", "mae"], **EAGERLY)
    made.evaluate(X, Y, verbose=0)
    assert attach.direction("me", made, monitor, mode) == expected


@pytest.mark.parametrize(
    "monitor, expected",
    [
        ("val_accuracy", 1),
        ("val_auc", 1),
        ("val_recall", 1),
        ("val_mae", -1),
        ("val_loss", -1),
        ("val_found", 1),
        ("val_off", -1),
    ],
)
def test_it_is_known_of_a_model_that_was_not_evaluated_yet(monitor, expected):
    metrics = ["accuracy", keras.metrics.Recall(name="found"), keras.metrics.MeanSquaredError(name="off")]
    assert attach.direction("me", model(metrics), monitor, "auto") == expected
    with pytest.raises(ValueError, match="monitor='val_own', mode='auto', which Keras cannot tell"):
        attach.direction("me", model(), "val_own", "auto")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_epoch_of_a_value_that_is_not_finite_does_not_hold(value):
    """The second step's; the third then lies between what held and what did not."""
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(val_loss=value) if epoch == 3 else None
    )
    made = model()
    prune = ka.ADMMPrune(max_accuracy_drop=9, monitor="val_loss", admm_epochs=1, retrain_epochs=1)
    made.fit(X, Y, epochs=6, verbose=0, validation_data=(X, Y), callbacks=[spoil, prune])
    assert [(round(SIZE * (1 - row["sparsity"])), row["held"]) for row in prune.steps] == [
        (72, True),
        (18, False),
        (36, True),
    ]
    assert kept(made) == 36


@pytest.mark.parametrize("monitor, expected", [("val_a_accuracy", 1), ("val_b_mae", -1), ("val_b_loss", -1)])
def test_a_metric_of_one_of_several_outputs_is_held(monitor, expected):
    inputs = keras.Input((16,))
    hidden = layers.Dense(8, "relu")(inputs)
    made = keras.Model(inputs, {"a": layers.Dense(2, name="a")(hidden), "b": layers.Dense(1, name="b")(hidden)})
    loss = {"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "b": "mse"}
    made.compile("adam", loss, metrics={"a": ["accuracy"], "b": ["mae"]}, **EAGERLY)
    prune = ka.ADMMPrune(max_accuracy_drop=9, monitor=monitor, admm_epochs=1, retrain_epochs=1)
    pair = X, {"a": Y, "b": X[:, :1]}
    made.fit(*pair, epochs=2, verbose=0, validation_data=pair, callbacks=[prune])
    assert attach.direction("me", made, monitor, "auto") == expected
    assert [row["held"] for row in prune.steps] == [True] and prune.steps[0][monitor] > 0


def own(y_true, y_pred):
    return keras.ops.mean(y_pred)


BAD_FITS = {
    "no validation data": ({}, {"validation_data": None}, "needs validation data.*Received: a fit without.*Pass fit"),
    "no such metric": ({"monitor": "val_auc"}, {}, "monitor='val_auc', the metrics .*val_accuracy.*metrics=..auc"),
    "unknown direction": ({"monitor": "val_own"}, {}, "better when it is larger.*monitor='val_own'.*Pass mode"),
    "too few epochs": ({"admm_epochs": 9}, {}, "need at least 10 epochs"),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_fits_get_a_sentence_before_training(case):
    how, of_fit, sentence = BAD_FITS[case]
    made = model(["accuracy", own])
    before = made.get_weights()
    with pytest.raises(ValueError, match=sentence):
        fit(made, epochs=2, **how, **of_fit)
    assert all((a == b).all() for a, b in zip(before, made.get_weights(), strict=True))


def test_a_dense_model_that_is_not_finite_is_refused():
    made = model()
    spoiled(made)
    with pytest.raises(ValueError, match="must be a finite metric.*monitor='val_loss', nan"):
        fit(made, monitor="val_loss")


@pytest.mark.parametrize(
    "how, sentence",
    [
        ({"max_accuracy_drop": -0.01}, "max_accuracy_drop. must be a number >= 0.*=-0.01"),
        ({"max_accuracy_drop": 0.1, "sparsity": 0.5}, "exactly one of .*max_accuracy_drop.*Leave the others out"),
        ({"max_accuracy_drop": 0.1, "budget": {"bytes": 99}}, "exactly one of "),
        ({"max_accuracy_drop": 0.1, "structure": "2:4"}, "exactly one of "),
        ({"max_accuracy_drop": 0.1, "structure": "channel"}, "must be of single weights"),
        ({"max_accuracy_drop": 0.1, "backup_dir": "here"}, "backup_dir. must be None beside max_accuracy_drop.*Leave"),
        ({"max_accuracy_drop": 0.1, "retrain_epochs": 0}, "retrain_epochs. must be 1 or more"),
        ({"max_accuracy_drop": 0.1, "monitor": "accuracy"}, "monitor. must be a metric of the validation data"),
        ({"sparsity": 0.5, "monitor": "val_loss"}, "given with max_accuracy_drop. Received: .*val_loss"),
        ({"sparsity": 0.5, "mode": "min"}, "given with max_accuracy_drop"),
    ],
)
def test_bad_arguments_get_a_sentence(how, sentence):
    with pytest.raises(ValueError, match=sentence):
        ka.ADMMPrune(**how)


@pytest.mark.parametrize(
    "how, sentence",
    [({"max_accuracy_drop": 0.01}, "must run from its beginning to its end"), ({"sparsity": 0.5}, "a backup_dir as")],
)
def test_beside_a_backup_of_keras_s_own_it_is_said_what_resumes(how, sentence, tmp_path, bearing):
    bearing(0)
    prune = ka.ADMMPrune(**how)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.warns(UserWarning, match=sentence):
        model().fit(X, Y, epochs=6, verbose=0, validation_data=(X, Y), callbacks=[prune, backup])
