"""Who applies the gradients: models with optimizers of their own, and compiled steps of loops of one's own."""

import re
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_admm as ka
from keras_admm import attach, weights
from keras_admm.plan import Plan, Step

BACKEND = keras.backend.backend()
tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="written with a GradientTape")
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
SGD = keras.optimizers.SGD
NAMES = ["a", "b"]


class Two(keras.Model):
    """Two layers, each with an optimizer of its own, in a `train_step` that `fit` knows nothing of."""

    def __init__(self, keep, shared=False):
        super().__init__()
        self.a, self.b = keras.layers.Dense(6, name="a"), keras.layers.Dense(6, name="b")
        self.first, self.second = SGD(0.5), SGD(0.5)
        self.kept, self.shared = keep(self), shared
        if keep is not whole:
            del self.first, self.second

    def call(self, x):
        return self.b(self.a(x))

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = 0.0 * ops.mean(ops.square(self(x) - y))
        first, second = self.kept() if callable(self.kept) else found(self.kept)
        for optimizer, layer in ((first, self.a), (second, self.b), *([(second, self.a)] if self.shared else [])):
            variables = layer.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


PULL = ka.penalties.GradientPenalty(rho=0.5)


def whole(model):
    return [model.first, model.second]


def found(kept):
    kept = list(kept.values()) if hasattr(kept, "values") else list(kept)
    return [getattr(k, "optimizer", k) for k in kept]


def in_models(model):
    inner = [keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, trainable=False)]) for _ in NAMES]
    for each, optimizer in zip(inner, whole(model), strict=True):
        each.compile(optimizer)
    return inner


KEPT = {
    "attributes": whole,
    "a dict": lambda model: dict(zip(NAMES, whole(model), strict=True)),
    "models in it": in_models,
    "loss scaling": lambda model: [keras.optimizers.LossScaleOptimizer(o, initial_scale=1.0) for o in whole(model)],
}


def two(keep=whole, **kwargs):
    model = Two(keep, **kwargs)
    model(X)
    if model.shared:
        model.second.build(model.trainable_variables)
    model.compile("sgd", jit_compile=False)
    return model


def pruned(model, **kwargs):
    """By how much the weights were pulled to zero in an epoch of one step, where Z has a zero."""
    before = [weights.read(layer.kernel) for layer in (model.a, model.b)]
    prune = ka.ADMMPrune(
        0.5, recipe="paper", allocation="uniform", penalty=PULL, admm_epochs=1, retrain_epochs=0, **kwargs
    )
    after = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: after.extend(weights.read(v) for v in (model.a.kernel, model.b.kernel))
    )
    model.fit(X, X, batch_size=16, verbose=0, callbacks=[prune, look])
    small = [np.abs(w) < np.median(np.abs(w)) for w in before]
    return [np.unique(np.round((a / w)[s], 4)) for a, w, s in zip(after, before, small, strict=True)]


@tensorflow
@pytest.mark.filterwarnings("ignore:.*kernels of frozen layers are not trained:UserWarning")
@pytest.mark.parametrize("kept", KEPT)
def test_the_optimizers_of_a_model_are_found(kept):
    np.testing.assert_allclose(pruned(two(KEPT[kept])), [[0.75], [0.75]], atol=1e-3)


@tensorflow
def test_a_weight_that_two_optimizers_train_is_pulled_by_each():
    np.testing.assert_allclose(pruned(two(shared=True)), [[0.5625], [0.75]], atol=1e-3)


@tensorflow
def test_optimizers_that_are_hidden_must_be_named():
    pair = [SGD(0.5), SGD(0.5)]
    model = two(lambda model: lambda: pair)
    with pytest.raises(
        ValueError,
        match=r"must be applied by an optimizer that is known. Received: .*two.*/a/kernel.*"
        r"SGD 'sgd.*' \(which has applied no gradient\).*Name the optimizer",
    ):
        pruned(model)
    assert "apply" not in model.optimizer.__dict__ and model.a.kernel.constraint is None
    np.testing.assert_allclose(pruned(model, optimizer={"a": pair[0], model.b: pair[1]}), [[0.75], [0.75]], atol=1e-3)
    with pytest.raises(ValueError, match="must be applied by .*a/kernel.*'sgd"):  # the other way round
        pruned(model, optimizer={"a": pair[1], "b": pair[0]})


@tensorflow
def test_one_optimizer_for_what_is_compressed():
    model = two()
    with pytest.raises(ValueError, match="learning rate per phase needs to know for which .* 3 optimizers. Name"):
        pruned(model, layers="a", learning_rate={"admm": 0.25})
    prune = ka.ADMMPrune(
        0.5, recipe="paper", layers="a", optimizer=model.first, learning_rate={"admm": 0.25}, retrain_epochs=0
    )
    rates = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.extend(float(o.learning_rate) for o in (model.first, model.second))
    )
    model.fit(X, X, batch_size=16, verbose=0, callbacks=[prune, look])
    assert rates == [0.25, 0.5] and float(model.first.learning_rate) == 0.5
    assert np.count_nonzero(weights.read(model.a.kernel)) == 18


