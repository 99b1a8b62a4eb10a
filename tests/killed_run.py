"""A run with `backup_dir` and `BackupAndRestore` that kills itself where it is told to, and how a run ended."""

import argparse
import contextlib
import hashlib
import importlib
import os
import signal
import time

import conftest as conftest
import numpy as np

import keras_admm as ka
from keras_admm import weights

keras = importlib.import_module(os.environ.get("KERAS_LIBRARY", "keras"))  # or tf_keras: it reads alike


class Killed(BaseException):
    """Ends a run in the process of the tests: nothing of it is used afterwards."""


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_here():
    raise Killed


def watch(keras, die, last, slow):
    """A callback that prints each epoch, and dies in the last."""

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            print("epoch", epoch, flush=True)
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if slow:
                time.sleep(0.1)
            if last == self.epoch and batch == 1:
                die()

    return Watch()


@contextlib.contextmanager
def death_in_write(die, epoch):
    """Half of the file of an epoch is written, no more."""
    whole = np.savez

    def savez(file, **arrays):
        if int(arrays["epoch"]) == epoch:
            file.write(b"half a file")
            file.flush()
            die()
        whole(file, **arrays)

    np.savez = savez if epoch else whole
    try:
        yield
    finally:
        np.savez = whole


def run(folder, keras=keras, die=kill, die_in_epoch=None, die_in_write=None, slow=False, alone=False):
    """How a run ended whose files are in a folder: begun there, or gone on with; `alone`: without Keras's backup."""
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()  # the names of a new process
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 8)).astype("float32"), rng.normal(size=(32, 6)).astype("float32")
    dense = keras.layers.Dense
    # tf_keras draws its dropout from a state that no file holds.
    dropout = keras.layers.Dropout(0.2 if keras.__name__ == "keras" else 0.0)
    model = keras.Sequential([keras.Input((8,)), dense(10, activation="relu"), dropout, dense(6)])
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    callbacks = [
        ka.ADMMPrune(
            [0.5, 0.9],
            path="geometric",
            penalty=ka.penalties.GradientPenalty(rho=0.01),
            learning_rate={"retrain": 0.005},
            backup_dir=f"{folder}/admm",
        ),
        *([] if alone else [keras.callbacks.BackupAndRestore(f"{folder}/keras")]),
        watch(keras, die, die_in_epoch, slow),
    ]
    with death_in_write(die, die_in_write):
        history = model.fit(x, y, epochs=8, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks).history
    return how_it_ended(model, history)


def how_it_ended(model, history):
    values = [weights.read(v) for v in model.trainable_variables]
    return {
        "epochs": len(history["sparsity"]),
        "kept": int(sum(np.count_nonzero(v) for v in values if v.ndim == 2)),
        "sparsity": [float(s) for s in history["sparsity"][-3:]],
        "rate": round(float(model.optimizer.learning_rate), 6),
        "steps": history["admm_step"][-3:],
        "weights": hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest(),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--die-in-epoch", type=int)
    parser.add_argument("--die-in-write", type=int)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    run(**vars(args))


if __name__ == "__main__":
    main()
