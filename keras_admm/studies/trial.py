"""One model of a search, pruned from another and trained: here, or in a process of its own."""

from typing import NamedTuple

from keras_admm import attach, weights
from keras_admm.callbacks import ADMMPrune
from keras_admm.studies.evaluation import Evaluation

NAME = "progressive_search"
BATCH = 256


class Job(NamedTuple):
    """What a trial is to do.

    Attributes:
        number, sparsity, parent: see `Trial`.
        start: float, the sparsity of what it begins with.
        values: dict of `state`'s keys to arrays: of the model and its optimizer as the search began, with the parent's
            weights.
        backup_dir: path of a folder for the states of its own fit, or None.
    """

    number: int
    sparsity: float
    parent: int | None
    start: float
    values: dict
    backup_dir: str | None


class Runner:
    """What all trials have in common; it can be sent to another process, where its parts can be pickled.

    Args:
        model: a built, compiled model.
        fit: function `(model, callbacks)` that trains and returns the `History`.
        validation_data: see `Evaluation`, or None.
        settings: dict of the arguments of `ADMMPrune`.
    """

    def __init__(self, model, fit, validation_data, settings):
        self.model, self._fit, self._data, self._settings = model, fit, validation_data, settings

    def run(self, job):
        """A trial: its metrics, and the `state` of the model then."""
        write(self.model, job.values)
        prune = ADMMPrune(job.sparsity, start=job.start, backup_dir=job.backup_dir, **self._settings)
        history = self._fit(self.model, [prune])
        logs = getattr(history, "history", None)
        if not isinstance(logs, dict) or "sparsity" not in logs:
            received = sorted(logs) if isinstance(logs, dict) else type(history).__name__
            raise ValueError(
                f"{NAME}: `fit` must train the model that it is given with the callbacks that it is given, and return "
                f"the History. Received: a history of {received}. Write for example lambda model, callbacks: "
                "model.fit(x, y, epochs=20, validation_split=0.1, callbacks=callbacks)."
            )
        return self.evaluated() or _validated(logs), state(self.model)

    def evaluated(self):
        """The metrics of the model on validation data; empty where these are the fit's own."""
        if self._data is None:
            return {}
        scores = Evaluation(NAME, self.model, self._data, BATCH)()
        return {f"val_{metric}": value for metric, value in scores.items()}


def _validated(logs):
    """The last validation metrics of a fit."""
    return attach.numbers({metric: values[-1] for metric, values in logs.items() if metric.startswith("val_")})


def state(model):
    """The values of all variables of a model and its optimizer, a dict of arrays by keys that every process gives."""
    return {key: weights.storable(variable) for key, variable in _variables(model).items()}


def write(model, values):
    """Write a `state`, or a part of one."""
    for key, variable in _variables(model).items():
        if key in values:
            weights.write(variable, values[key])


def _variables(model):
    optimizers = attach.choose_optimizers(NAME, model, {}, "auto").all
    compiled = attach.compiled_optimizer(model)
    if compiled is not None and not compiled.built:
        compiled.build(model.trainable_variables)
    by_role = attach.variables_by_role(model, optimizers)
    # By their order, not by names: those of a model's copy in another process may lack the model's own.
    return {f"{role.partition('/')[0]}/{i}": variable for i, (role, variable) in enumerate(by_role.items())}


def of_model(values):
    """Those of a `state` that are the model's own."""
    return {key: value for key, value in values.items() if key.startswith("model/")}
