"""Runs that are killed and resumed, for every kind of target and every way there: they end as if nothing had been."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import targets
from targets import TARGETS, VALUES

import keras_admm as ka

pytestmark = [
    pytest.mark.tensorflow_only,
    pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning"),  # a killed process says nothing
]

EPOCHS = 8
PENALTIES = ("gradient", "proximal", "loss")
RETRAININGS = ("straight_through", "snap", "shared_values")
OTHERWISE = {
    "free": {"penalty": ka.penalties.GradientPenalty(penalize_kept=False)},
    "balance": {"penalty": ka.penalties.GradientPenalty(rho_growth="balance", rescale_dual=False)},
    "every two": {"update_every": 2},
    "rates": {"learning_rate": {"admm": 0.02, "retrain": 0.005}},
}
# Of each combination what is done otherwise than by default.
WAYS = {(target, p): {"penalty": p} for target in TARGETS for p in PENALTIES}
WAYS |= {(target, r): {"retraining": r} for target in VALUES for r in RETRAININGS}
WAYS |= {(target, how): OTHERWISE[how] for target in ("list of sparsities", "bits", "clusters") for how in OTHERWISE}
GATE = [("geometric path", "gradient"), ("bits", "straight_through"), ("clusters", "shared_values"), ("joint", "snap")]
GATE += [("clusters and 0", "straight_through"), ("parameters", "gradient"), ("bytes", "gradient")]


class Killed(BaseException):
    """Ends a run in the process of the tests: nothing of it is used afterwards."""


def kill(run, *args):
    """Calls a function that is killed, and keeps nothing of it, as an `ExceptionInfo` would."""
    try:
        run(*args)
    except Killed:
        return
    raise AssertionError("not killed")


class Copy(keras.callbacks.Callback):
    """Copies the states as each epoch begins to another folder: what a run leaves that is killed in it."""

    def __init__(self, states, to):
        super().__init__()
        self.states, self.to, self.begun = states, to, []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)
        if self.to:
            shutil.copytree(self.states, self.to / str(epoch))


def run(way, folder, to=None, begins_with=None):
    """How a run ended: all values of the model and its optimizer, the logs of its last epoch, the epochs it had."""
    keras.backend.clear_session(free_memory=False)  # names, which the file that a budget counts has, begin anew
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8)), rng.normal(size=(16, 6))
    model, copy = targets.model(), Copy(folder, to)
    for variable, value in zip(model.variables, begins_with or (), strict=False):
        variable.assign(value)
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    callbacks = [TARGETS[way[0]](**WAYS[way], backup_dir=folder), copy]
    logs = model.fit(x, y, epochs=EPOCHS, batch_size=16, shuffle=False, verbose=0, callbacks=callbacks).history
    values = [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]
    return values, {name: figures[-1] for name, figures in logs.items()}, copy.begun


def assert_resumed_runs_end_alike(way, folder, epochs):
    """From what each of these epochs left when it was killed; the model is as a run that was interrupted leaves it."""
    whole, logs, _ = run(way, folder / "run", folder)
    for epoch in epochs:
        values, its, begun = run(way, folder / str(epoch), begins_with=whole)
        assert begun == list(range(epoch, EPOCHS)) and its == logs
        for value, expected in zip(values, whole, strict=True):
            np.testing.assert_array_equal(value, expected, err_msg=f"killed in epoch {epoch}")


@pytest.mark.parametrize("way", GATE, ids="-".join)
def test_a_run_that_is_killed_ends_alike(way, tmp_path):
    """As a phase begins, and in the last one."""
    assert_resumed_runs_end_alike(way, tmp_path, (4, 7))


@pytest.mark.nightly
@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_a_run_that_is_killed_in_any_epoch_ends_alike(way, tmp_path):
    assert_resumed_runs_end_alike(way, tmp_path, range(1, EPOCHS))


def own_optimizers(library, compiled, eager=True):
    """A model whose `train_step` applies gradients by optimizers of its own, which it builds when it first does."""

    class Own(library.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = library.layers.Dense(8, name="a"), library.layers.Dense(6, name="b")
            self.first, self.second = library.optimizers.Adam(0.01), library.optimizers.RMSprop(0.01)

        def call(self, x):
            return self.b(self.a(x))

        def train_step(self, data):
            import tensorflow as tf

            x, y = data
            with tf.GradientTape(persistent=True) as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            for optimizer, layer in ((self.first, self.a), (self.second, self.b)):
                variables = layer.trainable_weights
                optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return {"loss": loss}

    model = Own()
    model(np.zeros((1, 8), "float32"))
    model.compile(*(["sgd"] if compiled else []), run_eagerly=eager)
    if not compiled:
        model.optimizer = None
    return model


@pytest.mark.parametrize(
    "library, compiled, named, layers",
    [
        ("keras", True, False, None),
        ("keras", False, False, "a"),  # what the other optimizer trains is none of our affair
        pytest.param("keras", False, True, None, marks=pytest.mark.nightly),
        pytest.param("tf_keras", True, True, None, marks=pytest.mark.nightly),
        pytest.param("tf_keras", False, False, "a", marks=pytest.mark.nightly),
    ],
)
def test_optimizers_that_are_not_yet_built_go_on_as_well(library, compiled, named, layers, tmp_path):
    library = pytest.importorskip(library)
    x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")

    def fit(folder, at=None):
        library.utils.set_random_seed(0)
        model, begun = own_optimizers(library, compiled), []

        class Die(library.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                begun.append(epoch)
                if epoch == at:
                    raise Killed

        optimizer = {"a": model.first, "b": model.second} if named else "auto"
        prune = ka.ADMMPrune([0.5, 0.8], layers=layers, optimizer=optimizer, backup_dir=folder)
        model.fit(x, x[:, :6], epochs=EPOCHS, batch_size=8, shuffle=False, verbose=0, callbacks=[prune, Die()])
        return [keras.ops.convert_to_numpy(v) for v in model.variables], begun

    for at in (3, 6):
        kill(fit, tmp_path / "run", at)
        values, begun = fit(tmp_path / "run")
        assert begun == list(range(at, EPOCHS))
        for value, expected in zip(values, fit(None)[0], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_each_target_is_known_again_by_another_process():
    """And by none that is another one's."""
    mine = targets.identities()
    child = subprocess.run(
        [sys.executable, targets.__file__],
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONHASHSEED": "7"},  # which is there the soonest
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == mine
    assert len(set(mine.values())) == len(mine)
