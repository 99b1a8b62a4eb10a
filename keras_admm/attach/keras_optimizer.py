"""What a Hold asks of an optimizer, answered for those of Keras 3."""

import types

import keras
from keras import ops

from keras_admm.attach.strategy import strategy_scope


class KerasOptimizer:
    """A Keras 3 optimizer that can be bent: hooked in its `apply`, with our state among its own variables.

    Args:
        model: the `keras.Model` that it trains.
        outer: the `keras.Optimizer` that the model knows; gradients are bent in its inner one, where there is one.
    """

    def __init__(self, model, outer):
        self._model = model
        self._outer = outer
        self._inner = getattr(outer, "inner_optimizer", outer)
        if not self._inner.built:
            outer.build(model.trainable_variables)
        self._own = list(self._inner._variables)

    @property
    def learning_rate(self):
        """The rate as a float, or None where a schedule has it."""
        own = self._inner._learning_rate
        return float(ops.convert_to_numpy(own)) if isinstance(own, keras.Variable) else None

    @learning_rate.setter
    def learning_rate(self, rate):
        self._inner.learning_rate = rate

    @property
    def steps(self):
        """The variable that counts its updates."""
        return self._inner.iterations

    def make_variables(self, undo):
        """What makes a variable that a compiled step can read; `undo` takes away what was made."""
        undo.callback(self._set_variables, self._own)
        return self._inner.add_variable

    def hook(self, names, bent, undo):
        """Give the optimizer `bent(gradient, variable, name, scale)` for the gradient of each variable.

        Args:
            names: list of pairs of a variable and its name.
            bent: function; the name is None for other variables, the scale is that of the gradients coming in.
            undo: `contextlib.ExitStack` that takes the hook away.
        """
        optimizer, apply, key = self._inner, self._inner.apply, self._inner._var_key
        check_free(self._model, optimizer, "apply")
        by_key = {key(v): name for v, name in names}

        def bent_apply(its, grads, trainable_variables=None):
            own = list(its._trainable_variables if trainable_variables is None else trainable_variables)
            # With a loss scale of the optimizer's own, the gradients that come in are still scaled.
            scale = getattr(its, "loss_scale_factor", None) or 1.0
            return apply([bent(g, v, by_key.get(key(v)), scale) for g, v in zip(grads, own, strict=True)], own)

        # Past Keras's attribute tracking: a hook is not a part of the optimizer's state.
        object.__setattr__(optimizer, "apply", types.MethodType(bent_apply, optimizer))
        undo.callback(optimizer.__dict__.pop, "apply", None)
        for saveable in {id(o): o for o in (optimizer, self._outer)}.values():
            for method in ("save_own_variables", "load_own_variables"):
                object.__setattr__(saveable, method, self._without_ours(getattr(saveable, method)))
                undo.callback(saveable.__dict__.pop, method, None)

    def renew(self):
        """Give it the state it would have if it were new, learning rate and step count aside."""
        optimizer = self._inner
        with strategy_scope(self._model):
            new = type(optimizer).from_config(optimizer.get_config())
            new.build(optimizer._trainable_variables)
        take_state(self._own, new._variables, but=(optimizer._iterations, optimizer._learning_rate))
        if optimizer.use_ema:
            averages = optimizer._model_variables_moving_average
            take_state(averages, optimizer._trainable_variables)

    @staticmethod
    def set_constraint(variable, constraint):
        """Set what is done to a variable after its update."""
        variable.constraint = constraint

    def _without_ours(self, method):
        """A file that is saved in mid-run, or read there, must look as if we were not in the optimizer."""

        def call(store):
            everything = list(self._inner._variables)
            self._set_variables(self._own)
            try:
                method(store)
            finally:
                self._set_variables(everything)

        return call

    def _set_variables(self, variables):
        # A new list: a TensorFlow model one of whose lists has lost elements cannot be exported any more.
        self._inner._variables = list(variables)


def check_free(model, optimizer, method):
    """Raises if another hook is there already."""
    if method in optimizer.__dict__:
        raise ValueError(
            f"{model.name}: one run at a time can hold a model's optimizer. Received: an optimizer that "
            "another one holds. Put the steps into one callback, or release the other one first."
        )


def take_state(variables, others, but=()):
    """Assign to each variable the value of its fellow among the others, but to a few."""
    lasting = {id(v) for v in but}
    for variable, other in zip(variables, others, strict=True):
        if id(variable) not in lasting:
            variable.assign(ops.convert_to_numpy(other))
