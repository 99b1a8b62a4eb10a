"""The pull and the zeros, through every set-up of a fit; and nothing left behind."""

import gc
import warnings

import keras
import numpy as np
import pytest
from cases import rows, some
from keras import ops

from keras_admm import attach, penalties, weights
from keras_admm.attach import Hold

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
RATE = 0.1


def nothing(y, p):
    """A loss without a gradient: the pull alone moves the weights."""
    return 0.0 * ops.mean(p, axis=-1)


def model_of(optimizer, loss=nothing, dtype=None, **compile_kwargs):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, dtype=dtype, name="a")])
    model.compile(optimizer, loss, **compile_kwargs)
    return model


def batches(n=16):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 6)).astype("float32"), rng.normal(size=(n, 5)).astype("float32")


# What becomes of a penalty's pull.
RULES = {
    "pull": lambda pull: pull,
    "both": attach.HeldAtZero,
    "hold": lambda pull: attach.HeldAtZero(),
}


class Pull(keras.callbacks.Callback):
    """Pulls the kernel to a target that moves with every epoch, holds some weights, and records the kernel."""

    def __init__(self, penalty="gradient", held=None, move=True, mode=None):
        super().__init__()
        self.penalty, self.held, self.move, self.mode = penalty, held, move, mode
        self.targets = np.random.default_rng(2).normal(size=(10, 6, 5)).astype("float32")
        self.kernels = []

    def on_train_begin(self, logs=None):
        penalty = penalties.get(self.penalty)
        self.hold = Hold(self.model, weights.select(self.model), self.model.optimizer)
        if penalty.in_loss:
            self.hold.add_to_loss()
        ((self.name, self.state),) = self.hold.states.items()
        self.hold.set_rules({self.name: RULES[self.mode or ("pull" if self.held is None else "both")](penalty.rule())})

    def on_epoch_begin(self, epoch, logs=None):
        moved = epoch if self.move else 0
        self.hold.rules[self.name].set_target(attach.marked(self.targets[moved], self.held))
        self.state.rho.assign(0.5 + 0.25 * moved)
        self.kernels.append(weights.read(self.model.layers[0].kernel))

    def on_train_end(self, logs=None):
        self.kernels.append(weights.read(self.model.layers[0].kernel))
        self.hold.release()


SETUPS = {
    "plain": {},
    "no jit": {"compile": {"jit_compile": False}},
    "eager": {"compile": {"run_eagerly": True}},
    "bfloat16": {"dtype": "mixed_bfloat16"},
    "float16, loss scaling": {"dtype": "mixed_float16"},
    "loss_scale_factor": {"optimizer": {"loss_scale_factor": 8.0}},
    "gradient accumulation": {"optimizer": {"gradient_accumulation_steps": 2}, "moves": 0.5},
    "use_ema": {"optimizer": {"use_ema": True, "ema_overwrite_frequency": None}, "last": False},
    "fitted before": {"before": True},
}
if BACKEND != "torch":  # there torch.compile takes minutes, and Keras has no steps_per_execution
    SETUPS["jit"] = {"compile": {"jit_compile": True}}
    SETUPS["steps_per_execution"] = {"compile": {"steps_per_execution": 2}}


PULLS = [*(("gradient", s) for s in SETUPS), ("proximal", "plain"), ("proximal", "bfloat16"), ("proximal", "eager")]
BOTH = ("plain", "eager", "float16, loss scaling", "gradient accumulation")


@pytest.mark.parametrize(
    "mode, pull", rows(lambda mode, pull: mode == "pull" or pull[1] in BOTH, ["pull", "both"], PULLS)
)
def test_the_pull_is_exact(mode, pull):
    """W follows W <- T + decay * (W - T) to the digit, while T and rho move with the epochs."""
    penalty, setup = pull
    how = SETUPS[setup]
    optimizer = keras.optimizers.SGD(RATE, **how.get("optimizer", {}))
    if how.get("dtype") == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = model_of(optimizer, dtype=how.get("dtype"), **how.get("compile", {}))
    x, y = batches()
    if how.get("before"):
        model.fit(x, y, verbose=0)
    pull = Pull(penalty, mode=mode)
    model.fit(x, y, epochs=4, batch_size=4, verbose=0, callbacks=[pull])
    moves = 4 * (how.get("moves", 1) if penalty == "gradient" else 1)
    for epoch in range(4 if how.get("last", True) else 3):
        rho = 0.5 + 0.25 * epoch
        decay = 1 - RATE * rho if penalty == "gradient" else 1 / (1 + rho)
        target = pull.targets[epoch]
        expected = target + decay**moves * (pull.kernels[epoch] - target)
        np.testing.assert_allclose(pull.kernels[epoch + 1], expected, atol=2e-6)


