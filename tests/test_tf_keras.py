"""Models of tf_keras: the same callback in their fit, the same exactness, the same clean-up."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import rows

import keras_admm as ka
from keras_admm import weights
from keras_admm.constraints import Sparse

tk = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.tensorflow_only

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 8)).astype("float32"), RNG.normal(size=(32, 3)).astype("float32")
dense = tk.layers.Dense

PULLS = {
    "gradient": ka.penalties.GradientPenalty(rho=0.1),
    "proximal": ka.penalties.ProximalPenalty(rho=0.1),
}


def sequential():
    return tk.Sequential([tk.Input((8,)), dense(6, activation="relu"), tk.layers.BatchNormalization(), dense(3)])


def functional():
    inputs = tk.Input((8,))
    shared = dense(8, activation="tanh", name="shared")
    return tk.Model(inputs, dense(3)(tk.layers.add([shared(shared(inputs)), inputs])))


def nested():
    inner = tk.Sequential([tk.Input((8,)), dense(6, activation="relu"), dense(5)])
    return tk.Sequential([tk.Input((8,)), inner, dense(3)])


def recurrent():
    cells = [tk.layers.Reshape((4, 2)), tk.layers.Bidirectional(tk.layers.LSTM(4, return_sequences=True))]
    return tk.Sequential([tk.Input((8,)), *cells, tk.layers.Conv1D(3, 2), tk.layers.GRU(3)])


def embedding():
    steps = [tk.layers.Lambda(lambda x: x > 0), tk.layers.Embedding(2, 7), tk.layers.Flatten(), dense(3)]
    return tk.Sequential([tk.Input((8,)), *steps])


class Subclassed(tk.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = dense(7, activation="relu"), dense(3)

    def call(self, x):
        return self.second(self.first(x))


class Auxiliary(Subclassed):
    """A head that only training calls."""

    def __init__(self):
        super().__init__()
        self.aside = dense(4)

    def call(self, x, training=False):
        if training:
            self.add_loss(keras.ops.mean(self.aside(x) ** 2))
        return super().call(x)


class OwnStep(Subclassed):
    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        return {"loss": loss}


def built(kind):
    model = kind()
    model(X[:1])
    return model


def kept(model, layers=None):
    return sum(int(np.count_nonzero(weights.read(v))) for v in weights.select(model, layers).values())


def size(model):
    return sum(weights.read(v).size for v in weights.select(model).values())


class Kept(keras.callbacks.Callback):
    """What the retraining keeps, batch by batch; a callback of tf_keras in all but name."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def _implements_train_batch_hooks(self):
        return True

    _implements_test_batch_hooks = _implements_predict_batch_hooks = lambda self: False

    def on_train_batch_end(self, batch, logs=None):
        self.counts.append(kept(self.model))


KINDS = [sequential, functional, nested, recurrent, embedding, Subclassed, OwnStep]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_ends_exactly_sparse(kind):
    model, watch = built(kind), Kept()
    model.compile(tk.optimizers.Adam(0.01), "mse")
    before = list(model.variables)
    history = model.fit(X, Y, epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.8, admm_epochs=2), watch]).history
    promised = round(0.2 * size(model))
    assert kept(model) == promised
    assert set(watch.counts[len(watch.counts) // 2 :]) == {promised}
    assert np.isclose(history["sparsity"][-1], 1 - promised / size(model))
    assert [id(v) for v in model.variables] == [id(v) for v in before]


def test_what_only_training_calls_is_compressed_too():
    model = built(Auxiliary)
    model.compile("adam", "mse")
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.75)])
    assert len(weights.select(model)) == 3 and kept(model) == size(model) // 4


OPTIMIZERS = {
    "SGD": lambda: tk.optimizers.SGD(0.01, momentum=0.9),
    "AdamW": lambda: tk.optimizers.AdamW(0.01, weight_decay=0.1),
    "averages": lambda: tk.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "clipped": lambda: tk.optimizers.Adam(0.01, global_clipnorm=0.1),
    "legacy": lambda: tk.optimizers.legacy.Adam(0.01),
    "scaled": lambda: tk.mixed_precision.LossScaleOptimizer(tk.optimizers.Adam(0.01)),
    "schedule": lambda: tk.optimizers.Adam(tk.optimizers.schedules.ExponentialDecay(0.01, 2, 0.9)),
}


