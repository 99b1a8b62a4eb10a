"""Changes the training of a live, compiled model, and undoes it without a trace.

The penalty's gradient is added, and the gradients of held weights are taken away, in the `apply` of the optimizer
instances (`apply_gradients` in tf_keras): where every backend, every `train_step` and every kind of precision must
pass. The state lives in variables, for JAX in those of the optimizers, so that JAX carries it through its compiled
step and nothing is traced again when it moves. After each update weights become what their rules say, whatever the
optimizer did to them.
"""

import contextlib

import keras
from keras import ops

from keras_admm.attach.keras_optimizer import KerasOptimizer
from keras_admm.attach.optimizers import Optimizers, compiled_optimizer, said
from keras_admm.attach.ordering import once_there
from keras_admm.attach.rule_state import RuleState
from keras_admm.attach.rules import Rest
from keras_admm.attach.strategy import layout_of, num_replicas, strategy_scope
from keras_admm.attach.tf_keras_optimizer import TFKerasOptimizer
from keras_admm.attach.train_function import TrainFunction
from keras_admm.attach.watch import Watch, is_compiling
from keras_admm.weights import is_tf_keras, path, view


class Hold:
    """A model whose training is changed, until `release`.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        variables: dict of names to the variables whose training is changed.
        optimizers: the `Optimizers` to hook, or one optimizer, or None to leave all to the loop.
        any_of: `AnyOfThese` where a training step is compiled once for all phases, as in custom training loops, rather
            than by `fit` for each.
        look: function of a variable that returns its value between two steps: `weights.view`, an array on the host, or
            `weights.on_device`, a tensor.

    Attributes:
        rules: dict of the names to the `StepRule`s in force; at first they are at `Rest`.
        states: dict of the names to their `RuleState`s.
        constraints: dict of the names to the variables' own constraints.
        version: int, which changes when a step that is compiled must be compiled anew.
    """

    def __init__(self, model, variables, optimizers=None, any_of=None, look=view):
        self.model = model
        self.look = look
        self.version = 0
        # What to say to a loop whose step is compiled once though others will be needed, unless it looks for them.
        self.needs_steps = None
        self.released = False
        self.watched = False
        # Called, while the first step is traced, for a variable that it has made.
        self.on_new_variable = lambda: None
        self._compiled = compiled_optimizer(model)
        self._paths = {path(v) for v in model.variables}
        self._variables = dict(variables)
        self.constraints = {name: variable.constraint for name, variable in self._variables.items()}
        self._any_of = any_of
        self._lends_rates = False
        chosen = _as_optimizers(optimizers, variables)
        self._adapters = [optimizer_of(model, optimizer) for optimizer in chosen.all]
        # Before a resumed run reads those that were lent to a phase.
        self._rates = [(adapter, adapter.learning_rate) for adapter in self._adapters]
        adapter = {id(a.optimizer): a for a in self._adapters}
        self._expected = {n: [adapter[id(o)] for o in those] for n, those in chosen.of.items()}
        self._train_function = TrainFunction(model, self.release)
        self._undo = contextlib.ExitStack()
        with self._undo as undo:
            self.states = {name: self._state(name) for name in self._variables}
            self.rules, self._steps = {}, {}
            for name in self._variables:
                self._set_rule(name, Rest())
            self.watch = Watch(self._variables, self._adapters)
            if self._adapters:
                self._hook(undo)
                self._train_function.renew()
            self._undo = undo.pop_all()

    def release(self):
        """Leave the model, its variables and its optimizers as they were found. Safe to call again."""
        self.released = True
        self._undo.close()

    def release_with(self, callbacks, interrupted):
        """Call a function, which must release, when the fit of a `CallbackList` ends in an exception."""
        self._train_function.release_with(callbacks, interrupted, self.release, self._undo)

    def set_rules(self, rules):
        """Set what a training step does to some variables: their targets must be set again.

        In `fit` the step is compiled for the rules alone, so that each phase pays for its own arithmetic and no other.

        Args:
            rules: dict of names to `StepRule`s. Other variables stay as they are.
        """
        before = dict(self._steps)
        for name, rule in rules.items():
            self._set_rule(name, rule)
        changed = [name for name in rules if self._steps[name] != before[name]]
        for name in changed:
            self._set_after(name)
        if changed:
            self.version += 1
            self.watch.renew(self.version)
            if self._adapters:
                self._train_function.renew()

    def add_to_loss(self):
        """Have the pull as a regularizer beside each variable's own, so that it shows in the loss; not on JAX."""
        for name, variable in self._variables.items():
            self._undo.callback(setattr, variable, "regularizer", variable.regularizer)
            variable.regularizer = _in_loss(self.states[name], variable.regularizer)

    def renew_optimizers(self):
        """Give the optimizers that train the variables the state of new ones, learning rate and step count aside.

        Moments gathered before a projection would push the weights back; averages (`use_ema`) would bring back
        what the projection took.
        """
        for adapter in self._adapters:
            if self.watch.trains(adapter):
                adapter.renew()

    def set_learning_rate(self, rate):
        """Set the learning rate of the optimizers; `release`, or a rate of None, sets each its own again."""
        if not self._lends_rates:
            self._lends_rates = True
            for adapter, own in self._rates:
                self._undo.callback(setattr, adapter, "learning_rate", own)
        for adapter, own in self._rates:
            adapter.learning_rate = own if rate is None else float(rate)

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
        now = compiled_optimizer(self.model)
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
            adapter.hook(names, self._changed_gradient, self._after, undo)
        for name in self._variables:
            self._set_after(name)
        undo.callback(self.model.make_train_function, force=True)

    def _state(self, name):
        """The `RuleState` of a variable, which a step that JAX compiles carries."""
        variable = self._variables[name]

        def make(its, shape=(), dtype="float32", **layout):
            with strategy_scope(self.model):
                made = keras.Variable(
                    "zeros", shape=tuple(shape), name=f"admm_{its}", dtype=dtype, trainable=False, **layout
                )
            for adapter in self._adapters:
                adapter.carry([made], variable, self._undo)
            return made

        return RuleState(make("target", variable.shape, **layout_of(variable)), make("rho"), make, self.look)

    def _set_rule(self, name, rule):
        state = self.states[name]
        step = self._any_of if self._any_of is not None and self._any_of.does(rule) else rule
        if self._any_of is step or self._any_of is None or self._adapters:
            state.require({**rule.own_variables, **step.own_variables})
            self.rules[name], self._steps[name] = (each.bound(state, state.pull) for each in (rule, step))
            return
        raise ValueError(
            f"{self.model.name}: what {type(rule).__name__} does to {name} is done by a Keras optimizer. Received: "
            "optimizer=None. Apply the gradients with a keras.Optimizer, or say in a way of retraining that it "
            "`changes_step`, to be told before training."
        )

    def _set_after(self, name):
        after = self._after if self._steps[name].acts_after else None
        for adapter in self._adapters:
            adapter.set_after(self._variables[name], name, after, self.constraints[name])

    def _changed_gradient(self, adapter, gradient, variable, name, scale):
        """A gradient as it is by its variable's rule."""
        self.watch.handed(adapter, name)
        if name is None:
            self._note_other(variable)
            return gradient
        self._check_compiling(gradient)
        with once_there(gradient):
            return self._steps[name].gradient(gradient, variable, scale / num_replicas(self.model))

    def _after(self, name, w, updated):
        """What becomes of a weight after its update, or None for what it is.

        Args:
            name: of the variable.
            w: tensor.
            updated: boolean tensor, whether it was updated, or None where it always is.
        """
        rule = self._steps[name]
        if not rule.acts_after:
            return None
        with once_there(w):
            before = [ops.copy(ops.convert_to_tensor(v)) for v in rule.assigned] if updated is not None else []
            new = rule.after_update(w)
            for variable, value in zip(rule.assigned, before, strict=False):
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
        if self.needs_steps and not (self.watched or self._train_function.is_running) and is_compiling(gradient):
            raise ValueError(self.needs_steps)


def optimizer_of(model, optimizer):
    """What changes the updates of an optimizer, of the library that the model is of."""
    return TFKerasOptimizer(model, optimizer) if is_tf_keras(model) else KerasOptimizer(model, optimizer)


def _as_optimizers(optimizers, variables):
    if isinstance(optimizers, Optimizers):
        return optimizers
    each = () if optimizers is None else (optimizers,)
    return Optimizers(each, True, dict.fromkeys(variables, each))


def _in_loss(state, regularizer):
    return lambda w: state.penalty(w) + (regularizer(w) if regularizer is not None else 0.0)
