"""What the callbacks print during `model.fit`."""

import re
import warnings

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import constraints as sets
from keras_admm.callbacks.messages import costly

X = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")


def printed(capsys, callback, verbose=0, **how):
    layers = [keras.layers.Dense(10, name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((8,)), *layers], name="net")
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(X, X[:, :2], verbose=verbose, callbacks=[callback], **how)
    return capsys.readouterr().out


PLANS = [
    (
        lambda: ka.ADMMPrune(0.9, verbose=1),
        4,
        "ADMMPrune: epochs 1-3 ADMM, 4 retraining, 100 weights to 10 (2 tensors)",
    ),
    (
        lambda: ka.ADMMPrune([0.5, 0.9], admm_epochs=1, verbose=1),
        4,
        "ADMMPrune: epochs 1 ADMM, 2 retraining, 100 weights to 50; epochs 3 ADMM, 4 retraining, 100 weights to 10 "
        "(2 tensors)",
    ),
    (
        lambda: ka.ADMMPrune(0.5, structure="block(1,2)", layers="a", retrain_epochs=0, verbose=1),
        2,
        "ADMMPrune: epochs 1-2 ADMM, 40 block(1,2) to 20 (1 tensors)",
    ),
    (
        lambda: ka.ADMMCluster(4, first_last="same", verbose=1),
        2,
        "ADMMCluster: epochs 1 ADMM, 2 retraining, 100 of 100 weights to Codebook (2 tensors)",
    ),
]


@pytest.mark.parametrize("callback, epochs, line", PLANS, ids=["prune", "steps", "blocks", "clusters"])
def test_a_run_begins_with_its_plan_in_one_line(callback, epochs, line, capsys):
    assert line in printed(capsys, callback(), epochs=epochs).split("\n")


@pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning")
def test_the_plan_of_a_fit_that_begins_later_or_goes_on_has_its_epochs(tmp_path, capsys):
    later = {"initial_epoch": 3, "epochs": 7}
    plan, ended = "ADMMPrune: epochs 4-6 ADMM, 7 retraining, 100 weights to 50", "ADMM ended after epoch 6 at"
    out = printed(capsys, ka.ADMMPrune(0.5, verbose=1), **later)
    assert plan in out and ended in out
    steps = "ADMM: epochs 4-7 in 2 steps of ADMM and retraining, 100 weights to 50"
    assert steps in printed(capsys, ka.ADMM([ka.constraints.Sparse(0.5)] * 2, verbose=1), **later)

    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 5:
                raise KeyboardInterrupt

    again = ka.ADMMPrune(0.5, backup_dir=tmp_path, verbose=1)
    layers = [keras.layers.Dense(10, name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((8,)), *layers], name="net")
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, X[:, :2], verbose=0, callbacks=[again, Killed()], **later)
    assert plan in capsys.readouterr().out
    out = printed(capsys, again, **later)
    assert plan in out and ended in out


@pytest.mark.parametrize(
    "callback", [lambda: ka.ADMMPrune(0.5, verbose=1), lambda: ka.ADMMPrune(max_accuracy_drop=9.0)]
)
def test_metrics_of_several_numbers_are_left_out(callback, capsys):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy", keras.metrics.F1Score()])
    y = np.eye(3, dtype="float32")[np.arange(len(X)) % 3]
    model.fit(X, y, verbose=0, epochs=6, validation_data=(X, y), callbacks=[callback()])
    assert "f1_score" not in capsys.readouterr().out
    scores = ka.sensitivity(model, (X, y), [0.5], verbose=0)
    assert "f1_score" not in f"{scores}"


@pytest.mark.parametrize("epochs, told", [(133, True), (134, False)])
def test_too_few_steps_for_a_sparsity_are_told(epochs, told, capsys):
    """At 10x: 100 steps of ADMM; 3/4 of the epochs, of one batch each."""
    out = printed(capsys, ka.ADMMPrune(0.9, verbose=1), epochs=epochs)
    sentence = "99 training steps of ADMM are few for 10x: on MNIST and scikit-learn's digits it took about 100"
    assert (sentence in out) == told


@pytest.mark.parametrize("callback", [ka.ADMMCluster(4, verbose=1), ka.ADMMLowRank(1, verbose=1)])
def test_sets_without_a_sparsity_are_never_told_of_too_few_steps(callback, capsys):
    assert "are few for" not in printed(capsys, callback, epochs=2)


@pytest.mark.parametrize("own, of_fit, speaks", [("auto", 0, False), ("auto", 2, True), (0, 2, False), (1, 0, True)])
def test_a_callback_prints_where_fit_does_unless_told(own, of_fit, speaks, capsys):
    out = printed(capsys, ka.ADMMPrune(0.5, verbose=own), verbose=of_fit, epochs=2)
    assert bool(re.search("ADMMPrune: epochs 1 ADMM", out)) == speaks


