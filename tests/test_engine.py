"""The same run in loops written by hand, one for each backend, and with a Keras optimizer in a loop."""

import contextlib
import re
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm import Engine, Plan, Step, weights
from keras_admm.constraints import Levels, Set, Sparse, Support
from keras_admm.engine import duals
from keras_admm.penalties import GradientPenalty
from keras_admm.plan import PruningTarget

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
RATE = 0.05


def step(target, admm, retrain):
    return Step(target=target, admm_epochs=admm, retrain_epochs=retrain)


def one(target, admm, retrain, **how):
    return Plan(steps=[step(target, admm, retrain)], **how)


def model_and_data():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10), keras.layers.Dense(6)])
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(32, 8)).astype("float32"), rng.normal(size=(32, 6)).astype("float32")
    return model, [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]


def tensorflow_loop(model, engine, data):
    import tensorflow as tf

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2) + engine.penalty()
        variables = [v.value for v in model.trainable_variables]
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(RATE * gradient)
        engine.hold()

    while not engine.done:
        for x, y in data:
            train_step(x, y)
        yield engine.end_epoch()


def jax_loop(model, engine, data):
    import jax

    # Arguments of the step, or JAX compiles them in.
    moving = [v for state in engine.rule_states.values() for v in state.variables]

    def loss_of(trained, moved, x, y):
        mapping = [*zip(model.trainable_variables, trained, strict=True), *zip(moving, moved, strict=True)]
        with keras.StatelessScope(state_mapping=mapping):
            return ops.mean((model(x, training=True) - y) ** 2) + engine.penalty()

    @jax.jit
    def train_step(trained, moved, x, y):
        gradients = jax.grad(loss_of)(trained, moved, x, y)
        return [w - RATE * g for w, g in zip(trained, gradients, strict=True)]

    while not engine.done:
        for x, y in data:
            trained = [v.value for v in model.trainable_variables]
            for variable, value in zip(
                model.trainable_variables, train_step(trained, [v.value for v in moving], x, y), strict=True
            ):
                variable.assign(value)
            engine.hold()
        yield engine.end_epoch()


def torch_loop(model, engine, data):
    import torch

    optimizer = torch.optim.SGD([v.value for v in model.trainable_variables], RATE)
    while not engine.done:
        for x, y in data:
            optimizer.zero_grad()
            loss = torch.mean((model(x, training=True) - torch.from_numpy(y)) ** 2) + engine.penalty()
            loss.backward()
            optimizer.step()
            engine.hold()
        yield engine.end_epoch()


LOOPS = {"tensorflow": tensorflow_loop, "jax": jax_loop, "torch": torch_loop}
PLAN = Plan(
    steps=[
        Step(target=PruningTarget(0.5), admm_epochs=2, retrain_epochs=1),
        Step(target=PruningTarget(0.9, start=0.5), admm_epochs=2, retrain_epochs=2),
    ],
    penalty=GradientPenalty(rho=0.1),
)


def fit(model, data, plan):
    """The same run in `fit`."""
    import keras_admm as ka

    model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=False)
    x, y = (np.concatenate(part) for part in zip(*data, strict=True))
    callback = ka.ADMM(list(plan.steps), penalty=plan.penalty)
    return model.fit(x, y, batch_size=8, epochs=7, shuffle=False, verbose=0, callbacks=[callback]).history


def test_a_loop_of_ones_own_does_what_fit_does():
    model, data = model_and_data()
    same = keras.models.clone_model(model)
    same.set_weights(model.get_weights())
    engine = Engine(model, PLAN, optimizer=None)
    engine.begin()
    progress = list(LOOPS[BACKEND](model, engine, data))
    assert engine.finish()
    history = fit(same, data, PLAN)
    assert [p.sparsity for p in progress] == pytest.approx(history["sparsity"])
    assert [p.admm_primal for p in progress] == pytest.approx(history["admm_primal"], rel=1e-3, abs=1e-6)
    assert [p.admm_dual for p in progress] == pytest.approx(history["admm_dual"], rel=1e-3, abs=1e-6)
    for mine, theirs in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
        np.testing.assert_array_equal(mine == 0, theirs == 0)


