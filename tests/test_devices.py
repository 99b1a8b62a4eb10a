"""Several devices, by Keras's own means: two made of one CPU, each backend in a process of its own."""

import os
import subprocess
import sys

import pytest

COMMON = """
import keras, numpy as np
import keras_admm as ka
from keras_admm import weights
x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
y = np.random.default_rng(1).normal(size=(32, 6)).astype("float32")
def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10), keras.layers.Dense(6)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=JIT)
    return model
def run(model):
    prune = ka.ADMMPrune([0.5, 0.9], rho=0.5)
    history = model.fit(x, y, epochs=8, batch_size=16, shuffle=False, verbose=0, callbacks=[prune]).history
    for retraining in ("snap", "straight_through", "centroids"):
        quantize = ka.ADMMQuantize(3, first_last="same", rho=0.5, admm_epochs=1, retraining=retraining)
        model.fit(x, y, epochs=3, batch_size=16, shuffle=False, verbose=0, callbacks=[quantize])
    assert not [v.name for v in model.optimizer.variables if "admm" in v.name]
    return [weights.read(v) for v in model.trainable_variables], history["admm_primal"]
alone, alone_residuals = run(build())
"""

TENSORFLOW = (
    """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
JIT = False
"""
    + COMMON
    + """
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = build()
together, residuals = run(model)
"""
)

JAX = (
    """
JIT = True
"""
    + COMMON
    + """
import jax
assert len(jax.devices()) == 2
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=keras.distribution.list_devices()))
together, residuals = run(build())
"""
)

TF_KERAS = TENSORFLOW.replace("import keras,", "import tf_keras as keras,")

COMPARE = """
assert sum(np.count_nonzero(w) for w in together if w.ndim == 2) == 14
np.testing.assert_allclose(residuals, alone_residuals, rtol=1e-3)
for a, b in zip(alone, together):
    np.testing.assert_allclose(a, b, atol=1e-4)
print("equal")
"""


@pytest.mark.parametrize("backend, code", [("tensorflow", TENSORFLOW), ("tensorflow", TF_KERAS), ("jax", JAX)])
def test_two_devices_do_what_one_does(backend, code):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-c", code + COMPARE],
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip().endswith("equal"), run.stderr[-3000:]
