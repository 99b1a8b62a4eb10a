"""What a callback prints and warns of during `model.fit`: phases, projections, and ends before the plan's."""

import itertools
import math
import warnings

from keras_admm.callbacks import epoch_logs
from keras_admm.constraints import Sparse
from keras_admm.plan import sets_of

# A projection that takes more than this from a validation metric in [0, 1], or multiplies the loss by more, is told.
LOST, RAISED = 0.02, 1.25
# Training steps of ADMM for each dense weight per kept one: from here on a conv net on scikit-learn's digits and a
# LeNet-300-100 on 10,000 images of MNIST were less than a point below their best at 10x, 30x and 100x; with 6 of them
# and fewer, more than that: `examples/benchmarks/few_steps.py`.
STEPS = 10


class Messages:
    """What is said of a run.

    Args:
        engine: the `keras_admm.Engine` of the run.
    """

    def __init__(self, engine):
        self._engine = engine

    def begins(self, timeline, steps_per_epoch, before=0):
        """Print the plan: the epochs of each phase, the weights, and how many of them each step keeps.

        Args:
            timeline: list of the `plan.EpochInfo`s of all epochs of the run.
            steps_per_epoch: int, training steps, or None where that is not known.
            before: int, how many epochs of `fit` the run begins after.
        """
        variables = self._engine.variables
        size = sum(math.prod(variable.shape) for variable in variables.values())
        name = self._engine.name
        sets = [sets_of(name, step.target, self._engine.arrays, 1.0) for step in self._engine.plan.steps]
        own = [step.target.outcome() for step in self._engine.plan.steps]
        outcomes = [told or self._outcome(each, size) for told, each in zip(own, sets, strict=True)]
        print(f"{name}: {_planned(timeline, outcomes, before + 1)} ({len(variables)} tensors)")
        for i, each in enumerate(sets):
            epochs = sum(info.step == i and info.phase == "admm" for info in timeline)
            self._too_few(each, epochs * (steps_per_epoch or 0))

    def _outcome(self, sets, size):
        """`"38,160 weights to 1,908"`, or how many weights come to sets that say something else."""
        counts = self._counts(sets)
        if counts is None:
            kinds = ", ".join(sorted({type(each).__name__ for each in sets.values()}))
            taken = sum(math.prod(self._engine.variables[name].shape) for name in sets)
            return f"{taken:,} of {size:,} weights to {kinds}"
        names = sorted({each.groups_name for each in sets.values()})
        return f"{counts[1]:,} {' and '.join(names)} to {counts[0]:,}"

    def _counts(self, sets):
        """How many weights, or blocks, are kept, and of how many; None where sets say something else."""
        if not all(isinstance(each, Sparse) for each in sets.values()):
            return None
        each = [each.kept(tuple(self._engine.variables[name].shape)) for name, each in sets.items()]
        return tuple(map(sum, zip(*each, strict=True)))

    def _too_few(self, sets, steps):
        """Print where a step's training steps of ADMM are too few for its sparsity."""
        counts = self._counts(sets)
        if counts is None:
            return
        kept, groups = counts
        rate = groups / max(kept, 1)
        if 0 < steps < STEPS * rate:
            print(
                f"{self._engine.name}: {steps:,} training steps of ADMM are few for {rate:,.0f}x: on MNIST and "
                f"scikit-learn's digits it took about {STEPS * rate:,.0f} to come within a point of the best. Fit for "
                "more epochs, or in smaller batches."
            )

    def epoch_ended(self, info, epoch, logs, tables):
        """Print that a phase has ended, if it has, and which is next.

        Args:
            info: `plan.EpochInfo` of the epoch.
            epoch: int, which epoch of `fit` has ended, from 0.
            logs: dict, the figures of that epoch.
            tables: bool, whether a table of the layers is printed as well.
        """
        then = self._engine.epoch_info
        if info.epoch + 1 < info.epochs:
            return
        figures = ", ".join(f"{name} {logs[name]:.4f}" for name in epoch_logs.SHOWN[info.phase])
        print(
            f"{self._engine.name}: step {info.step + 1} of {len(self._engine.plan.steps)}, "
            f"{epoch_logs.PHASES[info.phase]} ended after epoch {epoch + 1} at {figures}; next: "
            + (f"{epoch_logs.PHASES[then.phase]} for {then.epochs} epoch(s)" if then else "done")
        )
        if tables:
            print(epoch_logs.table(self._engine.variables, self._engine.layer_progress))

    def projected(self, step, epoch, before, after):
        """Print the validation metrics of an epoch, `before`, and those right after the projection that followed."""
        told = ", ".join(f"{n} {before[n]:.4f} -> {v:.4f}" if n in before else f"{n} {v:.4f}" for n, v in after.items())
        told = told or "fit has no validation data that can be read twice, to tell what it cost"
        print(f"{self._engine.name}: step {step}, projected after epoch {epoch}: {told}")
        if costly(before, after):
            print(
                f"{self._engine.name}: that cost much: the weights were not near the set. Give ADMM more epochs "
                "(admm_epochs) or a larger rho, or reach the set in progressive steps, such as [0.9, 0.97, 0.99]."
            )

    def left(self, step, left, dense):
        """Print what is left of a model after a step.

        Args:
            step: int, from 1.
            left, dense: dicts of `projections.left`, now and before training.
        """
        units = {"macs": "MACs", "params": "parameters", "bytes": "bytes in a packed file"}
        told = [f"{left[unit]:,} of {dense[unit]:,} {name}" for unit, name in units.items() if unit in left]
        print(f"{self._engine.name}: step {step} leaves {', '.join(told)}")

    def stopped_early(self, received, info, sparsity):
        """Warn that a run has ended before the promised set.

        Args:
            received: text, what ended it.
            info: `plan.EpochInfo` of the epoch that it ended in, or None.
            sparsity: float, the share of zeros of what the weights were projected on.
        """
        where = f"in the {info.phase} phase of step {info.step + 1} of {len(self._engine.plan.steps)}" if info else ""
        warnings.warn(
            f"{self._engine.name}: the run must pass its last projection to hold the promised set. Received: "
            f"{received} {where}, after {self._engine.epoch} epoch(s). Its weights were projected on what it aimed at "
            f"there, with a sparsity of {sparsity:.4f}. Fit for longer, or call engine.project() on this callback for "
            "the promised set.",
            stacklevel=3,
        )

    def back_at_last_that_held(self, received):
        """Warn that a run with a tolerance of accuracy has ended early: by what, or why."""
        warnings.warn(
            f"{self._engine.name}: all steps must pass for the sparsity to be as high as the tolerance allows. "
            f"Received: {received}, after {self._engine.epoch} epoch(s). The model is the last that held.",
            stacklevel=3,
        )

    def nothing_projected(self, received, error):
        """Warn that an early end left the weights as they were, for the reason of an exception."""
        warnings.warn(f"{self._engine.name}: nothing was projected at the end of {received}. {error}", stacklevel=3)

    def failed(self, error, newest, backup_dir):
        """Warn that training stops, and say what the model is now.

        Args:
            error: the exception.
            newest: int, the epoch whose state the model is back at, or None.
            backup_dir: the folder that it was saved in.
        """
        if newest is None:
            rescue = (
                "Nothing is projected, and nothing was saved, for no backup_dir was given or no epoch has ended: build "
                "the model anew."
            )
        else:
            rescue = f"The model is back at the state with which epoch {newest} began, saved in {backup_dir}, "
            rescue += "and is not compressed further."
        warnings.warn(f"{error} Training stops. {rescue}", stacklevel=3)