@pytest.mark.parametrize(
    "penalty, optimizer",
    rows(
        lambda penalty, name: penalty == "gradient" or name in ("SGD", "averages", "scaled"),
        ["gradient", "proximal"],
        OPTIMIZERS,
    ),
)
def test_every_optimizer(optimizer, penalty):
    model = built(sequential)
    model.compile(OPTIMIZERS[optimizer](), "mse")
    steps = [0.5, 0.8] if optimizer == "SGD" else [0.8]
    prune = ka.ADMMPrune(steps, recipe="paper", penalty=PULLS[penalty])
    model.fit(X, Y, epochs=2 * len(steps), batch_size=16, verbose=0, callbacks=[prune])
    assert kept(model) == round(0.2 * size(model))


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}], ids=str)
def test_every_way_to_compile(options):
    model = built(sequential)
    model.compile("adam", "mse", **options)
    model.fit(X, Y, epochs=1, verbose=0)  # a function that was traced before must see the run as well
    model.fit(X, Y, epochs=4, verbose=0, batch_size=8, callbacks=[ka.ADMMPrune(0.8)])
    assert kept(model) == round(0.2 * size(model))


@pytest.mark.parametrize(
    "optimizer, retraining",
    rows(
        lambda optimizer, retraining: optimizer == "SGD" or retraining == "straight_through",
        ["SGD", "legacy", "scaled"],
        ["snap", "straight_through", "shared_values"],
    ),
)
def test_weights_end_on_levels(optimizer, retraining):
    model = built(sequential)
    model.compile(OPTIMIZERS[optimizer](), "mse")
    model.fit(X, Y, epochs=4, verbose=0, callbacks=[ka.ADMMQuantize(2, first_last="same", retraining=retraining)])
    assert all(len(np.unique(weights.read(v))) <= 3 for v in weights.select(model).values())


def test_the_pull_is_the_formula():
    """Without data in the gradient, W - Z shrinks by 1 - lr * rho at every step of SGD."""
    model = tk.Sequential([tk.Input((4,)), dense(2, use_bias=False)])
    model.compile(tk.optimizers.SGD(0.1), lambda y_true, y_pred: 0.0 * y_pred)
    start = np.array([[1.0, 0.1], [0.2, 2.0], [0.3, 3.0], [4.0, 0.4]], "float32")
    model.set_weights([start])
    run = ka.ADMM(Sparse(0.5), admm_epochs=1, retrain_epochs=0, penalty=ka.penalties.GradientPenalty(rho=0.5))
    seen = []
    look = tk.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(model.get_weights()[0]))
    model.fit(np.ones((8, 4)), np.ones((8, 2)), batch_size=4, epochs=1, verbose=0, callbacks=[run, look])
    z = np.where(start > 0.5, start, 0)
    np.testing.assert_allclose(seen[0], z + 0.95 * (start - z), rtol=1e-6)
    np.testing.assert_allclose(seen[1], z + 0.95**2 * (start - z), rtol=1e-6)


def untouched(model):
    return {
        "hook": "apply_gradients" not in model.optimizer.__dict__,
        "guard": "make_train_function" not in model.__dict__,
        "constraints": all(v.constraint is None for v in model.trainable_variables),
    }


