"""`progressive_search`: several partly pruned models alive at once, from the best of which each next one is made."""

import contextlib
import math
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Literal

import keras

from keras_admm import attach, checks, hints, weights
from keras_admm.callbacks import ADMMPrune
from keras_admm.engine import Engine
from keras_admm.plan import ascending, sets_of
from keras_admm.studies import evaluation, trial
from keras_admm.studies.states import States
from keras_admm.studies.tree import DENSE, ProgressiveSearch, Trial
from keras_admm.studies.trial import NAME, Job, Runner


def progressive_search(
    model: keras.Model,
    sparsities: Sequence[float],
    fit: Callable[[keras.Model, list[keras.callbacks.Callback]], keras.callbacks.History],
    *,
    candidates: int = 3,
    validation_data: hints.Data = None,
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
    backup_dir: hints.Path | None = None,
    workers: int = 1,
    verbose: int = 1,
    **settings: Any,
) -> ProgressiveSearch:
    """Prunes a model in steps, each next step tried from several models, of which the best goes on.

    The first `candidates` sparsities are each reached from the dense model. Each next one is tried from all models that
    are alive; the best of these trials is kept and takes the place of the model that it came from. What is zero in a
    model stays zero in those that come from it. Every trial is a fit by `keras_admm.ADMMPrune`, with the optimizer as
    it was when the search began: `candidates * (len(sparsities) - candidates + 1)` fits.

    After it the model holds the weights that were kept for the last sparsity; where it ends in an exception, those of
    the largest sparsity that a model was kept for.

    Args:
        model: a built, compiled, trained model of Keras 3.
        sparsities: floats in `[0, 1)`, rising, more than `candidates`.
        fit: function `(model, callbacks)` that trains the model with these callbacks and returns the `History`, such as
            `lambda model, callbacks: model.fit(x, y, epochs=20, validation_split=0.1, callbacks=callbacks)`.
        candidates: int, how many models are alive.
        validation_data: data that each trial is evaluated on: a pair `(x, y)` of arrays, `(x, y, sample_weight)`, or a
            dataset. None: the last validation metrics of `fit` count; beside `EarlyStopping(restore_best_weights=True)`
            these may be of other weights than are kept, so give data there.
        monitor: name of the metric that counts, such as `"val_accuracy"`. None: the metric on validation data, where
            the model has one; its loss, where it has none or several.
        mode: `"min"`, `"max"`, or `"auto"`, as of `keras.callbacks.EarlyStopping`: whether smaller is better.
        backup_dir: path of a folder for the state of the search. A search that is killed and started again goes on with
            the trial that it was in, from the last epoch of that trial that ended. One search at a time has the folder.
        workers: int, how many processes train the trials of a sparsity at once; with 1 they are trained here, one after
            the other. With more, `fit` must be picklable: a function of a module, that makes or loads its data itself,
            or a `functools.partial` of one; and the program must begin its work under `if __name__ == "__main__":`.
        verbose: 1: a line for each trial; 0: nothing is printed.
        **settings: of `keras_admm.ADMMPrune`, but its sparsity: `layers`, `exclude`, `allocation`, `recipe` and so on.

    Returns:
        A `ProgressiveSearch`, the record of which model came from which: `print` shows a table and a tree,
        `plot(path)` draws the tree.

    Raises:
        ValueError, TypeError: with what is wrong and what to do: before any training, but for a `fit` that trains
            without the callbacks, and a monitor that its validation has not.

    Example:

    >>> import keras, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    >>> model.compile("adam", "mse")
    >>> def fit(model, callbacks):
    ...     return model.fit(x, x, epochs=2, verbose=0, callbacks=callbacks)
    >>> found = progressive_search(model, [0.25, 0.5, 0.75], fit, candidates=2, validation_data=(x, x), verbose=0)
    >>> len(found.trials), found.best.sparsity, int(np.count_nonzero(model.layers[0].kernel))
    (4, 0.75, 16)

    Reference: Ye et al., "Progressive Weight Pruning of Deep Neural Networks using ADMM", arXiv:1810.07378.
    """
    sparsities = ascending(NAME, sparsities)
    candidates = checks.integer(NAME, "candidates", candidates)
    if len(sparsities) <= candidates:
        raise ValueError(
            f"{NAME}: `sparsities` must be more than `candidates`, which the first of them are pruned to from the "
            f"dense model. Received: {len(sparsities)} sparsities, candidates={candidates}. Add sparsities between, or "
            "take fewer candidates."
        )
    checks.takes(NAME, "fit", fit, 2, "a function of (model, callbacks) that trains and returns the History")
    checks.integer(NAME, "workers", workers)
    checks.integer(NAME, "verbose", verbose, 0, 1, "Pass 0 to print nothing.")
    weights.check_keras_3(NAME, model, "Load it with Keras 3.")
    if validation_data is not None:
        validation_data = evaluation.checked(NAME, validation_data)
    backup_dir = None if backup_dir is None else checks.path(NAME, "backup_dir", backup_dir)
    monitor = monitor if monitor is None else checks.text(NAME, "monitor", monitor)
    checks.choice(NAME, "mode", mode, ("auto", "min", "max"))
    settings = {"verbose": 0, **settings}
    plan = _checked_plan(model, sparsities, settings)
    runner = Runner(model, fit, validation_data, settings)
    if workers > 1:
        _check_picklable(runner)
    states = States(NAME, backup_dir, model, {"sparsities": sparsities, "candidates": candidates, "plan": plan})
    with states.locked():
        return _Search(runner, sparsities, candidates, (monitor, mode), states, verbose).run(workers)


