"""Progressive candidates: who comes from whom by hand, what each trial begins with, kills, processes, bad input."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import progressive_run
import pytest
from progressive_run import SPARSITIES, X

import keras_admm as ka
from keras_admm import weights
from keras_admm.studies import ProgressiveSearch, Trial
from keras_admm.studies.trial import Runner

pytestmark = [
    pytest.mark.tensorflow_only,
    pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning"),
]


def fit(model, callbacks, **how):
    return model.fit(X, X, epochs=2, batch_size=32, shuffle=False, verbose=0, callbacks=callbacks, **how)


def search(model, train=fit, sparsities=SPARSITIES, **how):
    return ka.progressive_search(model, sparsities, train, **{"candidates": 2, "verbose": 0, **how})


def zeros(values):
    return [w == 0 for w in values if w.ndim == 2]


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


class Scripted:
    """In the place of a trial: metrics that are told, and biases that are the numbers of the trials that led to it."""

    def __init__(self, monkeypatch, scores, name="val_score"):
        self._scores, self._name = list(scores), name
        monkeypatch.setattr(Runner, "run", self.run)

    def run(self, job):
        score = self._scores.pop(0)
        if isinstance(score, BaseException):
            raise score
        biases = {key: 10 * array + job.number for key, array in job.values.items() if key == "model/1"}
        return {self._name: float(score)}, {**job.values, **biases}


def led_to(model):
    """The numbers of the trials that led to a model, one figure each."""
    return int(weights.read(model.layers[0].bias)[0])


# ---- who comes from whom


def test_the_best_takes_its_parents_place_by_hand(monkeypatch):
    """0.6 comes better from 0.5, which it replaces; 0.7 then from 0.3, which is still alive, not from 0.6."""
    Scripted(monkeypatch, [0.9, 0.8, 0.5, 0.6, 0.4, 0.3])
    model = progressive_run.network()
    found = search(model, mode="max")
    told = [(t.number, t.sparsity, t.parent, t.metrics["val_score"], t.kept) for t in found.trials]
    assert told == [
        (1, 0.3, None, 0.9, True),
        (2, 0.5, None, 0.8, True),
        (3, 0.6, 1, 0.5, False),
        (4, 0.6, 2, 0.6, True),
        (5, 0.7, 1, 0.4, True),
        (6, 0.7, 4, 0.3, False),
    ]
    assert found.best.number == 5 and [t.number for t in found.path] == [1, 5]
    assert led_to(model) == 15


def test_three_candidates_as_in_the_paper(monkeypatch):
    """15x, 18x, 21x; 24x takes the place of 15x, 27x that of 18x, 30x comes from 24x."""
    rates = [15, 18, 21, 24, 27, 30]
    Scripted(monkeypatch, [3, 3, 3, 9, 1, 1, 9, 1, 1, 1, 9, 1])
    model = progressive_run.network()
    found = search(model, fit, [1 - 1 / r for r in rates], candidates=3, mode="max")
    tried = {}
    for each in found.trials[3:]:
        tried.setdefault(round(1 / (1 - each.sparsity)), []).append(each.parent)
    assert tried == {24: [1, 2, 3], 27: [2, 3, 4], 30: [3, 4, 7]}
    assert [t.number for t in found.path] == [1, 4, 11] and led_to(model) == 10 * 14 + 11


def test_of_losses_the_least_is_kept_and_of_equals_the_first(monkeypatch):
    for last in ([0.4, 0.4], [0.3, float("nan")]):
        Scripted(monkeypatch, [1, 1, 0.5, 0.6, *last], "val_loss")
        assert [t.number for t in search(progressive_run.network()).trials if t.kept] == [1, 2, 3, 5]


def test_a_line_for_each_trial_and_the_record_as_text_and_picture(monkeypatch, tmp_path, capsys):
    Scripted(monkeypatch, [0.9, 0.8, 0.5, 0.6, 0.4, 0.3])
    found = search(progressive_run.network(), verbose=1, mode="max")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[3] == "progressive_search: trial 4 of 6: 0.6 from 0.5 (trial 2): val_score 0.6000"
    assert found.table().splitlines()[4] == "4           0.6      2     0.6000  kept"
    assert found.tree().splitlines() == [
        "dense",
        "|-- 0.3: 0.9000",
        "|   |-- (0.6: 0.5000)",
        "|   `-- 0.7: 0.4000",
        "`-- 0.5: 0.8000",
        "    `-- 0.6: 0.6000",
        "        `-- (0.7: 0.3000)",
    ]
    assert str(found) == f"{found.table()}\n\n{found.tree()}"
    assert json.loads(json.dumps(found.to_dict()))["trials"][3]["parent"] == 2
    found.plot(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


# ---- trials


def test_a_trial_begins_with_its_parent_and_a_new_optimizer_and_zeros_stay():
    model, began, ended, steps = progressive_run.network(), [], [], []
    dense = model.get_weights()

    def train(model, callbacks):
        began.append(model.get_weights())
        steps.append(int(keras.ops.convert_to_numpy(model.optimizer.iterations)))
        history = fit(model, callbacks)
        ended.append(model.get_weights())
        return history

    found = search(model, train, [0.3, 0.5, 0.6], validation_data=(X, X))
    parents = [trial.parent for trial in found.trials]
    assert parents == [None, None, 1, 2] and steps == [0] * 4
    for parent, before, after in zip(parents, began, ended, strict=True):
        assert same(before, dense if parent is None else ended[parent - 1])
        assert parent is None or all((b <= a).all() for b, a in zip(zeros(before), zeros(after), strict=True))
    assert same(model.get_weights(), ended[found.best.number - 1])
    assert sum(int(w.sum()) for w in zeros(model.get_weights())) == round(0.6 * 160)
    assert "apply" not in vars(model.optimizer)
    assert np.isclose(found.best.metrics["val_loss"], model.evaluate(X, X, verbose=0))


def test_a_picture_of_few(tmp_path):
    only = ProgressiveSearch("val_loss", (Trial(1, 0.5, None, {"val_loss": 1.0}, True),))
    only.plot(tmp_path / "p.svg")
    assert only.path == only.trials


# ---- kills


class Killed(BaseException):
    """Ends a search in the process of the tests."""


class Copy(keras.callbacks.Callback):
    """Copies the states of a search as each epoch begins: what it leaves when it is killed then."""

    def __init__(self, states, number):
        super().__init__()
        self._states, self._number = states, number

    def on_epoch_begin(self, epoch, logs=None):
        shutil.copytree(self._states, self._states.parent / f"{self._number}-{epoch}")


@pytest.mark.parametrize(
    "sparsities, points",
    [
        ([0.3, 0.5, 0.6], ["3-1"]),
        pytest.param(SPARSITIES, [f"{n}-{e}" for n in range(1, 7) for e in (0, 1)], marks=pytest.mark.nightly),
    ],
)
def test_a_search_that_is_killed_ends_alike(sparsities, points, tmp_path):
    numbers = itertools.count(1)
    model = progressive_run.network()
    how = {"sparsities": sparsities, "validation_data": (X, X)}

    def copied(model, callbacks):
        return fit(model, [*callbacks, Copy(tmp_path / "run", next(numbers))])

    whole = search(model, copied, **how, backup_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    for point in points:
        calls, again = [], progressive_run.network()
        train = lambda model, callbacks: calls.append(1) or fit(model, callbacks)  # noqa: B023, E731
        found = search(again, train, **how, backup_dir=tmp_path / point)
        assert found == whole and same(model.get_weights(), again.get_weights())
        assert len(calls) == len(whole.trials) - int(point[0]) + 1
        assert not (tmp_path / point).exists()


def run(*arguments):
    script = str(Path(__file__).parent / "progressive_run.py")
    done = subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("at", [(1, 2), (3, 3), (6, 1)])
def test_a_process_that_is_killed_ends_alike(at, tmp_path):
    code, whole, error = run("-", 1)
    assert code == 0, error
    code, _, _ = run(tmp_path / "states", 1, *at)
    assert code == -9
    code, again, error = run(tmp_path / "states", 1)
    assert code == 0, error
    assert json.loads(again) == json.loads(whole)


@pytest.mark.nightly
def test_trials_in_processes_are_those_of_one(tmp_path):
    code, whole, error = run("-", 1)
    assert code == 0, error
    code, parallel, error = run(tmp_path / "states", 2)
    assert code == 0, error
    assert json.loads(parallel) == json.loads(whole)


# ---- what is wrong


@pytest.mark.parametrize("scores, left", [([], 0), ([1, 2], 2), ([1, 2, 1, 2, 1], 24)])
def test_an_exception_leaves_the_best_model_so_far(scores, left, monkeypatch):
    Scripted(monkeypatch, [*scores, Killed()])
    model = progressive_run.network()
    with pytest.raises(Killed):
        search(model, mode="max")
    assert led_to(model) == left


def test_a_folder_of_another_search_is_refused(monkeypatch, tmp_path):
    Scripted(monkeypatch, [1, Killed()])
    with pytest.raises(Killed):
        search(progressive_run.network(), mode="max", backup_dir=tmp_path)
    for how in ({"sparsities": [0.3, 0.5, 0.8]}, {"candidates": 1}, {"allocation": "erk"}):
        with pytest.raises(ValueError, match="resumed with what it was begun with"):
            search(progressive_run.network(), backup_dir=tmp_path, **how)
    other = progressive_run.network()
    other.set_weights([w + 1 for w in other.get_weights()])
    with pytest.raises(ValueError, match="dense weights"):
        search(other, backup_dir=tmp_path)


def test_what_differs_from_process_to_process_is_no_other_model(monkeypatch, tmp_path):
    """Seeds of layers, which no file has; and a model that was not evaluated yet, of which more accuracy is better."""
    Scripted(monkeypatch, [0.1, Killed(), 0.2, 0.3, 0.1, 0.4, 0.5], "val_accuracy")
    with pytest.raises(Killed):
        search(progressive_run.network(), backup_dir=tmp_path)
    model = progressive_run.network()
    (seeds,) = (v for v in model.variables if "seed" in v.path)
    seeds.assign(seeds + 7)
    assert search(model, backup_dir=tmp_path).best.metrics == {"val_accuracy": 0.5}


@pytest.mark.parametrize(
    "how, match",
    [
        ({"sparsities": [0.5, 0.6]}, "must be more than `candidates`"),
        ({"sparsities": [0.5, 0.4, 0.6]}, "must ascend"),
        ({"monitor": "val_top", "validation_data": (X, X)}, "Received: monitor='val_top', beside .'val_loss'"),
        ({"workers": 2}, "must be picklable"),
        ({"start": 0.1}, "`start` must be left out: each trial has its own.*start=0.1"),
        ({"sparsity": 0.1}, "`sparsity` must be left out"),
        ({"structure": "channel"}, "must be a structure of single kernels.*'channel'. Prune channels by"),
        ({"sparsities": [0.2, 0.4, 0.99], "min_keep": 3}, "leaves 2 weights, fewer than min_keep=3"),
        ({"structure": "block(3,1)", "layers": "nothing"}, "must choose at least one variable"),
        ({"mode": "up"}, "must be one of 'auto', 'min', 'max'"),
        ({"train": lambda model, callbacks: model.fit(X, X, verbose=0)}, "with the callbacks that it is given"),
        ({"train": lambda model, callbacks: fit(model, callbacks) and None}, "a history of NoneType"),
        ({}, "Have fit validate"),
        ({"budgets": {"macs": 0.5}}, "Did you mean budget"),
        ({"budget": {"params": 0.5}}, "exactly one of"),
        ({"validation_data": iter([X])}, "read once"),
    ],
)
def test_what_is_wrong_is_said(how, match):
    how = dict(how)
    train = how.pop("train", lambda model, callbacks: fit(model, callbacks))
    with pytest.raises((ValueError, TypeError), match=match):
        search(progressive_run.network(), train, **how)


def test_a_model_must_be_compiled():
    with pytest.raises(ValueError, match="must be compiled"):
        search(keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)]), fit)


# ---- a fit that goes on from a pruned model


@pytest.mark.parametrize("path", ["constant", "root"])
def test_a_pruned_model_is_pruned_further_and_its_zeros_stay(path):
    model, kernel = progressive_run.network(), None
    fit(model, [ka.ADMMPrune(0.5, verbose=0)])
    kernel = model.layers[0].kernel
    before, seen = weights.read(kernel) == 0, []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(weights.read(kernel)[before])

    history = fit(model, [ka.ADMMPrune(0.75, start=0.5, path=path, verbose=0), Look()])
    assert not np.any(seen) and history.history["sparsity"][0] >= 0.5
    assert sum(int(w.sum()) for w in zeros(model.get_weights())) == 120
    seen.clear()
    fit(model, [ka.ADMMPrune(0.8, path=path, verbose=0), Look()])
    assert np.any(seen[0])  # of a dense model nothing is held


@pytest.mark.parametrize(
    "how, match",
    [
        ({"start": 0.9}, "below the sparsity that is aimed at"),
        ({"start": 1.0}, "the share of zeros that the model has already"),
        ({"start": 0.2, "structure": "channel"}, "left out, but for a sparsity of what is zeroed"),
    ],
)
def test_where_it_may_begin(how, match):
    with pytest.raises(ValueError, match=match):
        ka.ADMMPrune(0.5, **how)
