"""The epochs of a fit as other callbacks see them, and fits that end before their time."""

import csv
import json
import re

import keras
import numpy as np
import pytest
import test_callbacks
from cases import EAGERLY, HERE, rows
from keras import layers, ops
from test_callbacks import batches, non_zeros, warned

import keras_admm as ka
from keras_admm import weights

every_backend = pytest.mark.every_backend  # where the weights of an epoch are looked at
SGD = keras.optimizers.SGD

NO_PULL = ka.penalties.GradientPenalty(rho=0.0)


def dense_model(*args, **kwargs):
    return test_callbacks.dense_model(*args, **EAGERLY, **kwargs)


class Judge(keras.callbacks.Callback):
    """A callback of the user's: keeps each epoch's figures beside the weights that it sees then."""

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append((dict(logs), self.model.get_weights()))


class At(keras.callbacks.Callback):
    """Calls a function of the model when an epoch begins, or after its first batch."""

    def __init__(self, epoch, do, batch=False):
        super().__init__()
        self.epoch, self.do, self.batch, self.now = epoch, do, batch, False

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch == self.epoch
        if self.now and not self.batch:
            self.do(self.model)

    def on_train_batch_end(self, batch, logs=None):
        if self.now and self.batch:
            self.do(self.model)


def fit(model, *callbacks, epochs=6, **kwargs):
    kwargs.setdefault("validation_data", batches())
    return model.fit(*batches(), epochs=epochs, verbose=0, callbacks=list(callbacks), **kwargs).history


def stop(model):
    model.stop_training = True


def distinct(model):
    return [len(np.unique(weights.read(v))) for v in weights.select(model).values()]


RUNS = {
    "sparse": lambda **k: ka.ADMMPrune(0.9, **k),
    "two steps": lambda **k: ka.ADMMPrune([0.5, 0.9], **k),
    "levels": lambda **k: ka.ADMMQuantize(2, first_last="same", **k),
    "clusters, tied": lambda **k: ka.ADMMCluster(3, first_last="same", retraining="shared_values", **k),
    "levels, snap": lambda **k: ka.ADMMQuantize(2, first_last="same", retraining="snap", **k),
}


@every_backend
@pytest.mark.parametrize("first, run", rows(lambda first, run: first or run == "two steps", [True, False], RUNS))
def test_every_callback_sees_the_weights_that_the_figures_are_of(run, first):
    """... wherever it stands in the list: the logged loss is that of the weights, the logged sparsity their zeros."""
    model, judge = dense_model(SGD(0.01)), Judge()
    prune = RUNS[run]()
    history = fit(model, *([judge, prune] if first else [prune, judge]), epochs=8)
    probe = dense_model(SGD(0.01))
    for i, (logs, seen) in enumerate(judge.rows):
        probe.set_weights(seen)
        assert probe.evaluate(*batches(), verbose=0) == pytest.approx(logs["val_loss"], rel=1e-4)
        kernels = [w for w in seen if w.ndim == 2]
        zeros = 1 - sum(map(np.count_nonzero, kernels)) / sum(w.size for w in kernels)
        assert history["sparsity"][i] == pytest.approx(zeros)


BEST = [("val_loss", "min"), ("val_loss", "max"), ("mae", "auto")]


