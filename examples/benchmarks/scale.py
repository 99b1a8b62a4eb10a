"""How long global magnitude pruning of many weights takes, streamed: `python examples/benchmarks/scale.py`.

Weights are made in shards, anew each time they are asked for, and pruned to a tenth by one threshold for all of them:
`keras_admm.selection.keep_largest`. Printed are the seconds of CPU time without those of making the shards, for each
million weights and as a ratio to `np.partition` of a shard's magnitudes; and the most memory that the process has had,
beyond what it had before, in shards.
"""

import argparse
import os
import resource
import shlex
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from overhead import machine

from keras_admm.selection import keep_largest

SHARD = 1 << 23  # weights
DENSITY = 0.1


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{machine('keras', 'numpy')}\n{shlex.join(sys.argv)}; shards of {SHARD:,} weights")
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


if __name__ == "__main__":
    main()