def _checked_plan(model, sparsities, settings):
    """The plan of a first trial; raises what that of the last would."""
    for own in {"sparsity", "start"} & settings.keys():
        must = "left out: each trial has its own"
        raise ValueError(checks.refused(NAME, own, must, settings[own], "Say it with `sparsities`."))
    if settings.get("structure") == "channel":
        must = "a structure of single kernels, whose zeros the next trial goes on from"
        remedy = "Prune channels by ADMMPrune([0.3, 0.5], structure='channel')."
        raise ValueError(checks.refused(NAME, "structure", must, "channel", remedy))
    last = ADMMPrune(sparsities[-1], start=sparsities[0], **settings)
    engine = Engine(model, last.plan, last.layers, last.exclude, name=NAME, biases=last.biases)
    for step in engine.plan.steps:
        sets_of(NAME, step.target, weights.views(engine.variables), 1.0)
    return ADMMPrune(sparsities[0], **settings).plan


def _check_picklable(runner):
    try:
        pickle.dumps(runner)
    except Exception as error:  # whatever an object of the user's raises
        raise ValueError(
            f"{NAME}: with workers > 1 what a trial needs must be picklable: the model, `fit`, and settings. Received: "
            f"{type(error).__name__}: {str(error)[:200]}. Write fit as a function of a module that loads its data "
            "itself, or a functools.partial of one; or leave workers out."
        ) from error


