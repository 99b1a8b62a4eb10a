"""How long looking at what a model looks at takes: `python examples/benchmarks/dashboard.py`. No data.

On the CNN-RNN of the Deep Motif Dashboard, random weights and sequences of 101 letters. Seconds are those of the
processor, tracing and compiling with them; ratios are taken side by side in one run, the medians of several.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import show
from deepmotif import network

import keras_admm as ka
from keras_admm.gradients import Forward, Gradient

RUNS = 3


def sequences(count, length=101):
    return np.eye(4, dtype="float32")[np.random.default_rng(0).integers(0, 4, (count, length))]


def ratio(run, beside):
    """The median of the ratios of two functions' times, run in turn, and that of the first in seconds."""
    times = np.array([[_seconds(each) for each in (run, beside)] for _ in range(RUNS + 1)])[1:]
    return np.median(times[:, 0] / times[:, 1]), np.median(times[:, 0])


def _seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def saliency(model):
    """Saliency of 1,000 sequences, beside their forward pass; both compiled."""
    x = sequences(1000)
    forward, gradient = Forward("benchmark", model), Gradient("benchmark", model, lambda outputs: outputs[:, 1])
    return ratio(lambda: gradient(x), lambda: forward(x))


def temporal(model, one_way):
    """Scores of all cuts of sequences, beside the 202 cuts of each one's map in one padded and masked batch."""
    from keras_admm.explain.cut import Cut
    from keras_admm.gradients import Runner

    x, length = sequences(64), 101
    cut, runner = Cut("benchmark", model), Runner("benchmark", model, 2 * length)
    kept = np.concatenate([np.tri(length), np.tri(length).T]).astype("float32")

    def after(variables, values, mask):
        with runner.scope(variables):
            return cut.after(values, mask > 0)

    maps = x if one_way else Forward("benchmark", keras.Sequential([keras.Input((length, 4)), model.layers[0]]))(x)

    def padded():
        compiled = runner.autodiff.compiled(after)  # each time, as temporal_scores does
        for sample in maps:
            runner.run(compiled, 2 * length, np.broadcast_to(sample, (2 * length, *sample.shape)), kept)

    return ratio(lambda: ka.explain.temporal_scores(model, x, 1), padded)


def page(models):
    """The page of 20 samples under three models."""
    x, folder = sequences(20), tempfile.mkdtemp()
    return _seconds(
        lambda: ka.dashboard(models, x, np.arange(20) % 2, os.path.join(folder, "page.html"), alphabet="ACGT")
    )


def main():
    layers = keras.layers
    model = network("CNN-RNN")
    one_way = keras.Sequential([keras.Input((101, 4)), layers.LSTM(32), layers.Dense(2, "softmax")])
    print(show.machine("keras", keras.backend.backend()))
    rows = [("saliency of 1,000 sequences to a forward pass", saliency(model), "4x")]
    rows += [("temporal scores of 64 sequences to 202 padded cuts of each", temporal(model, one_way=False), "1.2x")]
    rows += [("the same, a layer that goes one way", temporal(one_way, one_way=True), "1.2x")]
    lines = [[name, f"{found:.2f}x", mark, f"{seconds:.2f}"] for name, (found, seconds), mark in rows]
    seconds = page({name: network("CNN-RNN") for name in ("dense", "30x", "100x")})
    lines.append(["page of 20 samples, three models", "-", "60 s", f"{seconds:.1f}"])
    print(show.table(["what", "measured", "mark", "seconds"], lines))


if __name__ == "__main__":
    main()