class Paired(keras.optimizers.SGD):
    """Has two variables of its own beside the momenta, as many as the model has weights."""

    def build(self, variables):
        super().build(variables)
        self.both = [self.add_variable((), name=name) for name in ("a", "b")]


OPTIMIZERS = {
    "SGD": lambda **k: keras.optimizers.SGD(0.1, momentum=0.9, **k),
    "Adam": lambda **k: keras.optimizers.Adam(0.01, **k),
    "AdamW": lambda **k: keras.optimizers.AdamW(0.01, weight_decay=0.1, **k),
    "Lion": lambda **k: keras.optimizers.Lion(0.01, **k),
    "Muon": lambda **k: keras.optimizers.Muon(0.01, **k),
    "Adafactor": lambda **k: keras.optimizers.Adafactor(0.01, **k),
    "Nadam": lambda **k: keras.optimizers.Nadam(0.01, **k),
    "of no weight": lambda **k: Paired(0.1, momentum=0.9, **k),
    "Adam, clipnorm": lambda: keras.optimizers.Adam(0.01, clipnorm=0.1),
    "SGD, global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    "Adam, accumulation": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "Adam, EMA": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
}


def fitted(optimizer, pull=None, regularizer=None):
    keras.utils.set_random_seed(3)
    model = model_of(optimizer, "mse", jit_compile=False)
    model.layers[0].kernel.regularizer = regularizer
    x, y = batches()
    history = model.fit(x, y, epochs=2, batch_size=4, verbose=0, shuffle=False, callbacks=[pull] if pull else [])
    return model, history.history["loss"]


# Backends differ in how they apply gradients, not in what each optimizer makes of them.
ELSEWHERE = ("SGD", "Muon", "SGD, global_clipnorm", "Adam, accumulation", "Adam, EMA")


@pytest.mark.parametrize("name", some(OPTIMIZERS, *ELSEWHERE))
def test_the_hook_equals_the_penalty_in_the_loss(name):
    pull = Pull(move=False)
    target = pull.targets[0]
    hooked, _ = fitted(OPTIMIZERS[name](), pull)
    in_loss, _ = fitted(OPTIMIZERS[name](), regularizer=lambda w: 0.25 * ops.sum(ops.square(w - target)))
    np.testing.assert_allclose(
        weights.read(hooked.layers[0].kernel), weights.read(in_loss.layers[0].kernel), rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize("mode, name", [*(("hold", n) for n in OPTIMIZERS), ("both", "Adam"), ("both", "Muon")])
def test_held_weights_stay_exactly_zero(name, mode):
    held = np.random.default_rng(4).random((6, 5)) < 0.7
    optimizer = OPTIMIZERS[name]()
    model = model_of(optimizer, "mse")
    kernel = model.layers[0].kernel
    weights.write(kernel, np.where(held, 0, weights.read(kernel)))
    pull = Pull(held=held, mode=mode)
    model.fit(*batches(), epochs=3, batch_size=4, verbose=0, callbacks=[pull])
    last = -1 if not optimizer.use_ema else -2  # Keras writes the averages after the last epoch
    for seen in pull.kernels[:last]:
        assert (seen[held] == 0).all()
        assert (seen[~held] != 0).all()


def test_the_loss_stays_the_users_own():
    """... unless it is asked to show the penalty."""
    plain_optimizer, hooked_optimizer = keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0)
    _, plain = fitted(plain_optimizer)
    _, hooked = fitted(hooked_optimizer, Pull())
    assert hooked == pytest.approx(plain, rel=1e-6)
    if BACKEND != "jax":
        _, shown = fitted(keras.optimizers.SGD(0.0), Pull("loss"))
        assert shown[0] > plain[0] + 1


@pytest.mark.skipif(BACKEND == "jax", reason="refused there, see test_engine")
def test_penalty_in_the_loss_pulls_as_the_gradient_does():
    in_gradient, _ = fitted(keras.optimizers.Adam(0.01), Pull("gradient"))
    in_loss, _ = fitted(keras.optimizers.Adam(0.01), Pull("loss"))
    np.testing.assert_allclose(*(weights.read(m.layers[0].kernel) for m in (in_gradient, in_loss)), rtol=2e-5)


