"""Changes the training of a live, compiled model, and undoes it without a trace.

The penalty's gradient is added, and the gradients of held weights are taken away, in the `apply` of the optimizer
instances (`apply_gradients` in tf_keras): where every backend, every `train_step` and every kind of precision must
pass. The state lives in variables, for JAX in those of the optimizers, so that JAX carries it through its compiled
step and nothing is traced again when it moves. After each update held weights are zeroed, whatever the optimizer did
to them, and those held at values are put back.
"""

import contextlib
import weakref

import keras
import numpy as np
from keras import ops

from keras_admm.attach.few import FEW, THROUGH, TIED, Few
from keras_admm.attach.fit import has_own_train_step
from keras_admm.attach.keras_optimizer import KerasOptimizer
from keras_admm.attach.optimizers import Optimizers, said
from keras_admm.attach.rules import (
    AnyOfThese,
    FewValues,
    HeldAtValues,
    HeldAtZero,
    Rest,
)
from keras_admm.attach.slot import FIXED, PRUNED, UNCONSTRAINED, Slot
from keras_admm.attach.strategy import num_replicas, strategy_scope
from keras_admm.attach.tf_keras_optimizer import TFKerasOptimizer
from keras_admm.attach.watch import Watch, is_compiling
from keras_admm.constraints.summary import chunks
from keras_admm.weights import is_tf_keras, path, view

# Modes in which weights are held.
HOLDING = ("hold", "both", "fix", *FEW)


