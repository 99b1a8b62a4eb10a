"""Whose counts? One network pruned by ways to divide a budget, side by side: `ratios.py --data DATA --cache CACHE`.

LeNet-300-100 on MNIST at 30x, 60x and 115x, or LeNet-5 at 300x (`--network lenet5`), 8 epochs each, from the same dense
weights and with the same batches. What each layer keeps is told by a name of `ADMMPrune(allocation=...)`; by objects
that measure the model; by OLMP, the counts of its row in `mnist_olmp.jsonl` scaled by one factor, of several that with
the nearest rate; or by evolution: `keras_admm.search` with level switches, where a level is a hundredth of what is kept
and the divergence of the outputs from the dense ones is to be least. Each of these counts is then told to TFMOT too.

Each row that is done is appended to `--results`; what is there already is not run again, and `--table` prints what is
there. Nothing is chosen by the test set.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import data
import keras
import numpy as np
import recipe_methods
import resumable
from keras import ops
from recipe_methods import Job
from recipe_tasks import LENET5, LENET300
from show import machine, table

import keras_admm as ka

FOLDER = Path(__file__).parents[1] / "results"
RESULTS, OLMP = FOLDER / "ratios.jsonl", FOLDER / "mnist_olmp.jsonl"
KEYS = "network", "method", "rate", "seed"
TASKS = {
    "lenet300": replace(LENET300, epochs=8, rates=(30, 60, 115)),
    "lenet5": replace(LENET5, epochs=8, rates=(300,)),
}
LEVELS = 100  # a level is that share of what is kept


def by_name(how):
    """Counts by a way that needs the weights alone."""
    return lambda job: ka.allocate(arrays(job.dense()), job.sparsity, how)


def by_measure(make):
    """Counts by a way that measures the model on 512 of the training images."""

    def counts(job):
        model, how = job.dense(), make(tuple(part[:512] for part in job.train))
        kernels = recipe_methods.kernels(model)
        target = ka.PruningTarget(job.sparsity, allocation=how).of(model, kernels)
        sets = target.sets(arrays(model), 1.0)
        return {name: each.kept(tuple(kernels[name].shape))[0] for name, each in sets.items()}

    return counts


def by_olmp(job):
    """The counts of OLMP's row of the same seed, biases left out, scaled to the rate by one factor."""
    rows = [json.loads(line) for line in OLMP.read_text().splitlines()] if OLMP.exists() else []
    name = job.task.name
    rows = [row for row in rows if (row["network"], row["seed"]) == (name, job.seed)]
    if not rows:
        raise LookupError(f"needs OLMP's row of {name} and seed {job.seed} in {OLMP.name}: run mnist_olmp.py first.")
    found = min(rows, key=lambda row: abs(np.log(row["rate"] / job.rate)))
    sizes = {name: array.size for name, array in arrays(job.dense()).items()}
    kept = {name: found["counts"][name] for name in sizes}
    factor = sum(sizes.values()) / job.rate / sum(kept.values())
    return {name: min(sizes[name], max(1, round(factor * kept[name]))) for name in sizes}


