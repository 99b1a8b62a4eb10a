"""Variables that a training step makes: built before, or told in a sentence before they are trained wrongly."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_admm as ka
from keras_admm import attach, weights

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="the optimizer is built in the first step there alone")
# Keras's own, of models that leave it to their first call to build them.
pytestmark = pytest.mark.filterwarnings("ignore:.build... was called on layer")


class Auxiliary(keras.Model):
    """A head that only training calls."""

    def __init__(self):
        super().__init__()
        self.body, self.aside = layers.Dense(6), layers.Dense(8, name="aside")

    def call(self, x, training=False):
        h = self.body(x)
        if training:
            self.add_loss(1e-3 * ops.mean(ops.square(self.aside(h))))
        return h


class InTraining(layers.Layer):
    """A layer in a layer that only training calls."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(6)

    def build(self, shape):
        pass

    def call(self, x, training=False):
        return self.inner(x) if training else x


def called(model):
    model(X[:2])
    return model


def functional():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    return keras.Model({"a": a, "b": b}, layers.Dense(6)(InTraining()(layers.add([a, b]))))


KINDS = {
    "subclassed": lambda: called(Auxiliary()),
    "subclassed, not built": Auxiliary,
    "nested": lambda: keras.Sequential([keras.Input((6,)), called(Auxiliary())]),
    "Sequential": lambda: keras.Sequential([keras.Input((6,)), InTraining(), layers.Dense(6)]),
    "Functional": functional,
}


def pruned(model, **kwargs):
    x = {"a": X, "b": X} if isinstance(model, keras.src.models.Functional) else X
    model.fit(x, X, epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.5, allocation="uniform", **kwargs)])


@tensorflow
@pytest.mark.parametrize("kind", KINDS)
def test_what_only_training_calls_is_compressed_too(kind):
    model = KINDS[kind]()
    model.compile("adam", "mse", jit_compile=False)
    pruned(model)
    kernels = weights.select(model).values()
    assert len(kernels) == 2
    assert all(np.count_nonzero(weights.read(v)) == v.shape[0] * v.shape[1] // 2 for v in kernels)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="built there")
@pytest.mark.every_backend
def test_what_the_optimizer_was_built_without_is_named_before_training():
    model = called(Auxiliary())
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"only the variables that it was built with. Received: .*aside/kernel.*x\[:1"):
        pruned(model)
    model(X[:1], training=True)  # the remedy
    model.compile("adam", "mse", jit_compile=False)
    pruned(model)
    assert np.count_nonzero(weights.read(model.aside.kernel)) == 24


@pytest.mark.every_backend
def test_layers_that_were_unfrozen_without_compiling_again_are_named():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="frozen"), layers.Dense(6)])
    model.layers[0].trainable = False
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, X, verbose=0)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="frozen/kernel.*made trainable, after Adam 'adam.*compile again"):
        pruned(model)
    assert "apply" not in model.optimizer.__dict__


class Adversary(keras.Model):
    """A layer that only the `train_step` calls, with an optimizer of its own."""

    def __init__(self):
        super().__init__()
        self.body, self.late = layers.Dense(6, name="body"), layers.Dense(6, name="late")
        self.second = keras.optimizers.SGD()

    def call(self, x):
        return self.body(x)

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = ops.mean(ops.square(self.late(self.body(x)) - y))
        for optimizer, layer in ((self.optimizer, self.body), (self.second, self.late)):
            variables = layer.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


class Generator(Adversary):
    """Its `call` takes noise, its `train_step` the data."""

    def call(self, noise):
        return self.body(ops.reshape(noise, (-1, 5, 6))[:, 0])


@tensorflow
def test_a_model_whose_train_step_alone_knows_how_it_is_called():
    model = Generator()
    for layer in (model.body, model.late):
        layer.build((None, 6))
    model.compile("sgd")
    pruned(model)
    assert all(np.count_nonzero(weights.read(layer.kernel)) == 18 for layer in (model.body, model.late))


def test_a_call_that_fails_is_told_as_fit_tells_it():
    class Wrong(Auxiliary):
        def call(self, x, training=False):
            return ops.reshape(self.body(x), (-1, 5))

    model = Wrong()
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="Wrong.call"):
        pruned(model)


@tensorflow
def test_a_kernel_that_a_train_step_makes_is_named_unless_others_were_chosen():
    model = called(Adversary())
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"must be there before training. Received: \['late/kernel'\].*layers="):
        pruned(model)
    assert "apply" not in model.optimizer.__dict__
    model = called(Adversary())
    model.compile("sgd")
    pruned(model, layers="body")
    assert np.count_nonzero(weights.read(model.body.kernel)) == 18


def test_a_model_that_is_whole_is_not_traced(monkeypatch):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    model.compile("adam", "mse")
    monkeypatch.setattr(keras.src.backend, "compute_output_spec", None)
    attach.build(model)