@every_backend
@pytest.mark.parametrize("best, run", rows(lambda best, run: best == BEST[0] or run == "sparse", BEST, RUNS))
def test_the_best_epoch_is_one_of_the_last_retraining(run, best, tmp_path):
    """A learning rate that spoils the weights with each epoch, so that the first of a phase is its best, or worst."""
    monitor, mode = best
    model = dense_model(SGD(0.05), metrics=["mae"])
    stopping = keras.callbacks.EarlyStopping(monitor, patience=20, mode=mode, restore_best_weights=True)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor, save_best_only=True, mode=mode)
    history = fit(model, stopping, RUNS[run](), checkpoint, epochs=8)
    pick = np.argmax if mode == "max" else np.argmin
    last = max(history["admm_step"])
    phase = [i for i in range(8) if history["admm_rho"][i] == 0 and history["admm_step"][i] == last]
    if run == "levels, snap":  # the set is reached with the last share alone
        phase = phase[-1:]
    best = phase[pick([history[monitor][i] for i in phase])]
    assert stopping.best_epoch == best
    saved = keras.saving.load_model(tmp_path / "best.keras")
    for each in (model, saved):
        assert each.evaluate(*batches(), verbose=0)[0] == pytest.approx(history["val_loss"][best], rel=1e-3)
        if "levels" in run or "clusters" in run:
            assert max(distinct(each)) <= 3
        else:
            assert sum(non_zeros(each).values()) == 14


def test_patience_is_counted_in_the_last_retraining():
    """An early stop before is held back; a rate that falls on a plateau begins anew with each phase."""
    model = dense_model(SGD(0.0))
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", patience=3, factor=0.5)
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=2)
    history = fit(model, stopping, plateau, ka.ADMMPrune([0.5, 0.9], recipe="paper", penalty=NO_PULL), epochs=20)
    # Four phases of five epochs: the last begins with epoch 16, whose figures nothing is better than.
    assert len(history["loss"]) == 18
    assert sum(non_zeros(model).values()) == 14


def test_subclasses_of_early_stopping_do_what_is_theirs():
    class Mine(keras.callbacks.EarlyStopping):
        begun, seen = 0, 0

        def on_train_begin(self, logs=None):
            super().on_train_begin()
            self.begun += 1

        def on_epoch_end(self, epoch, logs=None):
            self.seen += 1
            super().on_epoch_end(epoch, logs)

    mine = Mine("val_loss", patience=1)
    fit(dense_model(SGD(0.0)), mine, ka.ADMMPrune(0.5, recipe="paper", penalty=NO_PULL))
    assert (mine.begun, mine.seen) == (1, 5)
    assert "on_epoch_end" not in vars(mine)


def test_a_threshold_stays_and_the_best_of_another_fit_goes(tmp_path):
    def saved(checkpoint):
        (tmp_path / "best.keras").unlink(missing_ok=True)
        fit(dense_model(SGD(0.0)), ka.ADMMPrune(0.9, penalty=NO_PULL), checkpoint, epochs=2)
        return (tmp_path / "best.keras").exists()

    path = tmp_path / "best.keras"
    assert not saved(keras.callbacks.ModelCheckpoint(path, save_best_only=True, initial_value_threshold=1e-9))
    used = keras.callbacks.ModelCheckpoint(path, save_best_only=True)
    fit(dense_model(SGD(0.0)), used, epochs=2)
    used.best = 1e-9
    assert saved(used)


def test_without_retraining_a_checkpoint_is_warned_of_and_the_model_ends_in_the_set(tmp_path):
    model, checkpoint = dense_model(), keras.callbacks.ModelCheckpoint(tmp_path / "m.keras")
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True)
    with warned() as said:
        fit(model, ka.ADMMPrune(0.9, retrain_epochs=0), checkpoint, stopping, epochs=3)
    assert re.search("ModelCheckpoint needs an epoch of retraining.*Received: retrain_epochs=0. Retrain", said[0])
    assert sum(non_zeros(model).values()) == 14


