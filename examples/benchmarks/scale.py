"""How long global magnitude pruning of many weights takes, streamed: `python examples/benchmarks/scale.py`.

Weights are made in shards, anew each time they are asked for, and pruned to a tenth by one threshold for all of them:
`keras_admm.selection.keep_largest`. Printed are the seconds of CPU time without those of making the shards, for each
million weights and as a ratio to `np.partition` of a shard's magnitudes; and the most memory that the process has had,
beyond what it had before, in shards.

With `--training 200` a Keras model of so many millions of weights is trained instead, each time in a process of its
own: by plain `fit`, and under `ADMMPrune` with its default recipe and with the papers'. Printed are the most memory
that the process has had, beyond that of plain `fit` and in float32s for each weight (the mark is two); and the CPU
seconds for each 25 million weights (the mark is 1.5) of what comes between two epochs, as `epoch_ends.py` measures it,
and their ratio to `np.partition` of as many magnitudes.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from overhead import machine

from keras_admm.selection import keep_largest

SHARD = 1 << 23  # weights
DENSITY = 0.1
WIDTH = 4096  # of the Dense layers of the model that is trained


class Made:
    """Shards of normal weights of deviations of their own, and the CPU time that making them took."""

    def __init__(self, weights, seed):
        self.weights, self.seed, self.seconds = weights, seed, 0.0

    def __call__(self):
        for number, start in enumerate(range(0, self.weights, SHARD)):
            begin = time.process_time()
            rng = np.random.default_rng((self.seed, number))
            shard = rng.standard_normal(min(SHARD, self.weights - start), "float32")
            shard *= np.float32(0.01 * (1 + number % 7))
            self.seconds += time.process_time() - begin
            yield shard


def memory():
    """The most bytes that the process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def partition(shard):
    begin = time.process_time()
    np.partition(np.abs(shard), round((1 - DENSITY) * shard.size))
    return (time.process_time() - begin) / shard.size


def project(args):
    print(f"{shlex.join(sys.argv)}; shards of {SHARD:,} weights")
    selection = np.median([partition(next(Made(SHARD, args.seed)())) for _ in range(5)])
    print(f"\n{'weights':>15}  {'kept':>12}  seconds  per million  to np.partition  memory in shards")
    for millions in args.millions:
        shards, before, begin, kept = Made(round(1e6 * millions), args.seed), memory(), time.process_time(), 0
        for shard in keep_largest(shards, round(DENSITY * shards.weights)):
            kept += np.count_nonzero(shard)
        seconds = time.process_time() - begin - shards.seconds
        share = seconds / shards.weights
        grown = (memory() - before) / (4 * min(SHARD, shards.weights))
        print(
            f"{shards.weights:15,}  {kept:12,}  {seconds:7.2f}  {1e6 * share:11.4f}  {share / selection:15.2f}  "
            f"{grown:16.1f}",
            flush=True,
        )


def ways():
    import keras_admm as ka

    return {
        "plain fit": lambda: [],
        "ADMMPrune, default": lambda: [ka.ADMMPrune(1 - DENSITY, admm_epochs=3)],
        "ADMMPrune, paper": lambda: [ka.ADMMPrune(1 - DENSITY, recipe="paper", admm_epochs=3)],
    }


def train(way, layers, seed):
    """Prints as JSON what a fit of six epochs of two steps, three of them under ADMM, has taken."""
    import keras
    from epoch_ends import Ends, Moves

    keras.utils.set_random_seed(seed)
    dense = [keras.layers.Dense(WIDTH, "relu", use_bias=False) for _ in range(layers)]
    model = keras.Sequential([keras.Input((WIDTH,)), *dense])
    model.compile("adam", "mse")
    ends, ours = Ends(), ways()[way]()
    moves = [Moves(callback) for callback in ours]
    x = np.random.default_rng(seed).standard_normal((8, WIDTH), "float32")
    model.fit(x, x, epochs=6, batch_size=4, verbose=0, callbacks=[ends, *ours])
    ends.close()
    moved = [seconds for each in moves for seconds in each.seconds[1:6]]
    epochs = [ends.seconds[1], ends.seconds[2], float(np.median(ends.seconds[3:5]))]
    print(json.dumps({"memory": memory(), "epochs": epochs, "move": float(np.median(moved)) if moved else None}))


def in_a_process(way, layers, seed):
    command = [sys.executable, __file__, "--way", way, "--training", layers * WIDTH**2 / 1e6, "--seed", seed]
    return json.loads(subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True).stdout)


def compare(layers, seed):
    weights, plain = layers * WIDTH**2, None
    selection = np.median([partition(next(Made(weights, seed)())) for _ in range(3)])
    print(f"{shlex.join(sys.argv)}; {layers} Dense layers of {WIDTH} x {WIDTH}, {weights:,} weights, Adam")
    print("memory in float32s a weight; CPU seconds for each 25 million weights (ratio to np.partition)\n")
    head = ("GB", "over plain", "ADMM epoch", "with projection", "retraining", "a move")
    print("{:<20}{:>6}{:>12}{:>16}{:>16}{:>16}{:>16}".format("", *head))
    for way in ways():
        found = in_a_process(way, layers, seed)
        plain = plain or found["memory"]
        over = (found["memory"] - plain) / 4 / weights
        seconds = [s / weights for s in (*found["epochs"], *([found["move"]] if found["move"] else []))]
        cells = "".join(f"{f'{25e6 * s:.2f} ({s / selection:.1f})':>16}" for s in seconds)
        print(f"{way:<20}{found['memory'] / 1e9:>6.2f}{over:>12.2f}{cells}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--training", type=float, help="train a model of about so many million weights")
    parser.add_argument("--way", help="in this process")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    layers = args.training and max(1, round(1e6 * args.training / WIDTH**2))
    if args.way:
        train(args.way, layers, args.seed)
        return
    if args.training:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    packages = ["keras", "numpy", *([os.environ["KERAS_BACKEND"]] if args.training else [])]
    print(machine(*packages))
    compare(layers, args.seed) if args.training else project(args)


if __name__ == "__main__":
    main()
