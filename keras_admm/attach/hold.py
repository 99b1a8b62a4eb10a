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
import numpy as np
from keras import ops

from keras_admm.attach.slot import FREE, HELD, Slot

PENALTIES = ("gradient", "loss", "proximal")

# What a training step is compiled for, so that each phase pays for its own arithmetic alone: nothing; a pull to the
# target; weights held at zero, the target then being their mask; or all that a slot can say (see `Slot`).
MODES = ("rest", "pull", "hold", "both")


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
        # A loop of one's own compiles its step once, for all phases.
        self.mode = "both" if optimizer is None else "rest"
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
                undo.callback(model.make_train_function, force=True)
                self._renew_train_function()
            self._undo = undo.pop_all()

    def release(self):
        """Leave the model, its variables and its optimizer as they were found. Safe to call again."""
        self._undo.close()

    def bend(self, mode):
        """Set one of `MODES`: the next steps are compiled anew for it. The targets must then be aimed again."""
        if self._optimizer is None or mode == self.mode:
            return
        self.mode = mode
        after = {"rest": False, "pull": self.penalty == "proximal", "hold": True, "both": True}[mode]
        for name, variable in self._variables.items():
            constraint = self._constraints[name]
            variable.constraint = self._after_update(self.slots[name], constraint) if after else constraint
        self._renew_train_function()

    def aim(self, name, target, held=None, free=None):
        """Move a target; hold weights at zero where `held` is true, and pull none where `free` is. Between epochs."""
        if self.mode == "hold":
            target = np.where(held, np.float32(0), np.float32(1))
        elif self.mode == "both":
            target = target if free is None else np.where(free, FREE, target)
            target = target if held is None else np.where(held, HELD, target)
        self.slots[name].target.assign(target)

    def zeroed(self, name):
        """Booleans: the weights of a variable that are held at zero."""
        target = ops.convert_to_numpy(self.slots[name].target)
        return target == (0 if self.mode == "hold" else HELD)

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

        def bent_apply(its, grads, trainable_variables=None):
            own = list(its._trainable_variables if trainable_variables is None else trainable_variables)
            # With a loss scale of the optimizer's own, the gradients that come in are still scaled.
            scale = (getattr(its, "loss_scale_factor", None) or 1.0) * share
            bent = [self._bent(g, v, by_key.get(key(v)), scale) for g, v in zip(grads, own, strict=True)]
            return apply(bent, own)

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
        self._constraints = {name: variable.constraint for name, variable in self._variables.items()}
        for name, variable in self._variables.items():
            undo.callback(setattr, variable, "constraint", variable.constraint)
            if self.penalty == "loss":
                undo.callback(setattr, variable, "regularizer", variable.regularizer)
                variable.regularizer = _in_loss(self.slots[name], variable.regularizer)

    def _renew_train_function(self):
        # Past a guard of `release_with`, which is for the fits of others.
        type(self.model).make_train_function(self.model, force=True)
        self.model.train_function = _released_on_error(self.model.train_function, self.release)

    def _bent(self, gradient, variable, slot, scale):
        """A gradient as it is in this mode."""
        if slot is None or self.mode == "rest":
            return gradient
        # TensorFlow gives the gradient of an embedding as rows; the pull is on all of it.
        gradient = ops.zeros_like(variable) if gradient is None else ops.convert_to_tensor(gradient)
        dtype = keras.backend.standardize_dtype(gradient.dtype)
        if self.mode == "hold":
            return gradient * ops.cast(slot.target, dtype)
        if self.penalty == "gradient":
            pull = slot.pull(variable) if self.mode == "both" else slot.regularizer.gradient(variable)
            gradient = ops.cast(ops.cast(gradient, "float32") + (pull if scale == 1 else scale * pull), dtype)
        return slot.zero(gradient) if self.mode == "both" else gradient

    def _after_update(self, slot, constraint):
        """What becomes of a weight after its update, in this mode."""

        def after_update(w):
            w = ops.convert_to_tensor(w if constraint is None else constraint(w))
            if self.mode == "hold":
                return w * ops.cast(slot.target, w.dtype)
            if self.penalty == "proximal":
                pull = slot.pull(w) if self.mode == "both" else slot.regularizer.gradient(w)
                w = ops.cast(ops.cast(w, "float32") - pull / (1.0 + slot.rho), w.dtype)
            return slot.zero(w) if self.mode == "both" else w

        return after_update

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
