"""How long the projection on sparse tensors takes, beside a selection: `python examples/benchmarks/projection.py`.

Prints, for arrays of 1, 10 and 100 million float32 weights, the time of `keras_admm.constraints.Sparse(0.9)` and of
other ways to a threshold as ratios to `np.partition(np.abs(x), k)`, which finds the threshold and no more. TFMOT
sorts: its `tf.math.top_k` keeps all entries. The measure is CPU time of the process on one thread; the ways take
turns, and a ratio is of one round's times. Fresh memory can be slow to come by, for any of them: the last column
compares the least times. Then the projections on few values, of 25 million weights.
"""

import argparse
import ctypes
import os
import shlex
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from overhead import PACKAGES, machine

from keras_admm.constraints import Binary, Codebook, Levels, Sparse

SPARSITY = 0.9
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
SELECTION = "np.partition(np.abs(x), k)"


def ways(x):
    """What is timed, by name: functions without arguments, the one that all are compared with first."""
    tensor = tf.constant(x)
    zeros = round(SPARSITY * x.size)
    project = Sparse(SPARSITY)
    return {
        SELECTION: lambda: np.partition(np.abs(x), zeros),
        "Sparse of a NumPy array": lambda: project(x),
        "Sparse of a TensorFlow tensor": lambda: project(tensor),
        "top_k of all entries, as TFMOT": lambda: tf.math.top_k(tf.abs(tensor), k=x.size),
        "top_k of the kept entries": lambda: tf.math.top_k(tf.abs(tensor), k=x.size - zeros),
    }


def keep_memory():
    """Let the process keep what it frees (with glibc), so that the arithmetic is compared and not the system's memory.

    Pages that went back to the system are slow to come by, on a virtual machine by more than a projection takes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def measured(run, args):
    """CPU seconds of each way in each round: an array (way, round)."""
    run = list(run)
    shuffled = np.random.default_rng(args.seed).permutation
    seconds = np.empty((len(run), args.rounds))
    for r in range(args.rounds):
        for i in shuffled(len(run)):
            # Once unmeasured: memory that no way has had yet is slow to come by.
            run[i]()
            began = time.process_time()
            run[i]()
            seconds[i, r] = time.process_time() - began
    return seconds


def show(size, args, expected):
    """Prints the table of one size. `expected` has the seconds of each way, and is moved on to the next size."""
    x = np.random.default_rng(args.seed).standard_normal(size, dtype="float32")
    every = ways(x)
    run = {name: way for name, way in every.items() if expected.get(name, 0.0) <= args.limit}
    seconds = measured(run.values(), args)
    selection = seconds[0]
    print(f"\n{size:,} weights, {args.rounds} rounds, {SELECTION} {1e3 * np.median(selection):.0f} ms")
    print(f"{'ratio to it':<32}{'median':>8}{'min..max':>16}{'of the best':>14}")
    for name, way in list(zip(run, seconds, strict=True))[1:]:
        ratios = way / selection
        span, best = f"{ratios.min():.2f}..{ratios.max():.2f}", way.min() / selection.min()
        print(f"{name:<32}{np.median(ratios):>8.2f}{span:>16}{best:>14.2f}", flush=True)
    for name in (n for n in every if n not in run):
        print(f"{name:<32} left out: about {expected[name]:.0f} s for each round, by its time for the size before")
    expected.update((name, np.median(way)) for name, way in zip(run, seconds, strict=True))


def show_few(size, args):
    """Prints how long the projections on few values take."""
    x = np.random.default_rng(args.seed).standard_normal(size, dtype="float32")
    few = {
        "Levels(4)": Levels(4),
        "Levels(4, zero=False)": Levels(4, zero=False),
        "Binary()": Binary(),
        "Codebook(16)": Codebook(16),
    }
    seconds = measured([lambda s=s: s(x) for s in few.values()], args)
    print(f"\n{size:,} weights, {args.rounds} rounds")
    print(f"{'seconds':<32}{'median':>8}{'min..max':>16}")
    for name, each in zip(few, seconds, strict=True):
        print(f"{name:<32}{np.median(each):>8.2f}{f'{each.min():.2f}..{each.max():.2f}':>16}", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 10, 100], help="of weights, ascending")
    parser.add_argument("--few", type=int, default=25, help="millions of weights that are projected on few values")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds that one call may be expected to take")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    args = arguments()
    keep_memory()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(f"{machine(*PACKAGES)}\nseed {args.seed}, sparsity {SPARSITY}; {shlex.join(sys.argv)}")
    expected, before = {}, None
    for millions in args.millions:
        growth = millions / before if before else 1.0
        expected = {name: seconds * growth for name, seconds in expected.items()}
        show(millions * 10**6, args, expected)
        before = millions
    show_few(args.few * 10**6, args)


if __name__ == "__main__":
    main()
