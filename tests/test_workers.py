"""Two workers in processes of their own are as one: under `MultiWorkerMirroredStrategy`, also after one was killed; and
JAX's, each with a part of the kernels.

The first are of tf_keras: `fit` of Keras 3 cannot train under this strategy (keras-team/keras#20585).
"""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.nightly
PROGRAM = """
import sys, time
import numpy as np, tensorflow as tf
import tf_keras
import keras_admm as ka
folder, worker, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 12)).astype("float32")
y = (x @ rng.normal(size=(12, 3))).argmax(1)
strategy = tf.distribute.MultiWorkerMirroredStrategy() if worker != "alone" else tf.distribute.get_strategy()
with strategy.scope():
    tf_keras.utils.set_random_seed(0)
    dense = tf_keras.layers.Dense
    model = tf_keras.Sequential([tf_keras.layers.InputLayer((12,)), dense(16, "relu"), dense(3)])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
class Said(tf_keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("epoch", epoch, flush=True)
        time.sleep(pause)
prune = ka.ADMMPrune(0.8, backup_dir=f"{folder}/admm_{worker}")  # each worker has a folder of its own
images = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
backup = tf_keras.callbacks.BackupAndRestore(f"{folder}/model")
model.fit(images, epochs=8, verbose=0, callbacks=[prune, backup, Said()])
np.savez(f"{folder}/{worker}.npz", *model.get_weights())
"""

PARTS = """
import sys
import jax, keras, numpy as np
addresses, worker, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if addresses:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    keras.distribution.initialize(addresses, 2, worker)
from jax.experimental import multihost_utils
import keras_admm as ka
if addresses:
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), keras.distribution.list_devices())
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*first/kernel"], layout[".*second/kernel"] = (None, "model"), ("model", None)
    parts = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch", auto_shard_dataset=False)
    keras.distribution.set_distribution(parts)
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x, y = (rng.normal(size=(64, width)).astype("float32") for width in (8, 6))
dense = keras.layers.Dense
model = keras.Sequential([keras.Input((8,)), dense(10, name="first"), dense(6, name="second")])
model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
def fit(**how):
    callbacks = [ka.ADMMPrune([0.5, 0.8], verbose=0, **how)]
    model.fit(x, y, epochs=6, batch_size=16, shuffle=False, verbose=0, callbacks=callbacks)
for how in ({"state": "host"}, {"state": "device", "backup_dir": file + ".states"}):
    try:
        addresses and fit(**how)
    except ValueError as error:
        print(error, flush=True)
fit(state="device")
weights = [v.value for v in model.trainable_variables]
if addresses:
    assert not weights[0].is_fully_addressable
    weights = [multihost_utils.process_allgather(w, tiled=True) for w in weights]
np.savez(file, *weights)
"""


def ports():
    with socket.socket() as first, socket.socket() as second:
        first.bind(("localhost", 0)), second.bind(("localhost", 0))
        return [each.getsockname()[1] for each in (first, second)]


def started(folder, workers, pause=0.0):
    """A process for each worker, with what it says in a file."""
    cluster = {"worker": [f"localhost:{port}" for port in ports()]}
    processes = []
    for index, worker in enumerate(workers):
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
        if worker != "alone":
            env["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, "-c", PROGRAM, str(folder), worker, str(pause)]
        with open(folder / f"{worker}.txt", "w") as said:
            processes.append(subprocess.Popen(command, env=env, stdout=said, stderr=subprocess.STDOUT))
    return processes


def finished(folder, workers):
    """The weights that each of some workers comes to."""
    for worker, process in zip(workers, started(folder, workers), strict=True):
        assert process.wait(300) == 0, (folder / f"{worker}.txt").read_text()[-2000:]
    return [list(np.load(folder / f"{worker}.npz").values()) for worker in workers]


@pytest.mark.tensorflow_only
def test_two_workers_are_as_one_and_go_on_after_one_was_killed(tmp_path):
    folders = [tmp_path / name for name in ("alone", "whole", "killed")]
    for folder in folders:
        folder.mkdir()
    (alone,), whole = finished(folders[0], ["alone"]), finished(folders[1], ["first", "second"])
    for a, b, c in zip(alone, *whole, strict=True):
        np.testing.assert_array_equal(b, c)
        np.testing.assert_array_equal(a == 0, b == 0)
        np.testing.assert_allclose(a, b, atol=1e-4)
    processes = started(folders[2], ["first", "second"], pause=0.5)
    until = time.monotonic() + 200
    while "epoch 4" not in (folders[2] / "second.txt").read_text():
        assert time.monotonic() < until and processes[1].poll() is None
        time.sleep(0.1)
    processes[1].kill(), processes[1].wait()
    assert processes[0].wait(200) != 0  # it says that the other one is gone
    again = finished(folders[2], ["first", "second"])
    assert "epoch 0" not in (folders[2] / "first.txt").read_text()
    for pair in zip(whole[0], *again, strict=True):
        np.testing.assert_allclose(pair[0], pair[1], atol=1e-6)
        np.testing.assert_array_equal(pair[1], pair[2])


@pytest.mark.every_backend
@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") != "jax", reason="Keras shards variables over JAX's devices alone")
def test_two_processes_with_a_part_of_each_kernel_are_as_one(tmp_path):
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}

    def finished(*workers, addresses=""):
        files, running = [tmp_path / f"{bool(addresses)}{worker}.npz" for worker in workers], []
        for worker, file in zip(workers, files, strict=True):
            command = [sys.executable, "-c", PARTS, addresses, str(worker), str(file)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            running.append(subprocess.Popen(command, env=env, **pipes))
        said = [process.communicate(timeout=300)[0] for process in running]
        assert not any(process.returncode for process in running), said[0][-2000:]
        return said[0], *(list(np.load(file).values()) for file in files)

    _, alone = finished(0)
    said, *both = finished(0, 1, addresses=",".join(f"localhost:{port}" for port in ports()))
    for text in ("Say state='device'", "backup_dir keeps whole weights"):
        assert text in said
    for a, b, c in zip(alone, *both, strict=True):
        np.testing.assert_array_equal(b, c)
        np.testing.assert_array_equal(a == 0, b == 0)
        np.testing.assert_allclose(a, b, atol=1e-4)