def test_a_keras_optimizer_needs_nothing_in_the_loop():
    model, data = model_and_data()
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    engine = Engine(model, PLAN)
    engine.begin()
    while not engine.done:
        for x, y in data:
            model.train_on_batch(x, y)
        progress = engine.end_epoch()
    assert engine.finish()
    assert progress.sparsity == pytest.approx(0.9)
    assert not [v.name for v in model.optimizer.variables if "admm" in v.name]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one loop's way of calling a Keras optimizer is enough")
def test_a_keras_optimizer_of_the_loops_own():
    import tensorflow as tf

    model, data = model_and_data()
    optimizer = keras.optimizers.Adam(0.01)
    engine = Engine(model, PLAN, optimizer=optimizer)
    engine.begin()
    while not engine.done:
        for x, y in data:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        progress = engine.end_epoch()
    assert engine.finish() and progress.sparsity == pytest.approx(0.9)


def moves(plan, epochs=4):
    """The state after each epoch of an engine whose weights nobody trains."""
    model, _ = model_and_data()
    engine = Engine(model, plan, optimizer=None)
    engine.begin(epochs)
    states = []
    for _ in range(epochs):
        states.append(float(ops.convert_to_numpy(next(iter(engine.rule_states.values())).rho)))
        engine.end_epoch()
    engine.finish()
    return states


@pytest.mark.parametrize(
    "growth, expected",
    [(1.0, [0.1, 0.1, 0.1, 0.1]), (1.3, [0.1, 0.13, 0.169, 0.2197]), ("balance", [0.1, 0.2])],
)
def test_rho_moves(growth, expected):
    """Of weights that stand still the primal residual stays and the dual one is 0 at first, so balancing doubles."""
    plan = Plan(steps=[Step(target=Sparse(0.5), retrain_epochs=0)], penalty=GradientPenalty(rho=0.1, rho_growth=growth))
    assert moves(plan)[: len(expected)] == pytest.approx(expected)


def test_rho_comes_to_its_end_whatever_the_number_of_moves():
    """By hand: 0.01 * 16 ** fraction, at 1, 2, 3 and 4 quarters of the ADMM epochs."""
    plan = one(Sparse(0.5), 4, 1, penalty=GradientPenalty(rho=0.01, rho_end=0.16))
    assert moves(plan, 5)[:4] == pytest.approx([0.01, 0.02, 0.04, 0.08])


@pytest.mark.parametrize("rescale, factor", [(True, 0.5), (False, 1.0)])
def test_the_dual_is_rescaled_by_choice(rescale, factor):
    model, _ = model_and_data()
    plan = one(Sparse(0.5), 3, 0, penalty=GradientPenalty(rho_growth=2.0, rescale_dual=rescale))
    engine = Engine(model, plan, optimizer=None)
    engine.begin()
    w = weights.read(model.layers[0].kernel)
    engine.end_epoch()
    z = Sparse(0.5)(w)
    state = next(iter(engine.rule_states.values()))
    np.testing.assert_allclose(ops.convert_to_numpy(state.target), z - factor * (w - z), atol=1e-6)
    engine.finish()


def test_z_follows_kept_weights_by_choice():
    model, _ = model_and_data()
    plan = one(Sparse(0.5), 2, 0, penalty=GradientPenalty(rho=1.0, penalize_kept=False))
    engine = Engine(model, plan, optimizer=None)
    engine.begin()
    (name, state), *_ = engine.rule_states.items()
    w = weights.read(engine.variables[name])
    kept = Sparse(0.5)(w) != 0
    pull = ops.convert_to_numpy(state.pull_in_part(w + 1))
    assert (pull[kept] == 0).all()
    np.testing.assert_allclose(pull[~kept], w[~kept] + 1, rtol=1e-5)
    assert float(ops.convert_to_numpy(state.penalty(w))) == pytest.approx(0.5 * np.sum(w[~kept] ** 2), rel=1e-5)
    engine.finish()


