"""How many training steps `ADMMPrune` takes for a sparsity: `benchmarks/few_steps.py --data DATA --cache CACHE`.

The default recipe from the same dense weights in fits of few and of many epochs: a conv net on scikit-learn's digits,
and LeNet-300-100 on 10,000 images of MNIST. Each row that is done is appended to `--results`; what is there already is
not run again. `--table` prints, for each rate (dense weights per kept weight) and number of ADMM's training steps, the
validation accuracy, and how far it is below the best of all lengths at that rate. From this table comes the number of
steps (`STEPS` in keras_admm/callbacks/messages.py, for each dense weight per kept one) below which the callback says at
the start of `fit` that they are few.
"""

import numpy as np
import recipe_tasks
import resumable
from recipes import KEYS, OURS, RESULTS, TASKS, Measurement
from show import table

import keras_admm as ka

LENGTHS = [task.name for task in recipe_tasks.LENGTHS]


class CountedSteps(Measurement):
    """Measures a cell, and says how many training steps ADMM had."""

    def __call__(self, cell, done):
        task = TASKS[cell[0]]
        timeline = ka.ADMMPrune(0.5).plan.timeline("ADMMPrune", task.epochs)
        train, *_ = self.arrays(task, cell[-1])
        steps = sum(info.phase == "admm" for info in timeline) * len(task.batches(train, 0))
        return super().__call__(cell, done) | {"admm_steps": steps}


def summary(rows):
    """A line for each task, rate and number of steps that is there: means over the seeds, each beside its own best."""
    scores, best = {}, {}
    for (name, rate, _, seed), row in rows.read().items():
        task, score = name.partition(",")[0], row["validation"]
        scores.setdefault((task, rate, row["admm_steps"]), {})[seed] = score
        best[task, rate, seed] = max(score, best.get((task, rate, seed), 0.0))
    for (task, rate, steps), these in sorted(scores.items()):
        mean = np.mean(list(these.values()))
        below = np.mean([best[task, rate, seed] - score for seed, score in these.items()])
        yield f"{task}, {rate}x", f"{steps:,}", f"{steps / rate:.1f}", str(len(these)), f"{mean:.2f}", f"{below:.2f}"


def main():
    parser = resumable.arguments(__doc__, RESULTS.with_name("few_steps.jsonl"))
    parser.add_argument("--tasks", nargs="+", default=LENGTHS, choices=LENGTHS)
    parser.add_argument("--rates", nargs="+", type=int, default=recipe_tasks.RATES, choices=recipe_tasks.RATES)
    args = parser.parse_args()
    rows = resumable.Rows(args.results, KEYS)
    if not args.table:
        cells = ((name, r, OURS, seed) for seed in args.seeds for name in args.tasks for r in args.rates)
        rows.fill(cells, CountedSteps(args))
    print(table(("", "steps of ADMM", "by the rate", "seeds", "validation", "below the best"), summary(rows)))


if __name__ == "__main__":
    main()