class _Search:
    """The trials of a search, sparsity by sparsity.

    Args:
        runner: `Runner`.
        sparsities, candidates, verbose: see `progressive_search`.
        judged_by: pair of its `monitor` and `mode`.
        states: `States`.
    """

    def __init__(self, runner, sparsities, candidates, judged_by, states, verbose):
        self._runner, self._sparsities, self._count = runner, sparsities, candidates
        (self._monitor, self._mode), self._states, self._verbose = judged_by, states, verbose
        self._size = candidates * (len(sparsities) - candidates + 1)
        self._trials, self._values = states.load()

    def run(self, workers):
        """Do all trials that are not done, and return the `ProgressiveSearch`."""
        model = self._runner.model
        try:
            known = self._runner.evaluated() or (self._trials[0].metrics if self._trials else {})
            if known:
                self._check(known)
            with _pool(workers, self._runner) as pool:
                for sparsity, jobs in self._rounds():
                    for job, (metrics, values) in _results(self._runner, pool, jobs):
                        self._take(job, metrics, values)
                    self._choose(sparsity)
            self._states.clear()
        finally:
            trial.write(model, self._states.start)
            kept = [each for each in self._trials if each.kept]
            if kept:
                trial.write(model, self._values[max(kept, key=lambda each: each.sparsity).number])
        return ProgressiveSearch(self._monitor, tuple(self._trials))

    def _rounds(self):
        """Each sparsity, None for the first ones together, and the jobs that are still to be done for it."""
        yield None, self._open(1, [(sparsity, None) for sparsity in self._sparsities[: self._count]])
        for i, sparsity in enumerate(self._sparsities[self._count :], 1):
            yield sparsity, self._open(1 + i * self._count, [(sparsity, each) for each in self._parents(sparsity)])

    def _parents(self, sparsity):
        """The numbers of the models that were alive before a sparsity was tried."""
        alive = {}
        for each in self._trials:
            if each.kept and each.sparsity < sparsity:
                alive.pop(each.parent, None)
                alive[each.number] = each
        return sorted(alive)

    def _open(self, number, pairs):
        """The jobs of some pairs of a sparsity and a parent that are not done, numbered from a first one on."""
        by_number, jobs = {each.number: each for each in self._trials}, []
        for each, (sparsity, parent) in enumerate(pairs, number):
            if each not in by_number:
                values = self._states.start | (self._values[parent] if parent else {})
                start = by_number[parent].sparsity if parent else 0.0
                jobs.append(Job(each, sparsity, parent, start, values, self._states.folder(each)))
        return jobs

    def _take(self, job, metrics, values):
        self._trials.append(Trial(job.number, job.sparsity, job.parent, metrics, job.parent is None))
        self._trials.sort(key=lambda each: each.number)
        self._values[job.number] = trial.of_model(values)
        self._states.save(self._trials, self._values)
        self._check(metrics)
        if self._verbose:
            came = DENSE if job.parent is None else f"{job.start:.5g} (trial {job.parent})"
            print(
                f"{NAME}: trial {job.number} of {self._size}: {job.sparsity:.5g} from {came}: "
                f"{self._monitor} {metrics[self._monitor]:.4f}",
                flush=True,
            )

    def _check(self, metrics):
        """Find the metric that counts among those of a model, and whether a larger one is better, or raise."""
        self._monitor = self._monitor or evaluation.monitor_of(metrics)
        if self._monitor not in metrics:
            raise ValueError(
                f"{NAME}: `monitor` must be a metric on validation data. Received: monitor={self._monitor!r}, beside "
                f"{list(metrics)}. Have fit validate (validation_data= or validation_split=), or pass validation_data; "
                "or choose one of these."
            )
        self._sign = attach.direction(NAME, self._runner.model, self._monitor, self._mode)

    def _choose(self, sparsity):
        """Keep the best that was tried for a sparsity, in its parent's place; forget the weights of the others."""
        those = [each for each in self._trials if each.sparsity == sparsity]
        if not those or any(each.kept for each in those):
            return
        best = max(those, key=lambda each: (self._merit(each), -each.number)).number
        self._trials = [each._replace(kept=each.kept or each.number == best) for each in self._trials]
        self._values = {number: self._values[number] for number in self._parents(1.0)}
        self._states.save(self._trials, self._values)

    def _merit(self, each):
        value = each.metrics[self._monitor]
        return -math.inf if math.isnan(value) else self._sign * value


@contextlib.contextmanager
def _pool(workers, runner):
    """Processes that have the runner, or None for this one."""
    if workers == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_receive, initargs=(pickle.dumps(runner),)) as pool:
        yield pool


_RECEIVED = []


def _receive(pickled):
    """In a process of its own: what all of its trials have in common."""
    _RECEIVED[:] = [pickle.loads(pickled)]


def _run(job):
    return _RECEIVED[0].run(job)


def _results(runner, pool, jobs):
    """Yields each job with its result, as soon as it is there."""
    if pool is None:
        yield from ((job, runner.run(job)) for job in jobs)
        return
    running = {pool.submit(_run, job): job for job in jobs}
    yield from ((running[each], each.result()) for each in as_completed(running))