class TwoOfJax(keras.Model):
    """Two optimizers, the second's variables among the model's own, as a `train_step` of JAX can carry them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = keras.layers.Dense(6, name="a"), keras.layers.Dense(6, name="b")
        self.second = SGD(0.5)

    def call(self, x):
        return self.b(self.a(x))

    @property
    def non_trainable_variables(self):
        return list(self.second.variables)

    def train_step(self, state, data):
        import jax

        trainable, rest, optimizer, metrics = state
        x, y = data

        def loss_of(trainable):
            h = self.a.stateless_call(trainable[:2], [], x)[0]
            return 0.0 * ops.mean(ops.square(self.b.stateless_call(trainable[2:], [], h)[0] - y))

        loss, grads = jax.value_and_grad(loss_of)(trainable)
        first, optimizer = self.optimizer.stateless_apply(optimizer, grads[:2], trainable[:2])
        second, rest = self.second.stateless_apply(rest, grads[2:], trainable[2:])
        return {"loss": loss}, ([*first, *second], rest, optimizer, metrics)


@pytest.mark.skipif(BACKEND != "jax", reason="state is handed on there")
@pytest.mark.every_backend
def test_two_optimizers_in_a_step_of_jax():
    model = TwoOfJax()
    model(X)
    model.compile(SGD(0.5))
    model.optimizer.build(model.trainable_variables[:2])
    model.second.build(model.trainable_variables[2:])
    model.fit(X, X, epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.5, allocation="uniform")])
    assert [np.count_nonzero(weights.read(layer.kernel)) for layer in (model.a, model.b)] == [18, 18]


@pytest.mark.parametrize("target", [ka.constraints.Sparse(0.5), ka.constraints.Levels(2)])
@pytest.mark.every_backend
def test_another_optimizer_in_the_middle_of_a_fit_is_an_error(target):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    model.compile(SGD(0.5), "mse", jit_compile=False)
    swap = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda e, logs: setattr(model, "optimizer", new) if e else None
    )
    new = keras.optimizers.Adam()
    new.build(model.trainable_variables)
    with pytest.raises(ValueError, match="until its end. Received: Adam 'adam.* in the place of SGD 'sgd"):
        model.fit(X, X, epochs=4, verbose=0, callbacks=[ka.ADMM(target), swap])


def test_what_optimizer_may_be():
    adam = keras.optimizers.Adam()
    for bad in (None, 0.1, "adam", [adam], object(), keras.optimizers.Adam):
        with pytest.raises(TypeError, match="`optimizer` must be a keras.Optimizer.* Received: .*penalty"):
            ka.ADMMPrune(0.5, optimizer=bad)
    with pytest.raises(TypeError, match="`optimizer` must be"):
        ka.ADMMPrune(0.5, optimizer={"*": "adam"})
    with pytest.raises(ValueError, match="must name at least one. Received: an empty one"):
        ka.ADMMPrune(0.5, optimizer={})
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, name="a"), keras.layers.Dense(6, name="b")])
    variables = weights.select(model)
    with pytest.raises(ValueError, match="must have its optimizer. Received.*none of which fits .*b/kernel.*'\\*'"):
        attach.choose_optimizers("me", model, variables, {"a": adam})
    with pytest.raises(ValueError, match="choose at least one variable"):
        attach.choose_optimizers("me", model, variables, {"c": adam, "*": adam})


PRUNE = Plan(steps=[Step(target=ka.constraints.Sparse(0.75), admm_epochs=2, retrain_epochs=2)], penalty=PULL)


def levels(retraining):
    step = Step(target=ka.constraints.Levels(2), admm_epochs=1, retrain_epochs=2, retraining=retraining)
    return Plan(steps=[step], penalty=PULL)


class Loop:
    """A loop of one's own, the step of which is compiled by what the backend has for it."""

    def __init__(self, plan, layers=1):
        keras.utils.set_random_seed(0)
        dense = [keras.layers.Dense(6, name=name) for name in NAMES[:layers]]
        self.model = keras.Sequential([keras.Input((6,)), *dense])
        self.optimizer = keras.optimizers.Adam(0.05)
        self.optimizer.build(self.model.trainable_variables)
        self.engine = ka.Engine(self.model, plan, optimizer=self.optimizer)

    def compiled(self):
        return getattr(self, BACKEND)()

    def tensorflow(self):
        import tensorflow as tf

        @tf.function
        def step(x):
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(self.model(x) - x))
            variables = self.model.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return step

    def torch(self):
        import torch

        def step(x):
            self.model.zero_grad()
            ops.mean(ops.square(self.model(x) - x)).backward()
            variables = self.model.trainable_variables
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in variables], variables)

        return step

    def jax(self):
        import jax

        def loss(trainable, x):
            return ops.mean(ops.square(self.model.stateless_call(trainable, [], x)[0] - x))

        @jax.jit
        def jitted(trainable, state, x):
            return self.optimizer.stateless_apply(state, jax.grad(loss)(trainable, x), trainable)

        def step(x):
            both = self.model.trainable_variables, self.optimizer.variables
            for variables, values in zip(both, jitted(*([v.value for v in vs] for vs in both), x), strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)

        return step

    def run(self, step, epochs=10):
        """The share of zeros by epoch, of a step or of what makes one for each version."""
        kernel, version, zeros = self.model.layers[0].kernel, None, []
        for _ in range(epochs):
            if self.engine.done:
                break
            if isinstance(step, type(self.compiled)) and self.engine.step_version != version:
                version, now = self.engine.step_version, step()
            elif not isinstance(step, type(self.compiled)):
                now = step
            now(ops.convert_to_tensor(X)), now(ops.convert_to_tensor(X))
            zeros.append(float((weights.read(kernel) == 0).mean()))
            self.engine.end_epoch()
        return zeros