def test_no_retrace_when_the_state_moves():
    traces = []

    def counting(y, p):
        traces.append(1)
        return ops.mean(ops.square(y - p), axis=-1)

    model = model_of(keras.optimizers.SGD(RATE), counting)
    model.fit(*batches(), epochs=5, batch_size=4, verbose=0, callbacks=[Pull()])
    several = len(traces)
    model = model_of(keras.optimizers.SGD(RATE), counting)
    traces.clear()
    model.fit(*batches(), epochs=1, batch_size=4, verbose=0, callbacks=[Pull()])
    assert BACKEND == "torch" or several == len(traces)


def traces_left(model):
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return {
        "hook": "apply" in optimizer.__dict__,
        "train function": "make_train_function" in model.__dict__,
        "optimizer variables": [v.name for v in optimizer.variables if "admm" in v.name],
        "model variables": [v.name for v in model.variables if "admm" in v.name],
        "constraints": [v.name for v in model.variables if v.constraint is not None],
        "regularizers": [v.name for v in model.variables if v.regularizer is not None],
    }


def assert_clean(model):
    assert not any(traces_left(model).values()), traces_left(model)


class Held(Pull):
    """A run that is told of the list it is in, as `keras_admm.ADMM` is."""

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self.hold.release_with(attach.running_callbacks(), self.hold.release)


class Fails(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        raise self.error("stop")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["callback", "train step"])
def test_an_exception_leaves_nothing_behind(where, error):
    model = model_of(keras.optimizers.Adam(), "mse", run_eagerly=where == "train step")
    before = len(model.optimizer.variables)
    extra = [Fails(error)] if where == "callback" else []
    if where == "train step":
        model.train_step = lambda *a, **k: (_ for _ in ()).throw(error("stop"))
    try:
        model.fit(*batches(), verbose=0, callbacks=[Held(), *extra])
        raise AssertionError("the fit went on")
    except (ValueError, KeyboardInterrupt):
        if where == "train step":
            assert_clean(model)  # at once, in the handler itself: there the model is saved
    gc.collect()
    assert_clean(model)
    assert len(model.optimizer.variables) >= before


def test_the_next_fit_releases_a_model_whose_fit_died():
    """Where an exception is kept, so are the frames of its fit: the release then comes with the next fit."""
    model = model_of(keras.optimizers.SGD(RATE), "mse")
    kept = None
    try:
        model.fit(*batches(), verbose=0, callbacks=[Held(held=np.ones((6, 5), bool)), Fails(KeyboardInterrupt)])
    except KeyboardInterrupt as error:
        kept = error
    model.fit(*batches(), verbose=0)
    assert kept is not None
    assert_clean(model)
    assert (weights.read(model.layers[0].kernel) != 0).all()


def test_afterwards_the_model_is_as_it_was():
    model = model_of(keras.optimizers.Adam(), "mse")
    own = keras.constraints.MaxNorm(3.0)
    model.layers[0].kernel.constraint = own
    model.fit(*batches(), verbose=0)
    variables = list(model.optimizer.variables)
    model.fit(*batches(), epochs=2, verbose=0, callbacks=[Pull(held=np.ones((6, 5), bool))])
    assert model.layers[0].kernel.constraint is own
    model.layers[0].kernel.constraint = None
    assert_clean(model)
    assert [id(v) for v in model.optimizer.variables] == [id(v) for v in variables]
    model.fit(*batches(), verbose=0)
    assert (weights.read(model.layers[0].kernel) != 0).all()