def costly(before, after):
    """Whether a projection took much: two points of an accuracy, or, where none is measured, a quarter more loss.

    Args:
        before, after: dicts of the validation metrics.

    Example:

    >>> costly({"val_loss": 0.1, "val_accuracy": 0.98}, {"val_loss": 0.2, "val_accuracy": 0.975})
    False
    """
    both = [name for name in after if name in before]
    shares = [name for name in both if "acc" in name or "auc" in name]
    if shares:
        return any(before[name] - after[name] > LOST for name in shares)
    return "val_loss" in both and after["val_loss"] > RAISED * before["val_loss"]


def _planned(timeline, outcomes, first):
    """The epochs of each step and what it comes to; of steps that all come to the same, together."""
    if len(outcomes) > 1 and len(set(outcomes)) == 1:
        last = first + len(timeline) - 1
        return f"epochs {first}-{last} in {len(outcomes)} steps of ADMM and retraining, {outcomes[0]}"
    return "; ".join(f"{_phases(timeline, i, first)}, {outcome}" for i, outcome in enumerate(outcomes))


def _phases(timeline, step, first):
    """`"epochs 1-20 ADMM, 21-40 retraining"` of a step."""
    parts = []
    epochs = [(n, info) for n, info in enumerate(timeline, first) if info.step == step]
    for phase, these in itertools.groupby(epochs, key=lambda pair: pair[1].phase):
        begin, *_, end = [n for n, _ in these] * 2
        name = epoch_logs.PHASES[phase]
        parts.append(f"{begin}-{end} {name}" if begin < end else f"{begin} {name}")
    return f"epochs {', '.join(parts)}"