class Broken(tk.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:.*must pass its last projection:UserWarning")
@pytest.mark.parametrize("interrupted", [False, True])
def test_nothing_is_left_behind(interrupted):
    model = tk.Sequential([tk.Input((8,)), dense(3)])  # one layer: no unit can be dead for good
    model.compile(tk.optimizers.Adam(0.05), "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    names = [v.name for v in model.optimizer.variables()]
    prune = ka.ADMMPrune(0.8, learning_rate={"admm": 0.01})
    try:
        model.fit(X, Y, epochs=4, verbose=0, callbacks=[prune, *([Broken()] if interrupted else [])])
    except KeyboardInterrupt:
        assert interrupted
    model.fit(X, Y, epochs=2, verbose=0)
    assert kept(model) == size(model)
    assert all(untouched(model).values()), untouched(model)
    assert [v.name for v in model.optimizer.variables()] == names
    assert np.isclose(float(model.optimizer.learning_rate), 0.05)


def test_other_callbacks_are_told_of_a_new_phase(tmp_path):
    model = built(sequential)
    model.compile("adam", "mse")
    best = tk.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="loss", save_best_only=True)
    patient = tk.callbacks.EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
    model.fit(X, Y, epochs=6, verbose=0, callbacks=[ka.ADMMPrune(0.8), best, patient])
    assert kept(tk.models.load_model(tmp_path / "best.keras")) == round(0.2 * size(model))


def test_a_frozen_layer_is_not_compressed():
    model = built(nested)
    model.layers[0].layers[0].trainable = False
    with pytest.warns(UserWarning, match="of frozen layers are not trained, so not compressed"):
        assert len(weights.select(model)) == 2
    with pytest.raises(ValueError, match="only trainable variables"):
        weights.select(model, layers=model.layers[0].layers[0])


CHOICES = {
    "layer": (lambda m: m.layers[-1], 18),
    "variable": (lambda m: m.layers[0].kernel, 48),
    "pattern": (lambda m: "dense*", 66),
    "callable": (lambda m: lambda v: v.shape[0] == 8 and len(v.shape) == 2, 48),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_choices(choice):
    model = built(sequential)
    choose, count = CHOICES[choice]
    assert sum(weights.read(v).size for v in weights.select(model, choose(model)).values()) == count


def test_the_report_counts_it():
    model = built(sequential)
    assert ka.report(model).total.weights == 66


def test_a_regularizers_slot_is_refused():
    model = built(sequential)
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="a tf_keras model"):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.5, penalty="loss")])


@pytest.mark.parametrize("make", [lambda: ka.ADMMLowRank(2), lambda: ka.TRP(energy=0.9)])
def test_low_rank_is_refused(make):
    model = built(sequential)
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="`model` must be a model of Keras 3.*a model of tf_keras. Load it with Keras"):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[make()])


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="a model of tf_keras needs the TensorFlow backend. Received: the jax"):
        ka.report(built(sequential))


@pytest.mark.nightly
def test_another_backend_is_refused_in_a_fresh_process():
    code = (
        "import tf_keras, keras_admm\n"
        "model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2)])\n"
        "keras_admm.report(model)"
    )
    env = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "ValueError: sequential: a model of tf_keras needs the TensorFlow backend. Received: the jax" in run.stderr


def test_z_and_u_move_within_epochs():
    asked = []

    def sets(arrays, fraction):
        asked.append(round(fraction, 3))
        return dict.fromkeys(arrays, Sparse(0.5))

    model = built(sequential)
    model.compile("sgd", "mse")
    run = ka.ADMM(sets, admm_epochs=1, update_every="1 step")
    model.fit(X, Y, batch_size=len(X) // 2, epochs=2, verbose=0, callbacks=[run])
    assert asked[asked.index(0.0, 1) + 1 :] == [0.5, 1.0, 1.0]  # two batches, the projection


def test_the_progress_bar_shows_the_phase(capsys):
    model = built(sequential)
    model.compile(tk.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, epochs=2, verbose=2, callbacks=[ka.ADMMPrune(0.5, log_layers=True)])
    bars = re.findall(r"phase: (\w+) - (.*)", capsys.readouterr().out)
    assert [phase for phase, _ in bars] == ["ADMM", "retraining"]
    assert (
        bars[0][1].startswith("admm_sparsity: 0.5000 - admm_primal: ")
        and bars[1][1].startswith("sparsity: 0.5")
        and "admm" not in bars[1][1]
    )