def test_a_model_saved_afterwards_loads_without_a_warning(tmp_path):
    model = model_of(keras.optimizers.Adam(), "mse")
    model.fit(*batches(), verbose=0, callbacks=[Pull()])
    model.save(tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(weights.read(loaded.layers[0].kernel), weights.read(model.layers[0].kernel))


def test_what_is_carried_is_carried_once():
    model = model_of(keras.optimizers.Adam(), "mse")
    own = type(model.optimizer._variables)
    hold = Hold(model, weights.select(model), model.optimizer)
    variables = model.optimizer.variables
    assert len(variables) == len({id(v) for v in variables})
    hold.release()
    assert type(model.optimizer._variables) is own


def test_one_run_at_a_time():
    model = model_of(keras.optimizers.Adam(), "mse")
    chosen = weights.select(model)
    hold = Hold(model, chosen, model.optimizer)
    with pytest.raises(ValueError, match="one run at a time can hold a model's optimizer. Received: .*release"):
        Hold(model, chosen, model.optimizer)
    hold.release()
    assert_clean(model)


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "Adafactor", "Muon", "Nadam", "of no weight", "Adam, accumulation", "Adam, EMA"]
)
def test_renewed_slots_are_those_of_a_new_optimizer(name):
    model, _ = fitted(OPTIMIZERS[name]())
    optimizer = model.optimizer
    new = OPTIMIZERS[name]()
    new.build(model.trainable_variables)
    hold = Hold(model, weights.select(model), optimizer)
    iterations = int(optimizer.iterations)
    hold.renew_optimizers()
    hold.release()
    assert int(optimizer.iterations) == iterations > 0
    for mine, theirs in zip(optimizer.variables[2:], new.variables[2:], strict=True):
        expected = ops.convert_to_numpy(theirs)
        if "average" in mine.name:
            expected = next(ops.convert_to_numpy(v) for v in model.trainable_variables if v.name in mine.name)
        np.testing.assert_array_equal(ops.convert_to_numpy(mine), expected)


def test_slots_are_renewed_for_a_few_weights_at_a_time(monkeypatch):
    model = keras.Sequential([keras.Input((6,)), *(keras.layers.Dense(6) for _ in range(4)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(), "mse")
    hold, build, built = Hold(model, weights.select(model), model.optimizer), keras.optimizers.Adam.build, []

    def recorded(self, variables):
        built.append([tuple(v.shape) for v in variables])
        build(self, variables)

    monkeypatch.setattr(keras.optimizers.Adam, "build", recorded)
    hold.renew_optimizers()
    hold.release()
    assert sum(built[1:], []) == [tuple(v.shape) for v in model.trainable_variables]  # the first tells what it has
    assert all(sum(map(np.prod, shapes)) <= 36 for shapes in built)


def test_the_learning_rate_is_lent():
    model = model_of(keras.optimizers.Adam(0.125), "mse")
    hold = Hold(model, weights.select(model), model.optimizer)
    hold.set_learning_rate(0.5)
    hold.set_learning_rate(0.25)
    assert float(model.optimizer.learning_rate) == 0.25
    hold.release()
    assert float(model.optimizer.learning_rate) == 0.125


class CustomStep(keras.Model):
    """A model with a `train_step` of its own, as Keras's guides write it for each backend."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5, name="a")

    def call(self, x):
        return self.dense(x)

    if BACKEND == "tensorflow":

        def train_step(self, data):
            import tensorflow as tf

            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
            )
            return {"loss": loss}

    if BACKEND == "torch":

        def train_step(self, data):
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            loss.backward()
            import torch

            variables = list(self.trainable_weights)
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in variables], variables)
            return {"loss": loss}

    if BACKEND == "jax":

        def train_step(self, state, data):
            import jax

            trainable, rest, optimizer, metrics = state
            x, y = data

            def loss_of(trainable):
                p, new = self.stateless_call(trainable, rest, x)
                return self.compute_loss(y=y, y_pred=p), new

            (loss, rest), grads = jax.value_and_grad(loss_of, has_aux=True)(trainable)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
            return {"loss": loss}, (trainable, rest, optimizer, metrics)


@pytest.mark.parametrize("before", [False, True])
def test_a_train_step_of_ones_own(before):
    model = CustomStep()
    model(batches()[0])
    model.compile(keras.optimizers.SGD(RATE), nothing)
    if before:
        model.fit(*batches(), verbose=0)

    class PullDense(Pull):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch)

    pull = PullDense()
    model.fit(*batches(), epochs=3, batch_size=4, verbose=0, callbacks=[pull])
    for epoch in range(3):
        target, decay = pull.targets[epoch], 1 - RATE * (0.5 + 0.25 * epoch)
        expected = target + decay**4 * (pull.kernels[epoch] - target)
        np.testing.assert_allclose(pull.kernels[epoch + 1], expected, atol=2e-6)


def test_the_callback_list_is_found():
    found = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            found.append(attach.running_callbacks())

    look = Look()
    model_of(keras.optimizers.SGD(), "mse").fit(*batches(), verbose=0, callbacks=[look])
    assert look in found[0].callbacks
    assert attach.running_callbacks() is None
