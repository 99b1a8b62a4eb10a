"""Fits that end before their plan does."""

import numpy as np
import pytest
from keras import callbacks
from test_callbacks import batches, dense_model, warned

import keras_admm as ka
from keras_admm import weights

pytestmark = pytest.mark.every_backend

TARGETS = {
    "zeros": lambda **how: ka.ADMMPrune(0.5, **how),
    "levels": lambda **how: ka.ADMMQuantize(3, first_last="same", **how),
    "snap": lambda **how: ka.ADMMQuantize(3, first_last="same", retraining="snap", **how),
    "centroids": lambda **how: ka.ADMMCluster(4, first_last="same", retraining="centroids", **how),
}


class Diverges(callbacks.Callback):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            kernel = self.model.layers[0].kernel
            weights.write(kernel, np.full(kernel.shape, np.nan))


@pytest.mark.parametrize("target", TARGETS)
def test_nan_in_retraining_stops_with_one_warning_and_releases_the_model(target):
    model, compress = dense_model(jit_compile=False), TARGETS[target](admm_epochs=1, retrain_epochs=2)
    with warned() as said:
        history = model.fit(*batches(), epochs=3, verbose=0, callbacks=[compress, Diverges(at=1)])
    assert len(history.history["loss"]) == 2
    assert len(said) == 1 and "loss must stay finite" in said[0] and "Training stops" in said[0]
    assert compress.engine._held is None


def test_nan_in_an_admm_epoch_gives_no_advice_that_cannot_help():
    model = dense_model(jit_compile=False)
    with warned() as said:
        model.fit(*batches(), epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.5), Diverges(at=0)])
    assert len(said) == 1 and "Fit for longer" not in said[0]
