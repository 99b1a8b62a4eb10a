"""What each projection of a run cost, and what it leaves of the model: metrics, MACs, parameters and bytes."""

import numpy as np

from keras_admm import attach, macs, packed, weights


class Projections:
    """The figures of a run's projections.

    Args:
        engine: the `keras_admm.Engine` of the run.
        messages: `Messages`, which are told.

    Attributes:
        rows: list of dicts, one for each projection.
    """

    def __init__(self, engine, messages):
        self._engine = engine
        self._messages = messages
        self._dense = None
        self.rows = []

    def begin(self):
        """Take down what there is before training, where a model is to become smaller."""
        if any(step.target.shrinks for step in self._engine.plan.steps):
            self._dense = left(self._engine.model)

    def note(self, logs, epoch):
        """Evaluate the model right after a projection.

        Args:
            logs: dict, those of the epoch that ended.
            epoch: int, the epoch that begins.
        """
        step, model = int(logs["admm_step"]), self._engine.model
        before = attach.numbers({name: value for name, value in logs.items() if name.startswith("val_")})
        after = attach.validation_scores(model)
        now = {} if self._dense is None else left(model)
        self.rows.append({"epoch": self._engine.epoch, "step": step, "before": before, "after": after, **now})
        self._messages.projected(step, epoch, before, after)
        if now:
            self._messages.left(step, now, self._dense)


def left(model):
    """What is left of a model, of all that is not zero.

    Args:
        model: built.

    Returns:
        A dict of `"macs"`, with weights other than zero, where shapes and kinds of layers tell them of each kernel;
        `"params"`, trained ones other than zero; and `"bytes"`, of the packed file, where the model can be packed.
    """
    uses, _ = macs.uses(model)
    trained = {id(v) for v in model.trainable_variables}
    counts = {
        id(v): int(np.count_nonzero(weights.view(v))) for v in model.variables if id(v) in trained or uses.get(id(v))
    }
    found = {"params": sum(counts[key] for key in trained)}
    if not macs.uncounted(model, uses):
        found = {"macs": sum(n * (uses.get(key) or 0) for key, n in counts.items()), **found}
    try:
        return {**found, "bytes": packed.sizes(model).file}
    except Exception:  # whatever a layer of the user's raises when it must describe itself
        return found
