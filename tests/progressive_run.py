"""A progressive search as a program of its own: `progressive_run.py FOLDER [workers] [trial epoch]` where it is killed.

Prints the record in JSON, and what the model is then.
"""

import functools
import json
import os
import signal
import sys

import keras
import numpy as np

import keras_admm as ka

X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
SPARSITIES = [0.3, 0.5, 0.6, 0.7]


def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(10, "relu", name="a"), keras.layers.Dropout(0.1), keras.layers.Dense(8, name="b")]
    model = keras.Sequential([keras.Input((8,)), *layers], name="m")
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    return model


class Kill(keras.callbacks.Callback):
    """Counts the fits of this process, and kills it as an epoch of one begins."""

    fits = 0

    def __init__(self, at):
        super().__init__()
        self._at = at
        Kill.fits += 1

    def on_epoch_begin(self, epoch, logs=None):
        if [Kill.fits, epoch] == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def fit(model, callbacks, at=None):
    callbacks = [*callbacks, Kill(at)]
    return model.fit(X, X, epochs=4, shuffle=False, validation_data=(X, X), verbose=0, callbacks=callbacks)


def main():
    folder, workers, *at = sys.argv[1:]
    model = network()
    train = functools.partial(fit, at=[*map(int, at)])
    how = {"candidates": 2, "backup_dir": None if folder == "-" else folder, "workers": int(workers), "verbose": 0}
    found = ka.progressive_search(model, SPARSITIES, train, **how)
    sums = [float(np.abs(w.astype(float)).sum()) for w in model.get_weights()]
    print(json.dumps({**found.to_dict(), "sums": sums}))


if __name__ == "__main__":
    main()
