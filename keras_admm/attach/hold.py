"""Bends the training of a live, compiled model, and undoes it without a trace.

The only room that knows Keras's insides. The penalty's gradient is added, and the gradients of held weights are
taken away, in the `apply` of the model's own optimizer instance: where every backend, every `train_step` and every
kind of precision must pass. The state lives in optimizer variables, so that JAX carries it through its compiled
step and nothing is traced again when it moves. A second pass in the variable's constraint slot zeroes held weights
after the update, whatever the optimizer did to them.
"""

import contextlib
import types
import weakref

import keras
from keras import ops

from keras_admm.attach.slot import Slot

PENALTIES = ("gradient", "loss", "proximal")


class Hold:
    """A model whose training is bent, until `release`.

    Args:
        model: a built `keras.Model`.
        variables: dict of names to the variables that are bent.
        penalty: how the pull enters. `"gradient"`: added to the gradient that the optimizer is given.
            `"proximal"`: after each update, `w <- (w + rho * target) / (1 + rho)`, decoupled from the optimizer as
            AdamW decouples its decay. `"loss"`: an `ADMMRegularizer` in the variable's regularizer slot, so that
            it shows in `loss` (not on JAX). `None`: not at all; the loop adds it itself.
        optimizer: a `keras.Optimizer` to hook, or None to leave all to the loop.
    """

    def __init__(self, model, variables, penalty, optimizer):
        self.model = model
        self.penalty = penalty
        self._outer = optimizer
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self._variables = dict(variables)
        own_rate = getattr(self._optimizer, "_learning_rate", None)
        self._rate = float(ops.convert_to_numpy(own_rate)) if isinstance(own_rate, keras.Variable) else None
        self._rate_is_lent = False
        self._undo = contextlib.ExitStack()
        with self._undo as undo:
            self.slots = self._make_slots(undo)
            if self._optimizer is not None:
                self._hook_optimizer(undo)
                self._fill_variable_slots(undo)
                self._renew_train_function(undo)
            self._undo = undo.pop_all()

    def release(self):
        """Leave the model, its variables and its optimizer as they were found. Safe to call again."""
        self._undo.close()

    def renew_slots(self):
        """Give the optimizer the state it would have if it were new, learning rate and step count aside.

        Moments gathered before a projection would push the weights back; averages (`use_ema`) would bring back
        what the projection took.
        """
        optimizer = self._optimizer
        if optimizer is None:
            return
        with _strategy_scope(self.model):
            new = type(optimizer).from_config(optimizer.get_config())
            new.build(optimizer._trainable_variables)
        lasting = {id(optimizer._iterations), id(optimizer._learning_rate)}
        for variable, fresh in zip(self._own, new._variables, strict=True):
            if id(variable) not in lasting:
                variable.assign(ops.convert_to_numpy(fresh))
        if optimizer.use_ema:
            averages = optimizer._model_variables_moving_average
            for average, variable in zip(averages, optimizer._trainable_variables, strict=True):
                average.assign(ops.convert_to_numpy(variable))

    def set_learning_rate(self, rate):
        """Set the optimizer's learning rate; `release` sets it back."""
        if not self._rate_is_lent:
            self._undo.callback(setattr, self._optimizer, "learning_rate", self._rate)
            self._rate_is_lent = True
        self._optimizer.learning_rate = float(rate)

    def _make_slots(self, undo):
        if self._optimizer is None:
            make = keras.Variable
        else:
            if not self._optimizer.built:
                self._outer.build(self.model.trainable_variables)
            make = self._add_variable
            self._own = list(self._optimizer._variables)
            undo.callback(_drop, self._optimizer._variables, before=self._own)
        with _strategy_scope(self.model):
            return {n: self._make_slot(make, v) for n, v in self._variables.items()}

    def _make_slot(self, make, variable):
        layout = {"layout": variable._layout} if getattr(variable, "_layout", None) is not None else {}
        return Slot(
            target=make(initializer="zeros", shape=variable.shape, dtype="float32", name="admm_target", **layout),
            rho=make(initializer="zeros", shape=(), dtype="float32", name="admm_rho"),
        )

    def _add_variable(self, **kwargs):
        return self._optimizer.add_variable(**kwargs)

    def _hook_optimizer(self, undo):
        optimizer = self._optimizer
        if "apply" in optimizer.__dict__:
            raise ValueError(
                f"{self.model.name}: one run at a time can hold a model's optimizer. Received: an optimizer that "
                "another one holds. Put the steps into one callback, or release the other one first."
            )
        key = optimizer._var_key
        by_key = {key(v): self.slots[name] for name, v in self._variables.items()}
        share = 1.0 / _num_replicas(self.model)
        apply = optimizer.apply

        def bent_apply(self, grads, trainable_variables=None):
            own = list(self._trainable_variables if trainable_variables is None else trainable_variables)
            # With a loss scale of the optimizer's own, the gradients that come in are still scaled.
            scale = (getattr(self, "loss_scale_factor", None) or 1.0) * share
            bent = [_bend(g, v, by_key.get(key(v)), scale * adds_pull) for g, v in zip(grads, own, strict=True)]
            return apply(bent, own)

        adds_pull = float(self.penalty == "gradient")
        # Past Keras's attribute tracking: a hook is not a part of the optimizer's state.
        object.__setattr__(optimizer, "apply", types.MethodType(bent_apply, optimizer))
        undo.callback(optimizer.__dict__.pop, "apply", None)
        for saveable in {id(o): o for o in (optimizer, self._outer)}.values():
            for method in ("save_own_variables", "load_own_variables"):
                object.__setattr__(saveable, method, self._without_ours(getattr(saveable, method)))
                undo.callback(saveable.__dict__.pop, method, None)

    def _without_ours(self, method):
        """A file that is saved in mid-run, or read there, must look as if we were not in the optimizer."""

        def call(store):
            variables = self._optimizer._variables
            everything = list(variables)
            _drop(variables, before=self._own)
            try:
                method(store)
            finally:
                del variables[:]
                variables.extend(everything)

        return call

    def _fill_variable_slots(self, undo):
        for name, variable in self._variables.items():
            slot, constraint, regularizer = self.slots[name], variable.constraint, variable.regularizer
            undo.callback(setattr, variable, "constraint", constraint)
            variable.constraint = _after_update(slot, constraint, proximal=self.penalty == "proximal")
            if self.penalty == "loss":
                undo.callback(setattr, variable, "regularizer", regularizer)
                variable.regularizer = _in_loss(slot, regularizer)

    def _renew_train_function(self, undo):
        model = self.model
        undo.callback(model.make_train_function, force=True)
        model.make_train_function(force=True)
        model.train_function = _released_on_error(model.train_function, self.release)

    def release_with(self, callbacks):
        """Release when the fit of a `CallbackList` ends in an exception, which it tells its callbacks nothing of.

        With the frames of the fit goes the list; where they are kept, the next fit releases the model first.
        """
        weakref.finalize(callbacks, self.release).atexit = False
        model, make = self.model, self.model.make_train_function

        def make_train_function(force=False):
            self.release()
            return make(force=force)

        object.__setattr__(model, "make_train_function", make_train_function)
        self._undo.callback(model.__dict__.pop, "make_train_function", None)


