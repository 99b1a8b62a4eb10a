"""Bends the training of a live, compiled model, and undoes it without a trace.

The penalty's gradient is added, and the gradients of held weights are taken away, in the `apply` of the model's own
optimizer instance (`apply_gradients` in tf_keras): where every backend, every `train_step` and every kind of
precision must pass. The state lives in optimizer variables, so that JAX carries it through its compiled step and
nothing is traced again when it moves. A second pass in the variable's constraint slot zeroes held weights after the
update, whatever the optimizer did to them, and puts back those held at values.
"""

import contextlib
import weakref

import keras
import numpy as np
from keras import ops

from keras_admm.attach.few import FEW, THROUGH, TIED, Few
from keras_admm.attach.keras_optimizer import KerasOptimizer
from keras_admm.attach.slot import FREE, HELD, Slot
from keras_admm.attach.strategy import num_replicas, strategy_scope
from keras_admm.attach.tf_keras_optimizer import TFKerasOptimizer
from keras_admm.weights import is_tf_keras

PENALTIES = ("gradient", "loss", "proximal")


class Hold:
    """A model whose training is bent, until `release`.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        variables: dict of names to the variables that are bent.
        penalty: how the pull enters. `"gradient"`: added to the gradient that the optimizer is given.
            `"proximal"`: after each update, `w <- (w + rho * target) / (1 + rho)`, decoupled from the optimizer as
            AdamW decouples its decay. `"loss"`: an `ADMMRegularizer` in the variable's regularizer slot, so that
            it shows in `loss` (not on JAX, nor in tf_keras). `None`: not at all; the loop adds it itself.
        optimizer: a `keras.Optimizer` to hook, or None to leave all to the loop.
    """

    def __init__(self, model, variables, penalty, optimizer):
        self.model = model
        self.penalty = penalty
        # A loop of one's own compiles its step once, for all phases.
        self.modes = dict.fromkeys(variables, "both" if optimizer is None else "rest")
        self._optimizer = optimizer_of(model, optimizer) if optimizer is not None else None
        self._variables = dict(variables)
        self._rate = self._optimizer.learning_rate if optimizer is not None else None
        self._rate_is_lent = False
        self.few = {}
        self._undo = contextlib.ExitStack()
        with self._undo as undo:
            self.slots = self._make_slots(undo)
            if self._optimizer is not None:
                self._optimizer.hook([(v, n) for n, v in self._variables.items()], self._bent, undo)
                self._fill_variable_slots(undo)
                undo.callback(model.make_train_function, force=True)
                self._renew_train_function()
            self._undo = undo.pop_all()

    def release(self):
        """Leave the model, its variables and its optimizer as they were found. Safe to call again."""
        self._undo.close()

    def bend(self, modes):
        """Set what the training step does to some variables: it is compiled anew, their targets must be aimed again.

        A step is compiled for the modes alone, so that each phase pays for its own arithmetic and no other.

        Args:
            modes: dict of names to `"rest"`: nothing; `"pull"`: to the target; `"hold"`: weights at zero, the target
                then being their mask; `"fix"`: weights at values, the target then being these, `FREE` elsewhere;
                `"both"`: a pull, beside zeros that are held; or one of `FEW`: weights that take few values, which is
                `Few`'s to say. Other variables stay as they are.
        """
        changed = {name: mode for name, mode in modes.items() if mode != self.modes[name]}
        if self._optimizer is None or not changed:
            return
        self.modes.update(changed)
        for name, mode in changed.items():
            after = mode not in ("rest", "pull") or mode == "pull" and self.penalty == "proximal"
            bent = self._after_update(name) if after else self._constraints[name]
            self._optimizer.set_constraint(self._variables[name], bent)
        self._renew_train_function()

    def aim(self, name, target, held=None, free=None, values=None):
        """Move a target between epochs.

        Args:
            name: of the variable.
            target: array of what its weights are pulled to, or with mode `"fix"` held at.
            held: booleans, or None: weights to hold at zero instead, in modes that do.
            free: booleans, or None: weights to leave alone, in modes `"fix"` and `"both"`.
            values: array, the `values` of its `Few`, in modes of `FEW`.
        """
        mode = self.modes[name]
        self.set_values(name, values)
        if mode == "hold":
            target = np.where(held, np.float32(0), np.float32(1))
        elif mode in ("fix", "both"):
            target = target if free is None else np.where(free, FREE, target)
        if mode == "both" or mode in THROUGH:
            target = target if held is None else np.where(held, HELD, target)
        self.slots[name].target.assign(target)

    def set_values(self, name, values):
        """Give a variable the `values` of its `Few`, an array; None leaves them."""
        few = self.few.get(name)
        if values is None:
            return
        if few is None or tuple(few.values.shape) != values.shape:
            few = self.few[name] = Few(
                self.slots[name].target, self._variable("values", values.shape), self._optimizer.steps
            )
            self._renew_train_function()
        few.values.assign(values)

    def zeroed(self, name):
        """Booleans: the weights of a variable that are held at zero."""
        target, mode = ops.convert_to_numpy(self.slots[name].target), self.modes[name]
        if mode in ("hold", "fix", *TIED):
            return target == 0
        return target == HELD

    def put_back(self, name, w):
        """An array of the variable's weights with those that are held where they are held."""
        if self.modes[name] != "fix":
            return np.where(self.zeroed(name), np.float32(0), w)
        target = ops.convert_to_numpy(self.slots[name].target)
        return np.where(target == FREE, w, target)

    def renew_slots(self):
        """Give the optimizer the state it would have if it were new, learning rate and step count aside.

        Moments gathered before a projection would push the weights back; averages (`use_ema`) would bring back
        what the projection took.
        """
        if self._optimizer is not None:
            self._optimizer.renew()

    def set_learning_rate(self, rate):
        """Set the optimizer's learning rate; `release` sets it back."""
        if not self._rate_is_lent:
            self._undo.callback(setattr, self._optimizer, "learning_rate", self._rate)
            self._rate_is_lent = True
        self._optimizer.learning_rate = float(rate)

    def _make_slots(self, undo):
        self._make = keras.Variable if self._optimizer is None else self._optimizer.make_variables(undo)
        return {
            n: Slot(self._variable("target", v.shape, v), self._variable("rho")) for n, v in self._variables.items()
        }

    def _variable(self, name, shape=(), like=None):
        layout = {"layout": like._layout} if getattr(like, "_layout", None) is not None else {}
        with strategy_scope(self.model):
            return self._make(shape=tuple(shape), name=f"admm_{name}", initializer="zeros", dtype="float32", **layout)

    def _fill_variable_slots(self, undo):
        self._constraints = {name: variable.constraint for name, variable in self._variables.items()}
        for name, variable in self._variables.items():
            undo.callback(self._optimizer.set_constraint, variable, variable.constraint)
            if self.penalty == "loss":
                undo.callback(setattr, variable, "regularizer", variable.regularizer)
                variable.regularizer = _in_loss(self.slots[name], variable.regularizer)

    def _renew_train_function(self):
        # Past a guard of `release_with`, which is for the fits of others.
        type(self.model).make_train_function(self.model, force=True)
        self.model.train_function = _released_on_error(self.model.train_function, self.release)

    def _bent(self, gradient, variable, name, scale):
        """A gradient as it is in its variable's mode."""
        mode = self.modes.get(name, "rest")
        if mode == "rest":
            return gradient
        slot = self.slots[name]
        # TensorFlow gives the gradient of an embedding as rows; the pull is on all of it.
        gradient = ops.zeros_like(variable) if gradient is None else ops.convert_to_tensor(gradient)
        dtype = keras.backend.standardize_dtype(gradient.dtype)
        if mode == "hold":
            return gradient * ops.cast(slot.target, dtype)
        if mode == "fix":
            return ops.where(slot.free, gradient, ops.zeros((), dtype=dtype))
        if mode in TIED:
            return getattr(self.few[name], mode)(gradient)
        if mode in THROUGH:
            return slot.zero(gradient)
        if self.penalty == "gradient":
            pull = slot.pull(variable) if mode == "both" else slot.regularizer.gradient(variable)
            scale = scale / num_replicas(self.model)
            gradient = ops.cast(ops.cast(gradient, "float32") + (pull if scale == 1 else scale * pull), dtype)
        return slot.zero(gradient) if mode == "both" else gradient

    def _after_update(self, name):
        """What becomes of a weight after its update, in its variable's mode."""
        slot, mode, constraint = self.slots[name], self.modes[name], self._constraints[name]

        def after_update(w):
            w = ops.convert_to_tensor(w if constraint is None else constraint(w))
            if mode in FEW:
                return getattr(self.few[name], mode)(w)
            if mode == "hold":
                return w * ops.cast(slot.target, w.dtype)
            if mode == "fix":
                return ops.where(slot.free, w, ops.cast(slot.target, w.dtype))
            if self.penalty == "proximal":
                pull = slot.pull(w) if mode == "both" else slot.regularizer.gradient(w)
                w = ops.cast(ops.cast(w, "float32") - pull / (1.0 + slot.rho), w.dtype)
            return slot.zero(w) if mode == "both" else w

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


def optimizer_of(model, optimizer):
    """What bends an optimizer, of the library that the model is of."""
    return TFKerasOptimizer(model, optimizer) if is_tf_keras(model) else KerasOptimizer(model, optimizer)


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
