"""The rule by which `ADMMPrune` chooses its recipe: the plan that comes out for any epochs, and that it wins."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm.penalties import ProximalPenalty

BENCHMARK = Path(__file__).parent.parent / "examples" / "benchmarks" / "recipes.py"
WEIGHTS, KEPT = 300, 3  # at 100x
PHASES = ("admm", "retrain")


def test_the_default_recipe():
    plan = ka.ADMMPrune(0.99).plan
    (step,) = plan.steps
    assert plan.penalty == ProximalPenalty(rho=0.03, rho_end=0.3, rescale_dual=False, penalize_kept=False)
    assert (plan.update_every, step.admm_epochs, step.retrain_epochs) == ("auto", 0.75, None)
    assert (step.target.path, step.target.allocation) == ("root", "global")


@pytest.mark.parametrize("epochs, phases", [(2, (1, 1)), (3, (2, 1)), (4, (3, 1)), (14, (10, 4)), (60, (45, 15))])
def test_three_quarters_of_the_epochs_are_of_admm(epochs, phases):
    found = [info.phase for info in ka.ADMMPrune(0.9).plan.timeline("me", epochs)]
    assert found == ["admm"] * phases[0] + ["retrain"] * phases[1]


@pytest.mark.parametrize("epochs, phases", [(2, (1, 1)), (3, (1, 2)), (6, (2, 4)), (40, (14, 26))])
@pytest.mark.parametrize(
    "make", [lambda: ka.ADMMPrune(0.5, structure="channel"), lambda: ka.ADMMAdaptive({"params": 0.5})]
)
def test_a_third_where_channels_leave(make, epochs, phases):
    found = [info.phase for info in make().plan.timeline("me", epochs)]
    assert found == ["admm"] * phases[0] + ["retrain"] * phases[1]


def test_one_epoch_is_of_admm_alone_or_refused():
    timeline = ka.ADMMPrune(0.9, retrain_epochs=0).plan.timeline("me", 1)
    assert [info.phase for info in timeline] == ["admm"]
    with pytest.raises(ValueError, match="need at least 2 epochs.*Received: epochs=1"):
        ka.ADMMPrune(0.9).plan.timeline("me", 1)


@pytest.mark.parametrize("epochs, phases", [(4, (1, 1, 1, 1)), (14, (5, 2, 5, 2))])
def test_each_progressive_step_has_its_three_quarters(epochs, phases):
    timeline = ka.ADMMPrune([0.5, 0.9]).plan.timeline("me", epochs)
    found = [(info.step, info.phase) for info in timeline]
    assert tuple(found.count((step, phase)) for step in (0, 1) for phase in PHASES) == phases


# Epochs, training steps of each, of how many steps ADMM consists, and how many lie between two moves.
RUNS = [
    (2, 1, 1, 1),
    (2, 30, 30, 1),
    (3, 30, 60, 1),
    (3, 79, 158, 3),
    (14, 8, 80, 2),
    (14, 399, 3990, 99),
    (14, 500, 5000, 100),
    (60, 1, 45, 1),
    (60, 40, 1800, 45),
    (60, 240, 10800, 100),
]


@pytest.mark.parametrize("epochs, an_epoch, steps, period", RUNS)
def test_moves_path_and_rho_follow_from_the_steps(epochs, an_epoch, steps, period, monkeypatch):
    """Z and U move every 100 steps, or so that there are 40 moves; at each, what is kept and rho are those of the share
    of ADMM's steps that has passed, however many these are."""
    moves = recorded(epochs, an_epoch, monkeypatch)
    at = [*range(period, steps + 1, period)]
    at += [steps] if at[-1] < steps else []
    assert [step for step, _, _ in moves] == at
    for step, kept, rho in moves:
        share = step / steps
        assert rho == pytest.approx(0.03 * 10**share, rel=1e-5)
        assert kept == pytest.approx(WEIGHTS * 0.01 ** (max(0, share - 0.1) / 0.9) ** 0.25, abs=0.5001)
    assert moves[-1][1:] == (KEPT, pytest.approx(0.3))
    assert len(moves) >= min(40, steps)


def recorded(epochs, an_epoch, monkeypatch):
    """The training step, the weights kept, and rho of each move of a run at 100x."""
    moves, taken, kept = [], [0], []
    sets, growth = ka.PruningTarget.sets, ProximalPenalty.growth

    def asked(self, arrays, fraction):
        found = sets(self, arrays, fraction)
        kept.append(sum(each.kept(arrays[name].shape)[0] for name, each in found.items()))
        return found

    def grown(self, rho, residuals, fraction):
        factor = growth(self, rho, residuals, fraction)
        moves.append((taken[0], kept[-1], rho * factor))
        return factor

    monkeypatch.setattr(ka.PruningTarget, "sets", asked)
    monkeypatch.setattr(ProximalPenalty, "growth", grown)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(15)])
    engine = ka.Engine(model, ka.ADMMPrune(1 - KEPT / WEIGHTS).plan, optimizer=None)
    engine.begin(epochs, an_epoch)
    while engine.epoch_info is not None:
        for _ in range(an_epoch):
            taken[0] += 1
            if engine.end_steps(1):
                engine.move()
        engine.end_epoch()
    assert int(np.count_nonzero(model.layers[0].kernel)) == KEPT
    return moves


@pytest.mark.tensorflow_only
def test_it_is_ahead_of_gradual_magnitude_pruning(tmp_path):
    """On scikit-learn's digits at 100x, from the same dense weights, as the benchmark runs it: 98.0% and 87.0%."""
    rows = tmp_path / "rows.jsonl"
    only = ["--tasks", "digits", "--rates", "100", "--seeds", "0", "--methods", "ours", "gradual magnitude"]
    command = [sys.executable, BENCHMARK, *only, "--cache", tmp_path, "--results", rows]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {row["method"]: row for row in map(json.loads, rows.read_text().splitlines())}
    assert found["ours"]["kept"] == found["gradual magnitude"]["kept"] == 382
    assert found["ours"]["validation"] > found["gradual magnitude"]["validation"] + 6
