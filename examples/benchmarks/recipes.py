"""The default recipe of `ADMMPrune` beside its rivals: `examples/benchmarks/recipes.py --data FOLDER --cache FOLDER`.

Every method starts from the same dense weights of a task and a seed, sees the same batches in the same order, and has
the same epochs. Each row that is done is appended to `--results`; what is there already is not run again, so that a run
which was stopped goes on where it was. `--table` prints what is there: validation accuracy, by which everything here
was chosen, and test accuracy last. `FOLDER` of data: `mnist.npz`, `cifar10_jpeg.npz`, `resnet20_cifar10_torch.npz`,
`tinyshakespeare.txt`.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cifar_given
import keras
import numpy as np
import recipe_tasks
import resumable
from recipe_methods import METHODS, Job, kernels
from show import table

RESULTS = Path(__file__).parents[1] / "results" / "recipes.jsonl"
KEYS = ("task", "rate", "method", "seed")
OURS = "ours"
TASKS = {task.name: task for task in recipe_tasks.TASKS + recipe_tasks.LENGTHS}


def dense_weights(args, task, seed, train):
    """The dense weights of a task and a seed, from the cache, or trained and put there."""
    path = Path(args.cache) / f"{task.dense or task.name}_{seed}.npz"
    keras.utils.set_random_seed(seed)
    model = cifar_given.given(20, args.data) if task.name == "resnet20" else task.network()
    if not task.dense_epochs:
        return model.get_weights()
    if not path.exists():
        task.compiled(model, optimizer=recipe_tasks.ADAM)
        model.fit(task.batches(train, 100 + seed), epochs=task.dense_epochs, verbose=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".new.npz"), *model.get_weights())
        os.replace(path.with_suffix(".new.npz"), path)
    with np.load(path) as file:
        return [file[name] for name in file.files]


class Measurement:
    """What measures a cell; it holds the arrays of one task and seed."""

    def __init__(self, args):
        self._args, self._at = args, None

    def __call__(self, cell, done):
        name, rate, method, seed = cell
        task = TASKS[name]
        train, validation, test = self.arrays(task, seed)
        weights = dense_weights(self._args, task, seed, train)
        job = Job(task, rate, seed, weights, train, done.get((name, rate, OURS, seed), {}).get("counts"))
        keras.utils.set_random_seed(seed)
        began = time.time()
        model = task.compiled(job.dense()) if method == "dense" else METHODS[method](job)
        seconds = time.time() - began
        counts = {name: int(np.count_nonzero(kernel.numpy())) for name, kernel in kernels(model).items()}
        return {
            "validation": round(task.score(model, validation), 4),
            "test": round(task.score(model, test), 4),
            "kept": sum(counts.values()),
            "counts": counts,
            "seconds": round(seconds),
        }

    def arrays(self, task, seed):
        if self._at != (task.arrays, seed):
            self._parts, self._at = task.arrays(self._args.data, seed), (task.arrays, seed)
        return self._parts


def cells(args):
    """What is asked for: tasks, seeds, rates and methods, in this order."""
    for name in args.tasks:
        for seed in args.seeds:
            yield name, 1, "dense", seed
            for rate in TASKS[name].rates:
                yield from ((name, rate, m, seed) for m in args.methods if not args.rates or rate in args.rates)


def summary(rows):
    """A line for each task, rate and method that is there: means over the seeds, their spread, and how far ours is
    ahead, seed by seed; of perplexities in percent."""
    done = rows.by_seeds()
    for (task, rate, method), these in done.items():
        ours = done.get((task, rate, OURS), {})
        ahead = [gain(task, ours[seed], row) for seed, row in these.items() if seed in ours]
        validation, test = ([row[part] for row in these.values()] for part in ("validation", "test"))
        yield (
            f"{task}, {rate}x, {method}",
            str(len(these)),
            f"{next(iter(these.values()))['kept']:,}",
            f"{np.mean(validation):.2f}",
            f"{np.std(validation):.2f}",
            f"{np.mean(ahead):+.2f}" if ahead else "",
            f"{np.mean(test):.2f}",
        )


def gain(task, ours, other):
    a, b = ours["validation"], other["validation"]
    return 100 * (b / a - 1) if TASKS[task].perplexity else a - b


def arguments():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in recipe_tasks.TASKS], choices=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rates", nargs="+", type=int, help="of those that the task has; by default all")
    return parser.parse_args()


def main():
    args = arguments()
    rows = resumable.Rows(args.results, KEYS)
    if not args.table:
        rows.fill(cells(args), Measurement(args))
    head = ("", "seeds", "kept", "validation", "deviation", "ours ahead", "test")
    print(table(head, summary(rows)))


if __name__ == "__main__":
    main()