@pytest.mark.parametrize("penalize_kept", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
def test_a_dual_that_the_target_tells_is_the_one_that_would_be_kept(rescale, penalize_kept, monkeypatch):
    penalty = GradientPenalty(rho=0.1, rho_growth=2.0, rescale_dual=rescale, penalize_kept=penalize_kept)
    target, overlap = PruningTarget(0.8, path="geometric", start=0.2, keep_zeros=True), duals._overlap

    def run(told):
        monkeypatch.setattr(duals, "_overlap", overlap if told else lambda state: True)
        keras.utils.set_random_seed(0)
        (model, _), rng, seen = model_and_data(), np.random.default_rng(0), []
        plan = one(target, 5, 0, penalty=penalty)
        engine = Engine(model, plan, optimizer=None)
        kernel = engine.variables[next(iter(engine.variables))]
        weights.write(kernel, np.where(rng.random(kernel.shape) < 0.2, 0, weights.read(kernel)))
        engine.begin()
        for epoch in range(4):
            for variable in engine.variables.values():  # a step of training, as it were
                weights.write(variable, weights.read(variable) + rng.normal(size=variable.shape).astype("float32") / 9)
            engine.hold()
            seen.append(engine.end_epoch())
            if epoch == 1:
                state = engine.state_dict()
                engine.release()
                engine = Engine(model, plan, optimizer=None)
                engine.load_state_dict(state)
            seen += [ops.convert_to_numpy(state.target) for state in engine.rule_states.values()]
        engine.release()
        return seen, [key for key in state if key.startswith("u/")]

    (told, none), (kept, arrays) = run(True), run(False)
    assert not none and len(arrays) == 2
    for a, b in zip(told, kept, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


class Lowered(Set):
    """Says which weights are zero, and yet changes those that it keeps."""

    def support(self, x):
        return Sparse(0.5).support(x)

    def __call__(self, x):
        return 0.5 * Sparse(0.5)(x)


def test_a_dual_that_the_target_does_not_tell_is_kept():
    model, _ = model_and_data()
    penalty = GradientPenalty(rho=0.5, rho_growth=1.0, penalize_kept=True)
    engine = Engine(model, one(Lowered(), 2, 0, penalty=penalty), optimizer=None)
    w = {name: weights.read(variable) for name, variable in engine.variables.items()}
    engine.begin()
    engine.end_epoch()
    for name, state in engine.rule_states.items():  # Z = W / 2 and U = W - Z on the larger half; 0 and W on the other
        expected = np.where(np.abs(w[name]) > np.median(np.abs(w[name])), 0.0, -w[name])
        np.testing.assert_allclose(ops.convert_to_numpy(state.target), expected, atol=1e-7)
    assert {key.split("/")[0] for key in engine.state_dict()} >= {"u"}
    engine.release()


def test_update_every_counts_epochs():
    model, _ = model_and_data()
    plan = one(Sparse(0.5), 5, 0, penalty=GradientPenalty(rho=1.0, rho_growth=2.0), update_every=2)
    engine = Engine(model, plan, optimizer=None)
    engine.begin()
    seen = []
    for _ in range(5):
        seen.append(float(ops.convert_to_numpy(next(iter(engine.rule_states.values())).rho)))
        engine.end_epoch()
    assert seen == [1, 1, 2, 2, 4]
    engine.finish()


def test_other_sets_serve_as_well():
    """A set given by name; its support is what retraining may move."""
    model, _ = model_and_data()
    names = list(weights.select(model))
    masks = {n: np.random.default_rng(0).random(v.shape) < 0.5 for n, v in weights.select(model).items()}
    engine = Engine(model, one({n: Support(masks[n]) for n in names}, 1, 1), optimizer=None)
    engine.begin()
    engine.end_epoch(), engine.end_epoch()
    engine.finish()
    for name, variable in weights.select(model).items():
        assert ((weights.read(variable) != 0) == masks[name]).all()


def test_state_goes_on_where_it_stood():
    model, data = model_and_data()
    engine = Engine(model, PLAN, optimizer=None)
    engine.begin()
    loop = LOOPS[BACKEND](model, engine, data)
    for _ in range(4):
        next(loop)
    state, values = engine.state_dict(), model.get_weights()
    assert all(v.dtype != object for v in state.values())
    straight = list(loop)[-1]
    model.set_weights(values)
    again = Engine(model, PLAN, optimizer=None)
    again.load_state_dict(state)
    resumed = list(LOOPS[BACKEND](model, again, data))
    assert len(resumed) == 3 and resumed[-1] == pytest.approx(straight)
    with pytest.raises(ValueError, match="can only be resumed by the run that saved it. Received.*Give a fresh"):
        Engine(model, replace(PLAN, penalty=GradientPenalty(rho=0.5)), optimizer=None).load_state_dict(state)


@pytest.mark.parametrize(
    "change, error, sentence",
    [
        ({"format": 1}, ValueError, "of the format that this version .* writes, 5. Received: one of format 1. Resume"),
        ({"rules": None}, ValueError, "fresh backup_dir"),
        ({"plan": None}, TypeError, "`state` must be what `state_dict` returned"),
    ],
)
def test_states_of_another_format_are_refused(change, error, sentence):
    engine = Engine(model_and_data()[0], PLAN, optimizer=None)
    engine.begin()
    state = {key: value for key, value in {**engine.state_dict(), **change}.items() if value is not None}
    with pytest.raises(error, match=sentence):
        engine.check_state(state)


class Own:
    """A target of the user's, which changes while it runs."""

    def __init__(self):
        self.calls = 0

    def __call__(self, arrays, fraction):
        self.calls += 1
        return dict.fromkeys(arrays, Sparse(0.5))


def counting():
    calls = []
    return lambda arrays, fraction: calls.append(fraction) or dict.fromkeys(arrays, Sparse(0.5))


@pytest.mark.parametrize("make, warned", [(Own, True), (counting, False)])
def test_targets_that_change_are_what_they_were_at_first(make, warned):
    model, _ = model_and_data()
    engine = Engine(model, one(make(), 2, 0), optimizer=None)
    engine.begin()
    engine.end_epoch()
    state = engine.state_dict()
    engine.release()
    again = Engine(model, one(make(), 2, 0), optimizer=None)
    said = pytest.warns(
        UserWarning, match=r"Received: plan.steps\[0\].target.config.function \(Own\), of which only the class"
    )
    with said if warned else contextlib.nullcontext():
        again.load_state_dict(state)
    again.release()


def test_weights_that_are_no_longer_finite_are_named():
    model, _ = model_and_data()
    engine = Engine(model, PLAN, optimizer=None)
    engine.begin()
    kernel = model.layers[1].kernel
    weights.write(kernel, np.full(kernel.shape, np.inf))
    with pytest.raises(
        FloatingPointError, match="must stay finite. Received: NaN or infinity in .*dense_1/kernel. Lower"
    ):
        engine.end_epoch()
    engine.release()


def test_an_uncompiled_model_gets_a_sentence():
    with pytest.raises(ValueError, match="must be compiled.*Received: model .* without one. Call model.compile"):
        Engine(model_and_data()[0], PLAN)


@pytest.mark.parametrize(
    "ask",
    [
        lambda run: run.end_epoch(),
        lambda run: run.penalty(),
        lambda run: run.hold(),
        lambda run: run.rule_states,
        lambda run: run.step_version,
        lambda run: run.state_dict(),
        lambda run: run.set_learning_rate(0.1),
    ],
)
def test_a_run_is_begun_before_it_is_asked(ask):
    run = Engine(model_and_data()[0], one(Sparse(0.5), 1, 1), optimizer=None)
    assert not run.finish()
    with pytest.raises(ValueError, match="must be begun before .*Received: an engine before `begin`.*Call begin"):
        ask(run)


def test_a_run_ends_with_the_last_epoch_of_its_plan():
    run = Engine(model_and_data()[0], one(Sparse(0.5), 1, 0), optimizer=None)
    run.begin()
    run.end_epoch()
    with pytest.raises(ValueError, match="ends with the last epoch.*Received: one more, after 1. Call finish"):
        run.end_epoch()
    assert run.finish() and run.finish()


def run_of(step, w):
    """The texts of what is said by a run in which the weights of a layer become `w`."""
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(60, name="large"), keras.layers.Dense(9)])
    model.layers[1].kernel.assign(np.arange(1.0, 541.0).reshape(60, 9))
    engine = Engine(model, Plan(steps=[step]), optimizer=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine.begin()
        while not engine.done:
            model.layers[0].kernel.assign(w)
            engine.hold()
            engine.end_epoch()
        assert engine.finish()
    return [str(w.message) for w in caught if w.category is UserWarning]


SMALL, NONE = np.full((40, 60), 1e-3), np.zeros((40, 60))


@pytest.mark.parametrize(
    "step, w, said",
    [
        (
            step(PruningTarget(0.9), 3, 2),
            SMALL,
            [r"large/kernel \(1 of 2,400\).*allocation='global'.*min_keep=1.*'erk' or"],
        ),
        (
            step(PruningTarget(0.9, structure="block(1,2)"), 3, 0),
            SMALL,
            [r"large/kernel \(1 of 1,200\).*Use allocation='erk'"],
        ),
        (step(PruningTarget(0.9, path="cubic"), 3, 0), SMALL, [r"large/kernel \(1 of 2,400\)"]),
        (step(PruningTarget(0.9, allocation="erk"), 2, 0), SMALL, []),
        (step(PruningTarget(0.9, min_keep=0), 2, 0), SMALL, []),
        (step(Sparse(0.9), 2, 2), NONE, [r"large/kernel \(0 of 240\): the others are 0.*exclude="]),
        (step(Sparse(0.75, "block(2,4)"), 2, 0), NONE, [r"large/kernel \(0 of 75\)"]),
        (step(Sparse(0.9), 2, 0), SMALL * (np.arange(60) < 6), []),
        (step(Sparse(0.9), 2, 0), SMALL * (np.arange(60) < 5), [r"large/kernel \(200 of 240\)"]),
    ],
)
def test_layers_that_keep_too_little_are_named_once(step, w, said):
    found = run_of(step, w)
    assert len(found) == len(said)
    for text, pattern in zip(found, said, strict=True):
        assert re.search(pattern, text)


@pytest.mark.parametrize("constraint, retraining", [(Sparse(0.5), "snap"), (Levels(2), "shared_values")])
def test_sets_are_asked_for_once_a_move_and_never_in_retraining(constraint, retraining):
    asked = []

    def sets(arrays, fraction):
        asked.append((fraction, engine.epoch))
        return dict.fromkeys(arrays, constraint)

    model = model_and_data()[0]
    model.compile("sgd")
    steps = [Step(target=sets, admm_epochs=2, retrain_epochs=3, retraining=retraining)]
    engine = Engine(model, Plan(steps=steps), in_fit=True)
    engine.begin()
    begun = len(asked)
    assert [fraction for fraction, _ in asked] == [0.0, 0.5, 1.0, 0.0]  # tried before any training, and the first Z
    for _ in range(5):
        model.optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
        engine.end_epoch()
    assert engine.finish()
    assert asked[begun:] == [(0.5, 0), (1.0, 1), (1.0, 2)]  # two moves, and the projection