@pytest.mark.every_backend
def test_a_step_compiled_once_follows_the_phases():
    loop = Loop(PRUNE)
    loop.engine.begin()
    assert loop.run(loop.compiled()) == [0, 0, 0.75, 0.75]
    assert loop.engine.finish() is True


@pytest.mark.every_backend
def test_values_in_a_step_compiled_once_by_snap():
    loop = Loop(levels(ka.retraining.Snap((0.5, 1.0))))
    loop.engine.begin()
    loop.run(loop.compiled())
    assert loop.engine.finish() is True
    assert len(np.unique(weights.read(loop.model.layers[0].kernel))) <= 3


@tensorflow
def test_values_of_an_earlier_step_stay_in_a_step_compiled_once():
    way = {"admm_epochs": 1, "retrain_epochs": 1, "retraining": ka.retraining.Snap((1.0,))}
    loop = Loop(Plan(steps=[Step(target={name: ka.constraints.Levels(2)}, **way) for name in NAMES]), layers=2)
    loop.engine.begin()
    loop.run(loop.compiled())
    assert loop.engine.finish() is True
    assert all(len(np.unique(weights.read(layer.kernel))) <= 3 for layer in loop.model.layers)


@pytest.mark.skipif(BACKEND == "torch", reason="torch compiles steps anew by itself")
@pytest.mark.every_backend
@pytest.mark.parametrize("retraining", ["straight_through", "shared_values"])
def test_ways_of_retraining_that_need_another_step(retraining):
    loop = Loop(levels(retraining))
    loop.engine.begin()
    with pytest.raises(ValueError, match="needs another training step .*anew whenever engine.step_version changes"):
        loop.run(loop.compiled())
    loop.engine.release()
    loop = Loop(levels(retraining))
    loop.engine.begin()
    loop.run(loop.compiled)
    assert loop.engine.finish() is True
    assert len(np.unique(weights.read(loop.model.layers[0].kernel))) <= 3


@tensorflow
def test_a_step_that_was_not_compiled_again_is_an_error():
    loop = Loop(levels("straight_through"))
    loop.engine.begin()
    assert loop.engine.step_version == 0  # looked at, and then forgotten
    with pytest.raises(ValueError, match="must be compiled again when .*step_version changes"):
        loop.run(loop.compiled())
    assert "apply" not in loop.optimizer.__dict__


@tensorflow
def test_a_step_that_was_compiled_before_is_an_error():
    loop = Loop(PRUNE)
    step = loop.compiled()
    step(X)
    loop.engine.begin()
    with pytest.raises(ValueError, match="compiled after engine.begin.* Received: a step that moved Adam 'adam"):
        loop.run(step)
    assert "apply" not in loop.optimizer.__dict__


@pytest.mark.skipif(BACKEND != "jax", reason="where the state is the loop's own")
@pytest.mark.every_backend
def test_a_state_that_is_not_written_back_is_an_error():
    loop = Loop(PRUNE)
    loop.engine.begin()
    step = loop.compiled()
    before = [v.value for v in (*loop.model.trainable_variables, *loop.optimizer.variables)]

    def forgetful(x):
        step(x)
        for variable, value in zip((*loop.model.trainable_variables, *loop.optimizer.variables), before, strict=True):
            variable.assign(value)

    with pytest.raises(ValueError, match="must move. Received: Adam .*Write what the step returns"):
        loop.run(forgetful)


def test_zeros_that_come_back_are_an_error_or_false():
    loop = Loop(PRUNE)
    kernel = loop.model.layers[0].kernel
    loop.engine = ka.Engine(loop.model, PRUNE, optimizer=None)
    loop.engine.begin()
    loop.engine.end_epoch(), loop.engine.end_epoch()
    trained = weights.read(kernel) + (weights.read(kernel) == 0)
    weights.write(kernel, trained)
    with pytest.raises(ValueError, match="must stay there. Received: .*kernel': 27}.*hold"):
        loop.engine.end_epoch()
    loop.engine = ka.Engine(loop.model, PRUNE, optimizer=None)
    loop.engine.begin()
    for _ in range(4):
        loop.engine.end_epoch()
    weights.write(kernel, trained)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert loop.engine.finish() is False
    message = next(str(w.message) for w in said if w.category is UserWarning)
    assert re.search("must stay there until .*kernel': 27}.*left as they are. Call project", message)
    np.testing.assert_array_equal(weights.read(kernel), trained)