@pytest.mark.parametrize("of_fit", [1, 2])
def test_every_line_is_whole_and_the_bar_shows_what_the_phase_has(of_fit, capsys):
    out = printed(capsys, ka.ADMMPrune([0.5, 0.9], verbose=1), verbose=of_fit, epochs=4)
    lines = [re.split("[\r\b]", line)[-1] for line in re.sub(r"\x1b\[\d*m", "", out).split("\n")]
    ours = [line for line in lines if "ADMMPrune" in line]
    assert len(ours) > 6 and all(line.startswith("ADMMPrune: ") for line in ours)
    bars = [line.partition(" - phase: ")[2] for line in lines if "loss: " in line and "phase" in line]
    number = r"\d[\d.e+-]+"
    pulled, held = f"admm_sparsity: {number} - admm_primal: {number}", f"sparsity: {number}"
    told = [f"ADMM 1/2 - {pulled}", f"retraining 1/2 - {held}", f"ADMM 2/2 - {pulled}", f"retraining 2/2 - {held}"]
    assert len(bars) == 4 and all(map(re.fullmatch, told, bars)), bars
    for line, after in zip(lines, lines[1:], strict=False):  # behind an epoch's line, before the next one's
        assert "ended after epoch" not in after or "phase: " in line


def test_a_table_of_the_layers_where_a_phase_ends(capsys):
    out = printed(capsys, ka.ADMMPrune(0.5, allocation="uniform", verbose=2), epochs=2)
    lines = [line.split() for line in out.split("\n")]
    rows = [line for line in lines if line and line[0] == "net/a/kernel"]
    assert [row[1:4] for row in rows] == [["8x10", "0.0000", "0.5000"], ["8x10", "0.5000", "-"]]
    assert float(rows[0][4]) > 0 and rows[1][4] == "-"


def test_a_projection_that_costs_much_says_what_to_do(capsys):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    y = np.asarray(model(X)) + 0.1
    model.fit(X, y, epochs=2, verbose=0, validation_data=(X, y), callbacks=[ka.ADMMPrune(0.95, verbose=1)])
    out = capsys.readouterr().out
    assert re.search(r"projected after epoch 1: val_loss [\d.]+ -> [\d.]+\n.*more epochs \(admm_epochs\)", out)


@pytest.mark.parametrize(
    "before, after, much",
    [
        ({"val_loss": 0.1, "val_accuracy": 0.99}, {"val_loss": 0.3, "val_accuracy": 0.985}, False),
        ({"val_loss": 0.1, "val_accuracy": 0.99}, {"val_loss": 0.1, "val_accuracy": 0.96}, True),
        ({"val_loss": 0.1}, {"val_loss": 0.12}, False),
        ({"val_loss": 0.1}, {"val_loss": 0.13}, True),
        ({}, {"val_loss": 0.13}, False),
        ({"val_loss": 0.1}, {}, False),
    ],
)
def test_what_counts_as_much(before, after, much):
    assert costly(before, after) == much


@pytest.mark.parametrize(
    "made, told",
    [
        (lambda: sets.Sparse(0.9), "Sparse(sparsity=0.9, structure='element')"),
        (lambda: sets.Sparse(structure="2:4"), "Sparse(structure='2:4')"),
        (lambda: sets.Levels(3), "Levels(bits=3, zero=True, scope='tensor', fit='least_squares')"),
        (lambda: sets.Codebook(8), "Codebook(size=8, keep_zeros=True, scope='tensor', zero=False)"),
        (lambda: sets.LowRank(energy=0.5), "LowRank(energy=0.5, scheme='spatial')"),
        (lambda: sets.Support([[True, False]]), "Support(1 of 2, shape=(1, 2))"),
        (lambda: sets.Joint(sets.Sparse(0.5), sets.Ternary(keep_zeros=True)), "Joint(Sparse(sparsity=0.5, "),
        (lambda: sets.Foreign(keras.constraints.MaxNorm(2, axis=0)), "Foreign(MaxNorm(max_value=2, axis=0))"),
        (lambda: ka.PruningTarget(0.9), "PruningTarget(sparsity=0.9, start=0.0, allocation='global', "),
        (lambda: ka.LowRankTarget(rank=2), "LowRankTarget(rank=2, "),
        (lambda: ka.Step(target=sets.Sparse(0.5)), "Step(target=OneSet(constraint=Sparse(sparsity=0.5, "),
        (lambda: ka.ADMM(sets.Sparse(0.5)), "ADMM(Sparse(sparsity=0.5, structure='element'))"),
        (lambda: ka.ADMMPrune(0.9), "ADMMPrune(0.9)"),
        (lambda: ka.ADMMPrune([0.5, 0.9], allocation="erk"), "ADMMPrune([0.5, 0.9], allocation='erk')"),
        (lambda: ka.ADMMQuantize(bits=2, first_last="same"), "ADMMQuantize(bits=2, first_last='same')"),
        (lambda: ka.TRP(period=5), "TRP(period=5)"),
    ],
)
def test_settings_are_told(made, told):
    assert repr(made()).startswith(told)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("epochs, told", [(4, True), (1, False)])
def test_a_schedule_that_is_used_up_is_told(library, epochs, told):
    kit = pytest.importorskip(library)
    model = kit.Sequential([kit.layers.Input((8,)), kit.layers.Dense(2)])
    model.compile(kit.optimizers.SGD(kit.optimizers.schedules.CosineDecay(0.01, 4)), "mse")
    model.fit(X, X[:, :2], epochs=epochs, batch_size=len(X), verbose=0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(X, X[:, :2], epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.5)])
    found = [w for w in said if "a schedule that earlier training has used up, at 0.0e+00 of" in str(w.message)]
    assert len(found) == told