@every_backend
def test_averages_that_are_swapped_in_end_exactly_sparse():
    model = dense_model(keras.optimizers.Adam(0.01, use_ema=True))
    fit(model, ka.ADMMPrune(0.9), keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    assert sum(non_zeros(model).values()) == 14
    with warned() as said:
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        fit(dense_model(keras.optimizers.Adam(0.01, use_ema=True)), swap, ka.ADMMPrune(0.9), epochs=2)
    assert re.search("before SwapEMAWeights .* other weights than the trained ones. Received: SwapEMA", said[0])


def test_loggers_before_us_are_warned_of(tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    with warned() as said:
        fit(dense_model(), log, ka.ADMMPrune(0.5), epochs=2)
    assert re.search("must stand before CSVLogger .* Received: CSVLogger first. Change", said[0])


@every_backend
def test_the_figures_of_each_layer_are_logged_where_wanted(tmp_path):
    model = dense_model()
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = fit(model, ka.ADMMPrune([0.5, 0.9], recipe="paper", log_layers=True), log, epochs=8)
    with open(tmp_path / "log.csv") as file:
        (first, *_, last) = csv.DictReader(file)
    chosen = weights.select(model)
    for name in chosen:
        assert float(last[f"sparsity/{name}"]) == history[f"sparsity/{name}"][-1]
        assert (
            history[f"sparsity/{name}"][-1]
            == 1 - np.count_nonzero(weights.read(chosen[name])) / weights.read(chosen[name]).size
        )
        assert float(first[f"admm_primal/{name}"]) > 0 == float(last[f"admm_primal/{name}"])
        assert [v > 0 for v in history[f"admm_dual/{name}"]] == [v > 0 for v in history["admm_dual"]]
    assert not [name for name in fit(dense_model(), ka.ADMMPrune(0.5), epochs=2) if "/" in name]


@pytest.mark.tensorflow_only
def test_tensorboard_has_the_figures_of_each_layer(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="of the extra 'test'")
    model = dense_model()
    fit(model, ka.ADMMPrune(0.5, log_layers=True), keras.callbacks.TensorBoard(tmp_path), epochs=4)
    written = events.EventAccumulator(str(tmp_path / "train")).Reload()
    for name in weights.select(model):
        assert len(written.Tensors(f"epoch_sparsity/{name}")) == len(written.Tensors(f"epoch_admm_primal/{name}")) == 4
    assert len(written.Tensors("epoch_admm_sparsity")) == 4


def test_a_layers_residual_is_relative_to_its_own_norm():
    """Weights that do not train: 3, 4 and 12, 5, of which a half is cut each."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="a"), layers.Dense(2, name="b")], name="m")
    model.compile(SGD(0.0), "mse", jit_compile=False)
    model.set_weights([np.array(w) for w in ([[3.0], [4.0]], [0.0], [[12.0, 5.0]], [0.0, 0.0])])
    prune = ka.ADMMPrune(0.5, allocation="uniform", log_layers=True, admm_epochs=1, penalty="gradient", path="constant")
    logs = model.fit(np.ones((4, 2)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=[prune]).history
    assert logs["admm_primal/m/a/kernel"][0] == pytest.approx(3 / 5)
    assert logs["admm_primal/m/b/kernel"][0] == pytest.approx(5 / 13)
    assert logs["admm_primal"][0] == pytest.approx((3**2 + 5**2) ** 0.5 / (5**2 + 13**2) ** 0.5)


@every_backend
def test_the_figures_right_after_a_projection(capsys):
    model = dense_model(SGD(0.01), metrics=["mae"])
    prune = ka.ADMMPrune([0.5, 0.9], recipe="paper", verbose=1)
    history = fit(model, prune, epochs=8)
    first, second = json.loads(json.dumps(prune.projections))
    assert (first["epoch"], first["step"], second["epoch"], second["step"]) == (2, 1, 6, 2)
    assert first["before"] == pytest.approx({k: history[k][1] for k in ("val_loss", "val_mae")})
    assert second["after"].keys() == second["before"].keys()
    assert second["after"]["val_loss"] != second["before"]["val_loss"]
    assert re.search(r"step 2, projected after epoch 6: .*val_loss \d.* -> \d", capsys.readouterr().out)
    fit(dense_model(), prune, epochs=4, validation_data=None)
    assert prune.projections[0]["after"] == {} and "no validation data" in capsys.readouterr().out


PATHS = [
    (ka.ADMMPrune, dict(sparsity=0.9, path="constant"), 14, "0.9000"),
    (ka.ADMMPrune, dict(sparsity=0.75, path="geometric", admm_epochs=4), 70, "0.5000"),
    (ka.ADMMPrune, dict(sparsity=[0.5, 0.9], admm_epochs=[1, 4], retrain_epochs=1, path="cubic"), 70, "0.5000"),
]


@every_backend
@pytest.mark.parametrize("end", ["stop", "interrupt", "error in a batch"])
@pytest.mark.parametrize("cls, kwargs, kept, sparsity", PATHS)
def test_a_fit_that_ends_early_is_projected_on_its_present_target(cls, kwargs, kept, sparsity, end):
    def fail(model):
        raise KeyboardInterrupt if end == "interrupt" else RuntimeError("mine")

    model, prune = dense_model(SGD(0.01)), cls(**kwargs)
    with warned() as said:
        if end == "stop":
            fit(model, prune, At(1, stop, batch=True), epochs=8)
        else:
            try:
                fit(model, prune, At(2, fail, batch=end != "interrupt"), epochs=8)
            except (KeyboardInterrupt, RuntimeError):
                pass
    sentence = rf"Received: a fit that .* in the admm phase of step \d of \d, after 2 epoch\(s\).*{sparsity}. Fit for"
    assert re.search(sentence, said[0])
    assert sum(non_zeros(model).values()) == kept
    model.fit(*batches(), verbose=0)
    prune.engine.project()
    assert sum(non_zeros(model).values()) == round(140 * (1 - prune.plan.steps[-1].target.sparsity))


@every_backend
@pytest.mark.parametrize("interrupted", [False, True])
def test_an_end_in_the_last_retraining_is_whole(interrupted):
    def interrupt(model):
        raise KeyboardInterrupt

    model = dense_model()
    with warned() as said:
        try:
            fit(model, ka.ADMMPrune(0.9), At(4, interrupt if interrupted else stop))
        except KeyboardInterrupt:
            assert interrupted
    assert not said
    assert sum(non_zeros(model).values()) == 14


@every_backend
@pytest.mark.parametrize("epoch, run", rows(lambda epoch, run: run == "two steps" or epoch == 1 and HERE, [1, 5], RUNS))
def test_after_nan_nothing_is_projected_and_the_model_is_released(run, epoch):
    def poison(model):
        weights.write(model.layers[0].kernel, np.full((8, 10), np.nan))

    model = dense_model()
    before = len(model.optimizer.variables)
    with warned() as said:
        fit(model, RUNS[run](), At(epoch, poison), epochs=8)
    assert len(said) == 1 and re.search("must stay finite.*Training stops. Nothing is projected", said[0])
    assert not [v.path for v in model.optimizer.variables[before:] if "admm" in v.path]
    assert "apply" not in vars(model.optimizer)


class Aux(keras.Model):
    """A layer that only a training step calls."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.aux = layers.Dense(6), layers.Dense(6), layers.Dense(4)

    def call(self, x, training=False):
        h = self.first(x)
        if training:
            self.add_loss(1e-3 * ops.mean(ops.square(self.aux(h))))
        return self.last(h)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="fit itself builds the optimizer before, elsewhere")
@pytest.mark.filterwarnings("ignore:.build.*was called on layer")
def test_variables_that_a_training_step_makes_are_made_before():
    model = Aux()
    model(batches()[0][:2])
    model.compile("adam", "mse", jit_compile=False)
    fit(model, ka.ADMMPrune(0.5))
    assert len(non_zeros(model)) == 3 and sum(non_zeros(model).values()) == (48 + 36 + 24) // 2


@every_backend
def test_a_model_without_an_input_shape_is_built_from_the_first_batch():
    model = keras.Sequential([layers.Dense(10), layers.Dense(6)])
    model.compile("adam", "mse", jit_compile=False)
    fit(model, ka.ADMMPrune(0.9))
    assert sum(non_zeros(model).values()) == 14
