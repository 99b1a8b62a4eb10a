"""The `tf.distribute` strategy that a model lives under, if any: both Keras libraries know it by the same name."""

import contextlib

import keras


def strategy_scope(model):
    """The scope in which a model's new variables are made."""
    strategy = _strategy(model)
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def check_strategy(name, model):
    """Raises where the workers of a model train on their own: there is no moment at which its weights are known.

    Args:
        name: str, name used in error messages.
        model: the model.
    """
    strategy = _strategy(model)
    if strategy is None:
        return
    from tensorflow import distribute

    if isinstance(strategy, distribute.ParameterServerStrategy):
        raise ValueError(
            f"{name}: the workers must train in step, so that all have the same weights when these are projected. "
            f"Received: {model.name}, made under {type(strategy).__name__}. Make it under MirroredStrategy, "
            "MultiWorkerMirroredStrategy (a tf_keras model) or TPUStrategy."
        )


def num_replicas(model):
    """How many replicas each add their gradient before the sum is applied."""
    strategy = _strategy(model)
    return strategy.num_replicas_in_sync if strategy is not None else 1


def layout_of(variable):
    """Where a distribution of Keras has put the parts of a variable, as what another one like it is made with."""
    layout = getattr(variable, "_layout", None)
    return {} if layout is None else {"layout": layout}


def out_of_reach(variables):
    """The names, of a dict of variables, of those that lie in part on devices of other processes."""
    if keras.backend.backend() != "jax":
        return []
    values = {name: variable.value for name, variable in variables.items()}
    return [n for n, each in values.items() if not (each.is_fully_addressable or each.is_fully_replicated)]


def _strategy(model):
    return getattr(model, "distribute_strategy", None) if keras.backend.backend() == "tensorflow" else None
