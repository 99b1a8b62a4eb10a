"""What an epoch's end costs under ADMM: `python examples/benchmarks/epoch_ends.py`.

Prints, for the 25.5 million weights of ResNet-50's kernels in 54 arrays, the CPU seconds of the end of an ADMM epoch (Z
and U move), of the one that also projects, and of a retraining epoch, and their ratios to `np.partition(np.abs(w), k)`
of as many normal weights in the same process; and the most memory that the end of an epoch took beside what was there
before it (the model, its optimizer, the target and U), in float32s for each weight. Each target runs in a process of
its own. What is timed is all that happens between the last batch of an epoch and the first of the next, the callbacks
of Keras included; the training itself is a step on a loss without data, which costs little. The marks are 1.5 s, 1.5 s,
0.2 s and 2 floats. With the default recipe Z and U move within epochs: `a move` is what the callback does then at the
end of a batch, on JAX the weights' way back into the variables included.
"""

import argparse
import gc
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
from show import machine

import keras_admm as ka

TARGETS = {
    "default": lambda: ka.ADMMPrune(0.9, admm_epochs=3),
    "global": lambda: ka.ADMMPrune(0.9, recipe="paper"),
    "uniform": lambda: ka.ADMMPrune(0.9, recipe="paper", allocation="uniform"),
    "path": lambda: ka.ADMMPrune(0.9, recipe="paper", path="geometric"),
    "levels": lambda: ka.ADMMQuantize(bits=4),
    "codebook": lambda: ka.ADMMCluster(16),
}
PAGE = os.sysconf("SC_PAGE_SIZE")


def shapes():
    """Those of the kernels of ResNet-50."""
    yield 7, 7, 3, 64
    inputs = 64
    for filters, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            yield from ((1, 1, inputs, filters), (3, 3, filters, filters), (1, 1, filters, 4 * filters))
            if not block:
                yield 1, 1, inputs, 4 * filters
            inputs = 4 * filters
    yield 2048, 1000


class Kernels(keras.layers.Layer):
    """Kernels whose squares are the loss: what trains them costs no convolutions."""

    def build(self, shape):
        deviations = [float(np.prod(s[:-1])) ** -0.5 for s in shapes()]
        normal = [keras.initializers.RandomNormal(stddev=d, seed=i) for i, d in enumerate(deviations)]
        self.kernels = [self.add_weight(shape=s, initializer=n) for s, n in zip(shapes(), normal, strict=True)]

    def call(self, x):
        return x * sum(keras.ops.sum(keras.ops.square(kernel)) for kernel in self.kernels)


def resident():
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Peak:
    """The most memory that the process has had since `begin`, looked at each millisecond, and what looking cost."""

    seconds = 0.0

    def begin(self):
        self.start = self.most = resident()
        self.looking = True
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def end(self):
        self.looking = False
        self.thread.join()
        return self.most - self.start

    def _look(self):
        while self.looking:
            self.most = max(self.most, resident())
            time.sleep(1e-3)
        self.seconds = time.thread_time()


class Ends(keras.callbacks.Callback):
    """Measures from the last batch of each epoch to the first of the next: CPU seconds, and memory."""

    def __init__(self):
        super().__init__()
        self.seconds, self.peaks = [], []
        self.peak, self.began = Peak(), None

    def on_epoch_end(self, epoch, logs=None):
        gc.collect()
        self.peak.begin()
        self.began = time.process_time()

    def on_train_batch_begin(self, batch, logs=None):
        self.close()

    def close(self):
        if self.began is not None:
            self.peaks.append(self.peak.end())
            self.seconds.append(time.process_time() - self.began - self.peak.seconds)
            self.began = None


class Moves:
    """Measures the moves of Z and U that a callback makes within epochs: CPU seconds."""

    def __init__(self, callback):
        self.seconds = []
        self._end_steps = callback.end_steps
        callback.end_steps = self._timed

    def _timed(self, count):
        began = time.process_time()
        self._end_steps(count)
        self.seconds.append(time.process_time() - began)


def fitted(callbacks):
    """The `Ends` of a fit of six epochs, three of them under ADMM."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), Kernels()])
    jit = {"jit_compile": False} if keras.backend.backend() == "tensorflow" else {}
    model.compile(keras.optimizers.Adam(1e-4), "mse", **jit)
    ends = Ends()
    x = np.ones((2, 1), "float32")
    model.fit(x, x, epochs=6, batch_size=1, verbose=0, callbacks=[ends, *callbacks])
    ends.close()
    return ends


def measure(name):
    """Prints a row of the table."""
    w = np.random.default_rng(0).standard_normal(sum(int(np.prod(s)) for s in shapes()), "float32")
    seconds = []
    for _ in range(5):
        began = time.process_time()
        np.partition(np.abs(w), round(0.9 * w.size))
        seconds.append(time.process_time() - began)
    weights, selection = w.size, float(np.median(seconds))
    del w
    callback = TARGETS[name]()
    moves = Moves(callback)
    ends = fitted([callback])
    parts = [ends.seconds[1], ends.seconds[2], float(np.median(ends.seconds[3:5]))]
    times = "".join(f"{s:>8.2f} ({s / selection:>4.1f})" for s in parts)
    move = float(np.median(moves.seconds[1:6])) if moves.seconds else None  # of the 6 steps of ADMM; each ends in one
    times += " " * 15 if move is None else f"{move:>8.2f} ({move / selection:>4.1f})"
    print(f"{name:<10}{times}{max(ends.peaks) / 4 / weights:>8.1f}{1e3 * selection:>12.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--one", choices=list(TARGETS), help="in this process, without a head")
    args = parser.parse_args()
    if args.one:
        measure(args.one)
        return
    weights = sum(int(np.prod(s)) for s in shapes())
    print(f"{machine('keras', keras.backend.backend(), 'numpy')}\n{shlex.join(sys.argv)}")
    print(f"load of the machine {os.getloadavg()[0]:.1f}; {weights:,} weights; CPU seconds (ratio to np.partition)\n")
    head = ("ADMM epoch", "with projection", "retraining", "a move", "peak", "partition ms")
    print("{:<10}{:>15}{:>16}{:>14}{:>14}{:>8}{:>14}".format("", *head), flush=True)
    for name in args.targets:
        subprocess.run([sys.executable, __file__, "--one", name], check=True)


if __name__ == "__main__":
    main()