class Hold:
    """A model whose training is changed, until `release`.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        variables: dict of names to the variables whose training is changed.
        penalty: a `keras_admm.penalties.Penalty`, whose `rule` says how the pull enters a training step; one that is
            `in_loss` enters by an `ADMMRegularizer` in the variable's regularizer slot (not on JAX, nor in tf_keras).
            None: not at all; the loop adds it itself.
        optimizers: the `Optimizers` to hook, or one optimizer, or None to leave all to the loop.
        once: bool, whether a training step is compiled once for all phases, as in custom training loops, rather than
            by `fit` for each.
    """

    def __init__(self, model, variables, penalty, optimizers, once=False):
        self.model = model
        self.penalty = penalty
        self.modes = dict.fromkeys(variables, "rest")
        self.few = {}
        self.version = 0
        # What to say to a loop whose step is compiled once though others will be needed, unless it looks for them.
        self.needs_steps = None
        self.released = False
        self._interrupted = self.release
        self.watched = False
        # Called, while the first step is traced, for a variable that it has made.
        self.on_new_variable = lambda: None
        self._compiled = getattr(model, "optimizer", None)
        self._paths = {path(v) for v in model.variables}
        self._variables = dict(variables)
        self.constraints = {name: variable.constraint for name, variable in self._variables.items()}
        self._once = once or has_own_train_step(model)
        self._in_train_function = False
        self._lends_rates = False
        chosen = _as_optimizers(optimizers, variables)
        self._adapters = [optimizer_of(model, optimizer) for optimizer in chosen.all]
        # Before a resumed run reads those that were lent to a phase.
        self._rates = [(adapter, adapter.learning_rate) for adapter in self._adapters]
        adapter = {id(a.optimizer): a for a in self._adapters}
        self._expected = {n: [adapter[id(o)] for o in those] for n, those in chosen.of.items()}
        self._undo = contextlib.ExitStack()
        with self._undo as undo:
            self.slots = {name: self._slot(v, undo) for name, v in self._variables.items()}
            self._rules = {name: self._rule(name, "rest") for name in self._variables}
            self.watch = Watch(self._variables, self._adapters)
            if self._adapters:
                self._hook(undo)
                self._renew_train_function()
            self._undo = undo.pop_all()

    def release(self):
        """Leave the model, its variables and its optimizers as they were found. Safe to call again."""
        self.released = True
        self._undo.close()

    def set_rule(self, modes):
        """Set what the training step does to some variables: their targets must be set again.

        In `fit` the step is compiled for the modes alone, so that each phase pays for its own arithmetic and no other.

        Args:
            modes: dict of names to `"rest"`: nothing; `"pull"`: to the target; `"hold"`: weights at zero; `"fix"`:
                weights at values, the target then being these; `"both"`: a pull, beside zeros that are held; or one of
                `FEW`: weights that take few values, which is `Few`'s to say. Other variables stay as they are.
        """
        changed = {name: mode for name, mode in modes.items() if mode != self.modes[name]}
        self.modes.update(changed)
        if self._once:
            changed = {n: m for n, m in changed.items() if m in FEW or not isinstance(self._rules[n], AnyOfThese)}
        for name in changed:
            self._rules[name] = self._rule(name, self.modes[name])
            self._set_after(name)
        if changed:
            self._renew_steps()

    def set_target(self, name, target, held=None, free=None, values=None):
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
        if mode in ("fix", "both"):
            target = target if free is None else np.where(free, UNCONSTRAINED, target)
        if mode in ("hold", "both", *THROUGH):
            target = target if held is None else np.where(held, PRUNED, target)
        if mode == "fix":
            self.slots[name].rho.assign(FIXED)
        self.slots[name].target.assign(target)

    def set_values(self, name, values):
        """Give a variable the `values` of its `Few`, an array; None leaves them."""
        few = self.few.get(name)
        if values is None:
            return
        if few is None or tuple(few.values.shape) != values.shape:
            made = [self._variable("values", values.shape), self._variable("steps", dtype="int32")]
            self._carry(name, made, self._undo)
            few = self.few[name] = Few(self.slots[name].target, *made)
            self._rules[name] = self._rule(name, self.modes[name])
            self._renew_steps()
        few.values.assign(values)

    def zero_mask(self, name):
        """Booleans: the weights of a variable that are held at zero."""
        return view(self.slots[name].target) == self._at_zero(name)

    def restore(self, name, w):
        """An array of the variable's weights with those that are held where they are held."""
        if self.modes[name] != "fix":
            return np.where(self.zero_mask(name), np.float32(0), w)
        target = view(self.slots[name].target)
        return np.where(target == UNCONSTRAINED, w, target)

    def moved(self, arrays):
        """How many weights of each variable are not where they are held, by name, where any are not."""
        counts = {n: self._astray(n, arrays[n]) for n in arrays if self.modes[n] in HOLDING}
        return {name: count for name, count in counts.items() if count}

    def _astray(self, name, w):
        fixed, zero = self.modes[name] == "fix", self._at_zero(name)
        parts = zip(chunks(w.reshape(-1)), chunks(view(self.slots[name].target).reshape(-1)), strict=True)
        off = (((t != UNCONSTRAINED) & (x != t)) if fixed else ((t == zero) & (x != 0)) for x, t in parts)
        return sum(int(np.count_nonzero(part)) for part in off)

    def _at_zero(self, name):
        """What stands in the target of a variable for a weight that is held at zero."""
        return np.float32(0) if self.modes[name] in ("fix", *TIED) else PRUNED

    def renew_slots(self):
        """Give the optimizers that train the variables the state of new ones, learning rate and step count aside.

        Moments gathered before a projection would push the weights back; averages (`use_ema`) would bring back
        what the projection took.
        """
        for adapter in self._adapters:
            if self.watch.trains(adapter):
                adapter.renew()

    def set_learning_rate(self, rate):
        """Set the learning rate of the optimizers; `release` sets each its own again."""
        if not self._lends_rates:
            self._lends_rates = True
            for adapter, own in self._rates:
                self._undo.callback(setattr, adapter, "learning_rate", own)
        for adapter, _ in self._rates:
            adapter.learning_rate = float(rate)

    @property
    def writes_averages(self):
        """Whether an optimizer writes averages over the weights, which know nothing of what is held."""
        return any(adapter.uses_averages for adapter in self._adapters if self.watch.trains(adapter))

    @property
    def untrained(self):
        """Whether there are optimizers, and none of them has taken a step."""
        return bool(self._adapters) and self.watch.still

    def check_handed(self, name):
        """Raises when the weights have not been trained by the optimizers that are hooked; see `Watch`."""
        if self._adapters:
            self.watch.check_handed(name, self._expected)

    def check_current(self, name):
        """Raises when a step was used that was compiled for what no longer holds; see `Watch`."""
        now = getattr(self.model, "optimizer", None)
        if now is not self._compiled and any(a.optimizer is self._compiled for a in self._adapters):
            raise ValueError(
                f"{name}: the optimizer that a run begins with must train the model until its end. Received: "
                f"{said(now)} in the place of {said(self._compiled)}, compiled or set in the middle. Do so before fit, "
                "or after it for a fit of its own. The weights since then are not what they should be: go back to a "
                "checkpoint."
            )
        self.watch.check_current(name)

    def _hook(self, undo):
        names = [(v, n) for n, v in self._variables.items()]
        for adapter in self._adapters:
            adapter.hook(names, self._bent, self._after, undo)
        for name, variable in self._variables.items():
            self._set_after(name)
            if self.penalty is not None and self.penalty.in_loss:
                undo.callback(setattr, variable, "regularizer", variable.regularizer)
                variable.regularizer = _in_loss(self.slots[name], variable.regularizer)
        undo.callback(self.model.make_train_function, force=True)

    def _slot(self, variable, undo):
        slot = Slot(self._variable("target", variable.shape, variable), self._variable("rho"))
        for adapter in self._adapters:
            adapter.carry(list(slot), variable, undo)
        return slot

    def _carry(self, name, made, undo):
        for adapter in self._adapters:
            adapter.carry(made, self._variables[name], undo)

    def _variable(self, name, shape=(), like=None, dtype="float32"):
        layout = {"layout": like._layout} if getattr(like, "_layout", None) is not None else {}
        with strategy_scope(self.model):
            return keras.Variable(
                "zeros", shape=tuple(shape), name=f"admm_{name}", dtype=dtype, trainable=False, **layout
            )

    def _renew_steps(self):
        """What a step does has changed: those that `fit` compiles are compiled anew, others must be."""
        self.version += 1
        self.watch.renew(self.version)
        if self._adapters:
            self._renew_train_function()

    def _renew_train_function(self):
        # Past a guard of `release_with`, which is for the fits of others.
        type(self.model).make_train_function(self.model, force=True)
        self.model.train_function = self._guarded(self.model.train_function)

    def _guarded(self, train_function):
        def guarded(*args, **kwargs):
            self._in_train_function = True
            try:
                return train_function(*args, **kwargs)
            except BaseException as error:
                # The end of the data is no error: Keras says it with StopIteration, TensorFlow with OutOfRangeError.
                if type(error).__name__ not in ("StopIteration", "OutOfRangeError"):
                    self._interrupted()
                raise
            finally:
                self._in_train_function = False

        return guarded

    def _rule(self, name, mode):
        """The `StepRule` of a variable in a mode."""
        slot = self.slots[name]
        if mode in FEW:
            return FewValues(slot, self.few.get(name), mode, mode in TIED)
        pull = slot.pull if mode == "both" or self._once else slot.regularizer.gradient
        pulled = Rest() if self.penalty is None else self.penalty.rule(slot, pull)
        if self._once:
            return AnyOfThese(slot, pulled)
        rules = {"rest": Rest(), "pull": pulled, "both": HeldAtZero(slot, pulled), "hold": HeldAtZero(slot, Rest())}
        return HeldAtValues(slot) if mode == "fix" else rules[mode]

    def _set_after(self, name):
        after = self._after if self._rules[name].acts_after else None
        for adapter in self._adapters:
            adapter.set_after(self._variables[name], name, after, self.constraints[name])

    def _bent(self, adapter, gradient, variable, name, scale):
        """A gradient as it is by its variable's rule."""
        self.watch.handed(adapter, name)
        if name is None:
            self._note_other(variable)
            return gradient
        self._check_compiling(gradient)
        return self._rules[name].gradient(gradient, variable, scale / num_replicas(self.model))

    def _after(self, name, w, updated):
        """What becomes of a weight after its update, or None for what it is.

        Args:
            name: of the variable.
            w: tensor.
            updated: boolean tensor, whether it was updated, or None where it always is.
        """
        rule = self._rules[name]
        if not rule.acts_after:
            return None
        before = [ops.copy(ops.convert_to_tensor(v)) for v in rule.state] if updated is not None else []
        new = rule.after_update(w)
        for variable, value in zip(rule.state, before, strict=False):
            variable.assign(ops.where(updated, ops.convert_to_tensor(variable), value))
        return new if updated is None else ops.where(updated, new, w)

    def _note_other(self, variable):
        """Report a variable of the model that was not there when the run was attached."""
        where = path(variable)
        if where not in self._paths:
            self._paths.add(where)
            self.on_new_variable()

    def _check_compiling(self, gradient):
        """Raises for a step that is compiled once, where another will be needed and nobody looks whether it is."""
        if self.needs_steps and not (self.watched or self._in_train_function) and is_compiling(gradient):
            raise ValueError(self.needs_steps)

    def release_with(self, callbacks, interrupted):
        """Release when the fit of a `CallbackList` ends in an exception, which it tells its callbacks nothing of.

        With the frames of the fit goes the list; where they are kept, the next fit releases the model first.

        Args:
            callbacks: the `CallbackList`.
            interrupted: function that is called when the fit has ended so, which must release.
        """
        self._interrupted = interrupted
        weakref.finalize(callbacks, interrupted).atexit = False
        model, make = self.model, self.model.make_train_function

        def make_train_function(force=False):
            self.release()
            return make(force=force)

        object.__setattr__(model, "make_train_function", make_train_function)
        self._undo.callback(model.__dict__.pop, "make_train_function", None)


def optimizer_of(model, optimizer):
    """What changes the updates of an optimizer, of the library that the model is of."""
    return TFKerasOptimizer(model, optimizer) if is_tf_keras(model) else KerasOptimizer(model, optimizer)


def _as_optimizers(optimizers, variables):
    if isinstance(optimizers, Optimizers):
        return optimizers
    each = () if optimizers is None else (optimizers,)
    return Optimizers(each, True, dict.fromkeys(variables, each))


def _in_loss(slot, regularizer):
    return lambda w: slot.penalty(w) + (regularizer(w) if regularizer is not None else 0.0)
