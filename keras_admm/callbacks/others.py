"""Warnings, before training, of what the other callbacks of a fit will not see or cannot do beside ours."""

import warnings

from keras_admm import attach

# What must see our logs, and what puts other weights in place of the trained ones when an epoch ends.
AFTER_LOGS = ("CSVLogger", "TensorBoard")
AFTER_WEIGHTS = ("SwapEMAWeights",)


def say_what_others_miss(run, callbacks, timeline):
    """Warn of callbacks that stand before ours and should not, and of savers that cannot save what is wanted.

    Args:
        run: the `keras_admm.ADMM` among the callbacks.
        callbacks: list of all callbacks of the fit.
        timeline: list of `plan.EpochInfo`s, one for each epoch.
    """
    name = run.engine.name
    for sentence in [*_order(callbacks[: callbacks.index(run)]), *_savers(callbacks, timeline, run)]:
        warnings.warn(f"{name}: {sentence}", stacklevel=3)


def _order(earlier):
    for callback in earlier:
        kind = type(callback).__name__
        logs, weighs = attach.is_kind(callback, *AFTER_LOGS), attach.is_kind(callback, *AFTER_WEIGHTS)
        if logs or weighs:
            why = "for its logs to reach it" if logs else "which else shows it other weights than the trained ones"
            yield (
                f"it must stand before {kind} in the list of callbacks {why}. Received: {kind} first. Change their "
                "order."
            )


def _savers(callbacks, timeline, run):
    if timeline and timeline[-1].phase == "admm" and any(attach.is_kind(c, "ModelCheckpoint") for c in callbacks):
        yield (
            "a ModelCheckpoint needs an epoch of retraining in the last step to save a model that holds the promised "
            "set, for the projection is after the last epoch here. Received: retrain_epochs=0. Retrain for an epoch at "
            "least, or save the model after fit."
        )
    if run.backup_dir or not any(attach.is_kind(c, "BackupAndRestore") for c in callbacks):
        return
    if run.resumable:
        yield (
            "a run that is killed goes on only with the state of its own phases. Received: a BackupAndRestore without "
            "backup_dir, after which the run would begin anew in the epochs that are left. Give this callback a "
            "backup_dir as well."
        )
    else:
        yield (
            "a run whose steps are judged as it goes must run from its beginning to its end. Received: a "
            "BackupAndRestore, after which it would begin anew in the epochs that are left. Leave that out; or prune "
            "to the sparsity that was found, with a backup_dir."
        )
