"""OLMP on MNIST, no ratio chosen by hand: `python examples/mnist_olmp.py --data DATA --cache CACHE`.

LeNet-300-100 and LeNet-5 in 30,000 training steps of 64 images, as in the paper (Li et al., IJCAI 2018), each moved by
up to one pixel: half of the steps with searches (`--stop-at` others), then masked training. 6,000 training images are
for validation: the searches look at 1,000 of them, drawn anew for each. Weights and biases are counted. Each row that
is done is appended to `--results`; what is there already is not run again, and `--table` prints what is there. Nothing
is chosen by the test set.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import data
import keras
import numpy as np
import resumable
from mnist_lenet5 import lenet5
from mnist_lenet300 import lenet300
from show import machine, table

import keras_admm as ka

RESULTS = Path(__file__).parent / "results" / "mnist_olmp.jsonl"
KEYS = "network", "delta", "steps", "stop at", "seed"
NETWORKS = {"lenet300": lenet300, "lenet5": lenet5}
BATCH, RATE, L1 = 64, 1e-3, 1e-4


def compiled(model, steps):
    """Adam with a rate that falls to zero. TensorFlow's own operations are faster than XLA's on few cores."""
    schedule = keras.optimizers.schedules.CosineDecay(RATE, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"], jit_compile=False)
    return model


def score(model, pair):
    return round(100 * model.evaluate(*pair, batch_size=1000, verbose=0)[1], 3)


def dense(args, network, seed, train):
    """The dense network of a seed, from the cache, or trained and put there; the L1 readies it for thinning."""
    path = Path(args.cache or ".") / f"olmp_{network}_{seed}.npz"
    keras.utils.set_random_seed(seed)
    batches = data.Shifted(*train, BATCH, 1, seed)
    model = compiled(NETWORKS[network](L1), args.dense_epochs * len(batches))
    if args.cache and path.exists():
        with np.load(path) as file:
            model.set_weights([file[name] for name in file.files])
        return model
    model.fit(batches, epochs=args.dense_epochs, verbose=0)
    if args.cache:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, *model.get_weights())
    return model


class Clock(keras.callbacks.Callback):
    """Prints each search that has passed."""

    def __init__(self, prune):
        super().__init__()
        self._prune, self._began, self._seen = prune, time.time(), 0

    def on_epoch_end(self, epoch, logs=None):
        for row in self._prune.searches[self._seen :]:
            told = f"{1 / row['left']:.1f}x at {row['score']:.4f} (at least {row['least']:.4f}), {row['scored']} masks"
            print(f"step {row['step']:,}: {told}; {time.time() - self._began:.0f} s", flush=True)
        self._seen = len(self._prune.searches)


class Measurement:
    """What measures a cell; it holds the images of one seed."""

    def __init__(self, args):
        self._args = args

    def __call__(self, cell, done):
        network, delta, steps, stop, seed = cell
        train, validation, test = data.mnist_in(self._args.data, self._args.validation, seed)
        model = dense(self._args, network, seed, train)
        before = score(model, validation), score(model, test)
        batches = data.Shifted(*train, BATCH, 1, 100 + seed)
        epochs = max(1, steps // len(batches))
        model = compiled(model, epochs * len(batches))
        prune = ka.OLMP(
            delta,
            validation_data=validation,
            batch_size=1000,
            search_every=max(1, steps // 60),
            stop_at=stop,
            method=self._args.method,
            seed=seed,
            verbose=0,
        )
        began = time.time()
        model.fit(batches, epochs=epochs, verbose=0, callbacks=[prune, Clock(prune)])
        kept, size = sum(prune.counts.values()), model.count_params()
        last = prune.searches[-1]
        return {
            "dense validation": before[0],
            "dense test": before[1],
            "validation": score(model, validation),
            "test": score(model, test),
            "rate": round(size / kept, 2),
            "counts": prune.counts,
            "searches": len(prune.searches),
            "masks scored": sum(row["scored"] for row in prune.searches),
            "last search": {key: round(last[key], 4) for key in ("score", "least", "left")},
            "seconds": round(time.time() - began),
            "machine": machine("keras", "tensorflow"),
        }


def summary(rows):
    """A line for each row, and the mean of each cell."""
    names = "rate", "dense validation", "dense test", "validation", "test"
    for cell, these in rows.by_seeds().items():
        lines = {f"seed {seed}": [row[name] for name in names] for seed, row in these.items()}
        lines[f"mean of {len(these)}"] = np.mean(list(lines.values()), axis=0)
        for label, numbers in lines.items():
            steps = f"{cell[2]:,} steps, to {cell[3]:,}"
            yield f"{cell[0]}, delta {cell[1]}, {steps}, {label}", *(f"{number:.2f}" for number in numbers)


def main():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--delta", type=float, nargs="+", default=[0.003], help="see keras_admm.OLMP")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--stop-at", type=int, help="step from which the masks are held; half of the steps by default")
    parser.add_argument("--dense-epochs", type=int, default=10)
    parser.add_argument("--validation", type=int, default=6000, help="images of the training set to search by")
    parser.add_argument("--method", default="ncs", choices=["ncs", "cma"])
    args = parser.parse_args()
    rows = resumable.Rows(args.results, KEYS)
    if not args.table:
        how = args.steps, args.steps // 2 if args.stop_at is None else args.stop_at
        cells = ((n, d, *how, seed) for n in args.networks for d in args.delta for seed in args.seeds)
        rows.fill(cells, Measurement(args))
    print(table(("", "rate", "dense val.", "dense test", "validation", "test"), summary(rows)))


if __name__ == "__main__":
    main()
