"""The default recipe of `ADMMPrune` beside its rivals: `examples/benchmarks/recipes.py --data FOLDER --cache FOLDER`.

Every method starts from the same dense weights of a task and a seed, sees the same batches in the same order, and has
the same epochs. Each row that is done is appended to `--results`; what is there already is not run again, so that a run
which was stopped goes on where it was. `--table` prints what is there: validation accuracy, by which everything here
was chosen, and test accuracy last. `FOLDER` of data: `mnist.npz`, `cifar10_jpeg.npz`, `resnet20_cifar10_torch.npz`,
`tinyshakespeare.txt`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import recipe_tasks
from recipe_methods import METHODS, Job, kernels
from show import table

RESULTS = Path(__file__).parents[1] / "results" / "recipes.jsonl"
OURS = "ours"
TASKS = {task.name: task for task in recipe_tasks.TASKS}


def dense_weights(args, task, seed, train):
    """The dense weights of a task and a seed, from the cache, or trained and put there."""
    path = Path(args.cache) / f"{task.dense or task.name}_{seed}.npz"
    keras.utils.set_random_seed(seed)
    model = recipe_tasks.given_resnet20(args.data) if task.name == "resnet20" else task.network()
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


def run(args, task, seed, rate, method, arrays, done):
    """One row of the table."""
    train, validation, test = arrays
    weights = dense_weights(args, task, seed, train)
    ours = done.get((task.name, rate, OURS, seed), {})
    job = Job(task, rate, seed, weights, train, ours.get("counts"))
    keras.utils.set_random_seed(seed)
    began = time.time()
    model = job.dense() if method == "dense" else METHODS[method](job)
    seconds = time.time() - began
    if method == "dense":
        task.compiled(model)
    counts = {name: int(np.count_nonzero(kernel.numpy())) for name, kernel in kernels(model).items()}
    return {
        "task": task.name,
        "rate": rate,
        "method": method,
        "seed": seed,
        "validation": round(task.score(model, validation), 4),
        "test": round(task.score(model, test), 4),
        "kept": sum(counts.values()),
        "counts": counts,
        "seconds": round(seconds),
    }


def rows(path):
    """The rows that are done, by task, rate, method and seed; a line that a kill cut short is left out."""
    done = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[row["task"], row["rate"], row["method"], row["seed"]] = row
    return done


def cells(args):
    """What is asked for: tasks, seeds, rates and methods, in this order."""
    for name in args.tasks:
        task = TASKS[name]
        for seed in args.seeds:
            yield task, seed, 1, "dense"
            for rate in task.rates:
                yield from ((task, seed, rate, m) for m in args.methods if not args.rates or rate in args.rates)


def fill(args):
    arrays, at = None, None
    for task, seed, rate, method in cells(args):
        done = rows(args.results)
        if (task.name, rate, method, seed) in done:
            continue
        if at != (task.arrays, seed):
            arrays, at = task.arrays(args.data, seed), (task.arrays, seed)
        keras.backend.clear_session()
        try:
            row = run(args, task, seed, rate, method, arrays, done)
        except LookupError as missing:
            print(f"{task.name}, {rate}x, seed {seed}: {missing}", flush=True)
            continue
        with open(args.results, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{task.name}, {rate}x, {method}, seed {seed}: validation {row['validation']:.2f}", flush=True)


def summary(done):
    """A line for each task, rate and method that is there."""
    cells = {}
    for task, rate, method, seed in sorted(done):
        cells.setdefault((task, rate, method), []).append(seed)
    return [line(done, *cell, seeds) for cell, seeds in cells.items()]


def line(done, task, rate, method, seeds):
    """Means over the seeds, their spread, and how far ours is ahead, seed by seed; of perplexities in percent."""
    these = [done[task, rate, method, seed] for seed in seeds]
    both = [(done.get((task, rate, OURS, seed)), row) for seed, row in zip(seeds, these, strict=True)]
    ahead = [gain(task, ours, row) for ours, row in both if ours]
    validation, test = ([row[part] for row in these] for part in ("validation", "test"))
    return (
        f"{task}, {rate}x, {method}",
        str(len(seeds)),
        f"{these[0]['kept']:,}",
        f"{np.mean(validation):.2f}",
        f"{np.std(validation):.2f}",
        f"{np.mean(ahead):+.2f}" if ahead else "",
        f"{np.mean(test):.2f}",
    )


def gain(task, ours, other):
    a, b = ours["validation"], other["validation"]
    return 100 * (b / a - 1) if TASKS[task].perplexity else a - b


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the data")
    parser.add_argument("--cache", help="folder for the dense weights, trained once for each task and seed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which each row is appended")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rates", nargs="+", type=int, help="of those that the task has; by default all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print what is done, and run nothing")
    return parser.parse_args()


def main():
    args = arguments()
    if not args.table:
        fill(args)
    head = ("", "seeds", "kept", "validation", "deviation", "ours ahead", "test")
    print(table(head, summary(rows(args.results))))


if __name__ == "__main__":
    main()
