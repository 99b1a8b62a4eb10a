"""What a callback prints and warns of during `model.fit`: phases, projections, and ends before the plan's."""

import warnings


class Messages:
    """What is said of a run.

    Args:
        engine: the `keras_admm.Engine` of the run.
    """

    def __init__(self, engine):
        self._engine = engine

    def phase_ended(self, info, epoch, sparsity):
        """Print that a phase has ended, and which is next.

        Args:
            info: `plan.EpochInfo` of its last epoch.
            epoch: int, which epoch of `fit` that was, from 0.
            sparsity: float, the share of zeros at its end.
        """
        then = self._engine.moment
        print(
            f"\n{self._engine.name}: step {info.step + 1} of {len(self._engine.plan.steps)}, {info.phase} ended after "
            f"epoch {epoch + 1} at sparsity {sparsity:.4f}; next: "
            + (f"{then.phase} for {then.epochs} epoch(s)" if then else "done")
        )

    def projected(self, step, epoch, before, after):
        """Print the validation metrics of an epoch, `before`, and those right after the projection that followed."""
        told = ", ".join(f"{n} {before[n]:.4f} -> {v:.4f}" if n in before else f"{n} {v:.4f}" for n, v in after.items())
        told = told or "nothing to evaluate it on: fit has no validation data that can be read twice"
        print(f"{self._engine.name}: step {step}, projected after epoch {epoch}: {told}")

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
