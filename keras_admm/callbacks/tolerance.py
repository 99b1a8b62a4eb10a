"""Progressive pruning as far as a drop of accuracy is tolerated: each step judged on the validation data of `fit`."""

import math
import warnings
from typing import NamedTuple

from keras_admm import attach, checks, tables, weights

ADMM = 2 / 3  # of a step's epochs, where it is not told
STEPS = 8  # of a fit, at most
EPOCHS = 6  # of a step, at least


class Tolerance(NamedTuple):
    """How far a metric may fall.

    Attributes:
        drop: float >= 0, by how much the monitor may be worse than the dense model's.
        monitor: name of a metric of the validation data, as in the logs.
        mode: `"auto"`, `"min"` or `"max"`.
    """

    drop: float
    monitor: str
    mode: str


def checked(name, drop, monitor, mode, how):
    """A `Tolerance` of the arguments of a callback, None where no drop is given; or raises.

    Args:
        name: str, name used in error messages.
        drop, monitor, mode: see `keras_admm.ADMMPrune`.
        how: dict of its `backup_dir` and `retrain_epochs`.
    """
    if drop is None:
        for argument, value in (("monitor", monitor), ("mode", mode)):
            if value is not None:
                remedy = "Add max_accuracy_drop=0.002, for example."
                raise ValueError(checks.refused(name, argument, "given with max_accuracy_drop", value, remedy))
        return None
    drop = checks.number(name, "max_accuracy_drop", drop, 0, "a number >= 0, how much worse the monitor may be")
    monitor = checks.text(name, "monitor", "val_accuracy" if monitor is None else monitor)
    if not monitor.startswith("val_"):
        remedy = "Write 'val_accuracy', for example."
        raise ValueError(checks.refused(name, "monitor", "a metric of the validation data, 'val_...'", monitor, remedy))
    if how["backup_dir"] is not None:
        remedy = "Leave it out; or prune to the sparsity that was found, with a backup_dir."
        raise ValueError(checks.refused(name, "backup_dir", "None beside max_accuracy_drop", how["backup_dir"], remedy))
    if how["retrain_epochs"] == 0:
        must, remedy = "1 or more beside max_accuracy_drop", "A step is judged by its retraining."
        raise ValueError(checks.refused(name, "retrain_epochs", must, 0, remedy))
    mode = "auto" if mode is None else checks.choice(name, "mode", mode, ("auto", "min", "max"))
    return Tolerance(drop, monitor, mode)


