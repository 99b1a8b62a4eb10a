"""What a Hold asks of an optimizer, answered for those of tf_keras, the legacy ones among them."""

import keras

from keras_admm.attach.keras_optimizer import check_free, take_state
from keras_admm.attach.strategy import strategy_scope


class TFKerasOptimizer:
    """A tf_keras optimizer that can be bent, hooked in its `apply_gradients`. See `KerasOptimizer`.

    Our state is in variables of its own: TensorFlow's functions find them by themselves.
    """

    def __init__(self, model, outer):
        self._model = model
        self._inner = getattr(outer, "inner_optimizer", outer)
        _build(self._inner, model)

    @property
    def learning_rate(self):
        optimizer = self._inner
        own = optimizer._get_hyper("learning_rate") if _is_legacy(optimizer) else optimizer._learning_rate
        return float(own.numpy()) if hasattr(own, "assign") else None

    @learning_rate.setter
    def learning_rate(self, rate):
        self._inner.learning_rate = rate

    @property
    def steps(self):
        return self._inner.iterations

    def make_variables(self, undo):
        return keras.Variable

    def hook(self, names, bent, undo):
        optimizer, apply = self._inner, self._inner.apply_gradients
        check_free(self._model, optimizer, "apply_gradients")
        by_key = {_key(v): name for v, name in names}

        def bent_apply(grads_and_vars, *args, **kwargs):
            pairs = [(bent(g, v, by_key.get(_key(v)), 1.0), v) for g, v in grads_and_vars]
            return apply(pairs, *args, **kwargs)

        object.__setattr__(optimizer, "apply_gradients", bent_apply)
        undo.callback(optimizer.__dict__.pop, "apply_gradients", None)

    def renew(self):
        optimizer = self._inner
        with strategy_scope(self._model):
            new = type(optimizer).from_config(optimizer.get_config())
            _build(new, self._model)
        rates = () if _is_legacy(optimizer) else (optimizer._learning_rate,)
        take_state(optimizer.variables(), [v.numpy() for v in new.variables()], but=(optimizer.iterations, *rates))

    @staticmethod
    def set_constraint(variable, constraint):
        variable = getattr(variable, "_variable", variable)  # of one that casts under mixed precision
        for each in (variable, *(getattr(variable, "values", None) or ())):  # on each device of a mirrored one
            each._constraint = constraint


def _build(optimizer, model):
    with strategy_scope(model):
        if _is_legacy(optimizer):
            optimizer.iterations  # noqa: B018, made when first read
            optimizer._create_all_weights(model.trainable_variables)
        else:
            optimizer.build(model.trainable_variables)


def _is_legacy(optimizer):
    return hasattr(optimizer, "_create_all_weights")


def _key(variable):
    """The same for a variable and for its part on one device."""
    container = variable._distributed_container() if hasattr(variable, "_distributed_container") else variable
    return container._unique_id
