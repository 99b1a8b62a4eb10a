"""Checks of the arguments of the callbacks, before any training."""

import difflib
import inspect
from collections.abc import Sequence

from keras_admm import checks
from keras_admm import retraining as retrainings
from keras_admm.plan import AnyTarget, Step, as_target, per_step

Sets = AnyTarget | Step | Sequence[AnyTarget | Step]


def check_known(kind, given):
    """Raises for names of arguments that a callback does not have, with the nearest that it has."""
    parameters = [p for p in inspect.signature(kind.__init__).parameters.values() if p.name != "self"]
    known = [p.name for p in parameters]
    unknown = [name for name in given if name not in known]
    if not unknown or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    near = [match for name in unknown for match in difflib.get_close_matches(name, known, 1)]
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"Choose from {', '.join(known)}."
    raise TypeError(
        f"{kind.__name__}: every argument must be one that it has. Received: {', '.join(unknown)}. {remedy}"
    )


def passed_on(kind, given):
    """Of the local variables of an `__init__` the keyword arguments of the class that it calls."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {p.name: given[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in given}


def steps_of(name, constraints, admm_epochs, retrain_epochs, retraining):
    """The `plan.Step`s of a run, from the arguments of its callback."""
    targets = list(constraints) if isinstance(constraints, (list, tuple)) else [constraints]
    admm = per_step(name, "admm_epochs", admm_epochs, len(targets), least=1, shares=True)
    retrain = per_step(name, "retrain_epochs", retrain_epochs, len(targets), least=0)
    way = retrainings.get(retraining, name)
    _check_steps_say_all(name, targets, admm_epochs, retrain_epochs, way)
    each = zip(targets, admm, retrain, strict=True)
    return [_step(name, target, admm_epochs=a, retrain_epochs=r, retraining=way) for target, a, r in each]


def _step(name, target, **how):
    return target if isinstance(target, Step) else Step(target=as_target(name, target), **how)


def _check_steps_say_all(name, targets, admm_epochs, retrain_epochs, retraining):
    """Raises for arguments that would be lost beside `Step`s, which say their own."""
    given = {"admm_epochs": admm_epochs, "retrain_epochs": retrain_epochs}
    given = {argument: value for argument, value in given.items() if value is not None}
    given |= {} if retraining == retrainings.StraightThrough() else {"retraining": retraining}
    if given and any(isinstance(target, Step) for target in targets):
        raise ValueError(
            f"{name}: a Step says its own epochs and retraining. Received: a Step, and beside it "
            f"{', '.join(f'{key}={checks.shown(value)}' for key, value in given.items())}. Write "
            f"keras_admm.Step(target=..., {next(iter(given))}=...), which must hold all of them."
        )


def checked_verbosity(name, verbose, most=1):
    """`verbose` as `"auto"`, or a number up to `most`."""
    if isinstance(verbose, str) and verbose == "auto":
        return verbose
    number = int(verbose) if isinstance(verbose, bool) else verbose
    return checks.integer(name, "verbose", number, 0, most, "Leave it out, or pass 'auto', to print where fit does.")


def verbosity(verbose, fit):
    """How much a callback prints: as it was told, or, with `"auto"`, where `fit` does.

    Args:
        verbose: what `checked_verbosity` gave.
        fit: the parameters that `fit` gives its callbacks.
    """
    return int(fit.get("verbose") != 0) if verbose == "auto" else verbose