def by_evolution(job):
    """The levels for which outputs on training images are nearest to the dense ones, without training."""
    model = job.dense()
    weights, kernels = arrays(model), recipe_methods.kernels(model)
    sizes = {name: array.size for name, array in weights.items()}
    x = job.train[0][:1024]
    dense = ops.log_softmax(model(x, training=False))
    unit = max(1, round(sum(sizes.values()) / job.rate / LEVELS))

    def counts(levels):
        return {name: int(min(sizes[name], unit * level)) for name, level in zip(sizes, levels, strict=True)}

    def divergence(levels):
        for name, count in counts(levels).items():
            kernels[name].assign(ka.constraints.Sparse(1 - count / sizes[name])(weights[name]))
        logs = ops.log_softmax(model(x, training=False))
        return float(ops.mean(ops.sum(ops.exp(dense) * (dense - logs), axis=-1)))

    start = [max(1, round(count / unit)) for count in ka.allocate(weights, job.sparsity, "lamp").values()]
    most = [max(2, size // unit) for size in sizes.values()]
    found = ka.search.minimize(divergence, start, (1, most), 800, job.seed, method="levels")
    return counts(found.x)


def following(counts):
    """The counts as an `allocation`, also on the way to the last sparsity: all tensors empty at the same pace."""

    def allocation(arrays, sparsity):
        sizes = {name: array.size for name, array in arrays.items()}
        last = 1 - sum(counts.values()) / sum(sizes.values())
        passed = min(1.0, sparsity / last + 1e-4)  # the counts were rounded
        return {name: round(size - passed * (size - counts[name])) for name, size in sizes.items()}

    return allocation


NAMED = "global", "uniform", "lamp", "erk"  # looked at anew at each move, as users have them
COUNTS = {name: by_name(name) for name in NAMED}
COUNTS |= {
    "owl": by_measure(lambda pair: ka.allocation.OWL(pair[0])),
    "saliency": by_measure(
        lambda pair: ka.allocation.Saliency(pair, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ),
    "olmp": by_olmp,
    "evolution": by_evolution,
}


def arrays(model):
    return {name: ops.convert_to_numpy(kernel) for name, kernel in recipe_methods.kernels(model).items()}


class Measurement:
    """What measures a cell; it holds the images of one seed and the dense weights."""

    def __init__(self, args):
        self._args = args

    def __call__(self, cell, done):
        network, method, rate, seed = cell
        task = TASKS[network]
        tool, _, how = method.partition(", ")
        train, validation, test = data.mnist_in(self._args.data, self._args.validation, seed)
        job = Job(task, rate, seed, self._dense(task, seed, train), train)
        began = time.time()
        counts = COUNTS[how](job)
        measured = time.time() - began
        if tool == "tfmot":
            model = recipe_methods.tfmot_counts(job, counts)
        else:
            model = recipe_methods.ours(job, allocation=how if how in NAMED else following(counts), verbose=0)
        kept = {name: int(np.count_nonzero(array)) for name, array in arrays(model).items()}
        return {
            "validation": round(task.score(model, validation), 3),
            "test": round(task.score(model, test), 3),
            "counts": kept,
            "dense validation": round(task.score(task.compiled(job.dense()), validation), 3),
            "seconds": round(time.time() - began),
            "seconds for counts": round(measured, 1),
            "machine": machine("keras", "tensorflow"),
        }

    def _dense(self, task, seed, train):
        """The dense weights of a seed, from the cache, or trained and put there."""
        path = Path(self._args.cache or ".") / f"ratios_{task.name}_{seed}.npz"
        if self._args.cache and path.exists():
            with np.load(path) as file:
                return [file[name] for name in file.files]
        keras.utils.set_random_seed(seed)
        model = task.compiled(task.network())
        model.fit(task.batches(train, seed), epochs=self._args.dense_epochs, verbose=0)
        if self._args.cache:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, *model.get_weights())
        return model.get_weights()


METHODS = [f"{tool}, {how}" for tool in ("ours", "tfmot") for how in COUNTS]


def summary(rows):
    """A line for each method and rate: means over the seeds, and the spread of the test accuracies."""
    for (network, method, rate), these in rows.by_seeds().items():
        told = [row["validation"] for row in these.values()], [row["test"] for row in these.values()]
        kept = ", ".join(f"{count:,}" for count in next(iter(these.values()))["counts"].values())
        numbers = f"{np.mean(told[0]):.2f}", f"{np.mean(told[1]):.2f}", f"{np.ptp(told[1]):.2f}"
        yield f"{network}, {method}, {rate}x", str(len(these)), *numbers, kept


def main():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--network", default="lenet300", choices=list(TASKS))
    parser.add_argument("--rates", type=int, nargs="+", help="weights for each that is kept; those above by default")
    parser.add_argument("--validation", type=int, default=6000, help="images of the training set")
    parser.add_argument("--dense-epochs", type=int, default=10)
    args = parser.parse_args()
    rows = resumable.Rows(args.results, KEYS)
    if not args.table:
        rates = args.rates or TASKS[args.network].rates
        cells = ((args.network, m, r, seed) for seed in args.seeds for r in rates for m in args.methods)
        rows.fill(cells, Measurement(args))
    print(table(("", "seeds", "validation", "test", "spread", "kept by layer"), summary(rows)))


if __name__ == "__main__":
    main()
