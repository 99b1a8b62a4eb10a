"""Learning rates of the phases of a run."""

import warnings

import keras

from keras_admm import attach, checks

PHASES = ("admm", "retrain")
SPENT = 0.01  # of its largest rate: less than what schedules end at on purpose


def checked_rates(name, rates):
    rates = {} if rates is None else rates
    must = f"a dict of {PHASES} to rates >= 0 or LearningRateSchedules of epochs"
    remedy = "Write for example {'retrain': 1e-3}."
    if not isinstance(rates, dict) or set(rates) - set(PHASES):
        raise ValueError(checks.refused(name, "learning_rate", must, rates, remedy))
    for phase, rate in rates.items():
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            checks.number(name, f"learning_rate[{phase!r}]", rate, 0, "a finite number >= 0", remedy)
    return rates


def check_rate_is_settable(name, rates, model, optimizers):
    if rates and len(optimizers.all) > 1 and not optimizers.named:
        raise ValueError(
            f"{name}: a learning rate per phase needs to know for which optimizers it is. Received: model "
            f"{model.name!r} with {len(optimizers.all)} optimizers. Name those that apply the gradients of what is "
            "compressed with optimizer=."
        )
    for optimizer in optimizers.all if rates else ():
        if attach.optimizer_of(model, optimizer).learning_rate is None:
            raise ValueError(
                f"{name}: a learning rate per phase needs an optimizer compiled with a float as its rate. Received: a "
                f"{type(optimizer).__name__} with a schedule. Compile with a float, or leave `learning_rate` to the "
                "optimizer's own schedule."
            )


def say_what_is_spent(name, model, optimizers):
    """Warn of schedules that earlier training has used up, under which ADMM would hardly train."""
    for optimizer in optimizers.all:
        left = attach.optimizer_of(model, optimizer).rate_left
        if left < SPENT:
            warnings.warn(
                f"{name}: the optimizer must have a learning rate left to train with. Received: a schedule that "
                f"earlier training has used up, at {left:.1e} of its largest rate. Compile the model anew, with a rate "
                "of its own for this fit.",
                stacklevel=3,
            )


def set_rate(engine, rates):
    """Set the learning rate of the phase that the epoch to come is in.

    Args:
        engine: the `keras_admm.Engine` of the run.
        rates: a dict of `checked_rates`.
    """
    info = engine.epoch_info
    if info is not None and info.phase in rates:
        rate = rates[info.phase]
        engine.set_learning_rate(float(rate(info.epoch)) if callable(rate) else rate)
    elif info is not None and info.epoch == 0 and rates:
        engine.set_learning_rate(None)
