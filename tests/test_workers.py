"""Two workers under `MultiWorkerMirroredStrategy`, in processes of their own: as one, and after one was killed.

Of tf_keras: `fit` of Keras 3 cannot train under this strategy (keras-team/keras#20585).
"""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow_only, pytest.mark.nightly]
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


def ports():
    with socket.socket() as first, socket.socket() as second:
        first.bind(("localhost", 0)), second.bind(("localhost", 0))
        return [each.getsockname()[1] for each in (first, second)]


def started(folder, workers, pause=0.0):
    """A process for each worker, with what it says in a file."""
    cluster = {"worker": [f"localhost:{port}" for port in ports()]}
    processes = []
    for index, worker in enumerate(workers):
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
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
