"""Several devices, by Keras's own means: the two that conftest.py makes of one CPU."""

import contextlib

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import weights

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 8)).astype("float32"), RNG.normal(size=(32, 6)).astype("float32")


def build(library):
    library.utils.set_random_seed(0)
    dense = library.layers.Dense
    model = library.Sequential([library.Input((8,)), dense(10), dense(6)])
    model.compile(library.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=BACKEND == "jax")
    return model


def fit(model, callback, epochs):
    return model.fit(X, Y, epochs=epochs, batch_size=16, shuffle=False, verbose=0, callbacks=[callback]).history


def values(model):
    return [weights.read(v) for v in model.trainable_variables]


def run(model, retrainings):
    """The residuals, and the weights after each of a progressive pruning and a quantization for each retraining."""
    pull = ka.penalties.GradientPenalty(rho=0.5)
    residuals = fit(model, ka.ADMMPrune([0.5, 0.9], recipe="paper", penalty=pull), 6)["admm_primal"]
    seen = [values(model)]
    for retraining in retrainings:
        how = {"first_last": "same", "penalty": pull, "admm_epochs": 1, "retraining": retraining}
        fit(model, ka.ADMMQuantize(3, **how), 3)
        seen.append(values(model))
    assert not [v.name for v in optimizer_variables(model) if "admm" in v.name]
    return seen, residuals


def optimizer_variables(model):
    variables = model.optimizer.variables
    return variables() if callable(variables) else variables


@contextlib.contextmanager
def two_devices():
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            yield
    else:
        devices = keras.distribution.list_devices()
        assert len(devices) == 2
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        yield


def same_on_two_devices(library, retrainings):
    alone, alone_residuals = run(build(library), retrainings)
    try:
        with two_devices():
            model = build(library)
        together, residuals = run(model, retrainings)
    finally:
        if BACKEND == "jax":
            keras.distribution.set_distribution(None)
    assert sum(np.count_nonzero(w) for w in together[0] if w.ndim == 2) == 14
    np.testing.assert_allclose(residuals, alone_residuals, rtol=1e-3)
    for a, b in zip(sum(alone, []), sum(together, []), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


RETRAININGS = pytest.mark.parametrize(
    "retrainings",
    [("straight_through",), pytest.param(("snap", "shared_values"), marks=pytest.mark.nightly)],
    ids="-".join,
)


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND == "torch", reason="Keras distributes no training over torch's devices")
@RETRAININGS
def test_two_devices_do_what_one_does(retrainings):
    same_on_two_devices(keras, retrainings)


@pytest.mark.tensorflow_only
@RETRAININGS
def test_two_devices_do_what_one_does_in_tf_keras(retrainings):
    same_on_two_devices(pytest.importorskip("tf_keras"), retrainings)