def steps_in(epochs, admm_epochs, retrain_epochs):
    """How many steps a fit of so many epochs has: eight, or as many as have six epochs each, and what they ask for.

    Args:
        epochs: int, of the fit.
        admm_epochs, retrain_epochs: ints, of a step; or a float, or None.

    Example:

    >>> [steps_in(epochs, 0.75, None) for epochs in (2, 8, 48)], steps_in(60, 4, 2)
    ([1, 1, 8], 10)
    """
    fixed = [n for n in (admm_epochs, retrain_epochs) if isinstance(n, int)]
    if len(fixed) == 2:
        return max(1, epochs // sum(fixed))
    return max(1, min(STEPS, epochs // max(EPOCHS, sum(fixed) + 1)))


class Judged:
    """The steps of a run, each held against the dense model, and the best model so far.

    Args:
        name: str, name used in error messages.
        model: built and compiled, in its fit.
        tolerance: `Tolerance`.
        ladder: `plan.Ladder`, which is told.
        count: int, how many steps there are.

    Attributes:
        rows: list of dicts, one for each step: `"sparsity"`, the monitor by its name, `"drop"` and `"held"`.

    Raises:
        ValueError: where the dense model cannot be evaluated, or its monitor is not a finite number.
    """

    def __init__(self, name, model, tolerance, ladder, count):
        self._name, self._model, self._tolerance, self._ladder = name, model, tolerance, ladder
        self._count, self.rows = count, []
        self._variables = attach.variables_by_role(model, [])
        self._dense = self._value({})
        if not math.isfinite(self._dense):
            raise self._no_monitor(self._dense)
        self._sign = attach.direction(name, model, tolerance.monitor, tolerance.mode)
        self._best = self._values()
        self._step, self._ended = None, False

    def _value(self, logs):
        """The monitor of the model as it is: of the logs of the epoch, or evaluated."""
        monitor = self._tolerance.monitor
        found = logs if monitor in logs else attach.validation_scores(self._model)
        if not found:
            raise ValueError(
                f"{self._name}: max_accuracy_drop needs validation data that can be read more than once. Received: a "
                "fit without, or with a generator. Pass fit arrays or a dataset as validation_data."
            )
        if monitor not in found:
            raise self._no_monitor(f"the metrics {', '.join(found)}")
        return float(found[monitor])

    def _no_monitor(self, received):
        monitor = self._tolerance.monitor
        return ValueError(
            f"{self._name}: `monitor` must be a finite metric of the fit's validation data. Received: "
            f"monitor={monitor!r}, {received}. Choose one of these, or compile the model with "
            f"metrics=[{monitor.removeprefix('val_')!r}]."
        )

    def _values(self):
        return {key: weights.storable(variable) for key, variable in self._variables.items()}

    def look(self, logs, info):
        """Judge the model after an epoch of retraining.

        Args:
            logs: dict, those of the epoch.
            info: its `plan.EpochInfo`.
        """
        value = self._value(logs)
        drop = self._sign * (self._dense - value) if math.isfinite(value) else math.inf
        if self._step is None or drop < self._step["drop"]:
            held = drop <= self._tolerance.drop + 1e-7  # metrics are float32
            monitor = self._tolerance.monitor
            self._step = {"sparsity": float(logs["sparsity"]), monitor: value, "drop": drop, "held": held}
            if held:
                self._best = self._values()
        self._ended = info.epoch + 1 == info.epochs

    def decide(self, prints, done):
        """Where a step has ended: whether it held, and which is next, from the last model that did.

        Args:
            prints: bool.
            done: bool, whether there is none.
        """
        if not self._ended:
            return
        self.rows.append(self._step)
        self._ladder.tell(self._step["held"])
        if prints:
            told = "done" if done else f"next: {_rate(self._ladder.aim)}"
            print(f"{self._name}: step {len(self.rows)} of {self._count}, {self._told(self._step)}; {told}")
        self._step, self._ended = None, False
        if not done:
            self.restore()

    def _told(self, row):
        value, worse = row[self._tolerance.monitor], f"worse by {row['drop']:.4f} of {self._tolerance.drop:g}"
        told = f"sparsity {row['sparsity']:.4f}: {self._tolerance.monitor} {value:.4f}, {worse}"
        return f"{_rate(row['sparsity'])}, {told}: {_verdict(row)}"

    def _table(self):
        monitor = self._tolerance.monitor
        lines = [("step", "rate", "sparsity", monitor, "worse by", ""), ("dense", "", "", f"{self._dense:.4f}", "", "")]
        for i, row in enumerate(self.rows, 1):
            figures = f"{row['sparsity']:.4f}", f"{row[monitor]:.4f}", f"{row['drop']:.4f}"
            lines.append((str(i), _rate(row["sparsity"]), *figures, _verdict(row)))
        return tables.aligned(lines)

    def restore(self):
        """Give the model the weights of the last step that held, of its best epoch; or of the dense model."""
        for key, value in self._best.items():
            weights.write(self._variables[key], value)

    def close(self):
        """End, in the midst of a step or behind the last: the model is the best so far."""
        if self._step is not None:
            self.rows.append(self._step)
            self._step = None
        self.restore()

    def tell(self, prints):
        """Print the table of all steps, and warn where none held."""
        if prints:
            print(f"{self._name}:\n{self._table()}")
        if not any(row["held"] for row in self.rows):
            warnings.warn(
                f"{self._name}: one step at least must hold max_accuracy_drop={self._tolerance.drop:g} for weights to "
                f"be pruned. Received: none of {len(self.rows)} that ended. The model is the dense one. Fit for more "
                "epochs, train the dense model further, or allow more.",
                stacklevel=4,
            )


def _rate(sparsity):
    return f"{1 / max(1 - sparsity, 1e-9):,.1f}x"


def _verdict(row):
    return "held" if row["held"] else "broken"