def _bend(gradient, variable, slot, scale):
    if slot is None:
        return gradient
    if gradient is None:
        gradient = ops.zeros_like(variable)
    dtype = keras.backend.standardize_dtype(gradient.dtype)
    if scale:
        gradient = ops.cast(_dense(gradient), "float32") + scale * slot.pull(variable)
    return ops.cast(slot.zero(_dense(gradient)), dtype)


def _dense(gradient):
    # TensorFlow gives the gradient of an embedding as rows; the pull is on all of it.
    return ops.convert_to_tensor(gradient)


def _after_update(slot, constraint, proximal):
    def after_update(w):
        if constraint is not None:
            w = constraint(w)
        w = ops.convert_to_tensor(w)
        if proximal:
            moved = ops.cast(w, "float32") - slot.pull(w) / (1.0 + slot.rho)
            w = ops.cast(moved, w.dtype)
        return slot.zero(w)

    return after_update


def _in_loss(slot, regularizer):
    return lambda w: slot.penalty(w) + (regularizer(w) if regularizer is not None else 0.0)


def _released_on_error(train_function, release):
    def guarded(*args, **kwargs):
        try:
            return train_function(*args, **kwargs)
        except BaseException as error:
            # The end of the data is no error: Keras says it with StopIteration, TensorFlow with OutOfRangeError.
            if type(error).__name__ not in ("StopIteration", "OutOfRangeError"):
                release()
            raise

    return guarded


def _drop(variables, before):
    known = {id(v) for v in before}
    keep = [v for v in variables if id(v) in known]
    # TensorFlow's tracked list compares elements when a slice is assigned.
    del variables[:]
    variables.extend(keep)


def _strategy(model):
    return getattr(model, "distribute_strategy", None) if keras.backend.backend() == "tensorflow" else None


def _strategy_scope(model):
    strategy = _strategy(model)
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def _num_replicas(model):
    strategy = _strategy(model)
    return strategy.num_replicas_in_sync if strategy is not None else 1
