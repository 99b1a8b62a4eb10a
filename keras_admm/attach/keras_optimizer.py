"""What a Hold asks of an optimizer, answered for those of Keras 3."""

import types

import keras
from keras import ops

from keras_admm.attach import factored, ftrl
from keras_admm.attach.optimizers import compiled_optimizer, inner, new_like, said
from keras_admm.attach.ordering import once_there
from keras_admm.attach.renewal import renew, take_state
from keras_admm.attach.strategy import strategy_scope
from keras_admm.weights import path


def share_left(schedule, step):
    """The rate of a schedule at a step, of the largest of those before, at its beginning or half way."""
    now, *before = (float(ops.convert_to_numpy(schedule(s))) for s in (step, 0, step // 2))
    return now / max(*before, now, 1e-30)


class KerasOptimizer:
    """A Keras 3 optimizer whose updates can be changed: hooked in its `apply`.

    Args:
        model: the `keras.Model` that it trains.
        optimizer: the `keras.Optimizer` that the user knows; its inner one, where there is one, is hooked.
    """

    def __init__(self, model, optimizer):
        self._model = model
        self.optimizer = optimizer
        self._inner = inner(optimizer)
        self._carried = []
        if not self._inner.built and optimizer is compiled_optimizer(model):
            optimizer.build(model.trainable_variables)

    @property
    def learning_rate(self):
        """The rate as a float, or None where a schedule has it."""
        own = self._inner._learning_rate
        return float(ops.convert_to_numpy(own)) if isinstance(own, keras.Variable) else None

    @learning_rate.setter
    def learning_rate(self, rate):
        self._inner.learning_rate = rate

    @property
    def rate_left(self):
        """The share that a schedule has left of the largest rate that it has had; 1.0 without a schedule."""
        own = self._inner._learning_rate
        is_schedule = isinstance(own, keras.optimizers.schedules.LearningRateSchedule)
        return share_left(own, int(ops.convert_to_numpy(self._inner.iterations))) if is_schedule else 1.0

    @property
    def uses_averages(self):
        """Whether averages of the weights are written over them, at times or at the end."""
        return self._inner.use_ema

    def counters(self):
        """What differs after each step: how many there were, and where the loss is scaled what became of that."""
        scaling = self.optimizer._variables if self.optimizer is not self._inner else ()
        return [ops.convert_to_numpy(v).item() for v in (self._inner._iterations, *scaling) if len(v.shape) == 0]

    def carry(self, variables, named, undo):
        """Have a step that JAX compiles carry our variables, which are among the optimizer's own then.

        Args:
            variables: list of `keras.Variable`s.
            named: the variable whose they are: only the optimizer that trains it carries them.
            undo: `contextlib.ExitStack` that takes them away.
        """
        optimizer = self._inner
        if keras.backend.backend() != "jax" or optimizer._var_key(named) not in optimizer._trainable_variables_indices:
            return
        if not self._carried:
            undo.callback(self._drop)
            compiled = compiled_optimizer(self._model)
            for saveable in {id(o): o for o in (optimizer, self.optimizer, compiled)}.values():
                self._save_without_ours(saveable, undo)
        optimizer._variables.extend(variables)  # in place: Keras would track what is assigned, and carry it twice
        self._carried += variables

    def hook(self, names, changed, after, undo):
        """Give the optimizer other gradients, and the weights another value after their update.

        Args:
            names: list of pairs of a variable and its name.
            changed: function of `(adapter, gradient, variable, name, scale)`, for the gradient of each variable; the
                name is None for other variables, the scale is that of the gradients coming in.
            after: function of `(name, weights)` for what the weights shall be after an update, or None to leave them.
            undo: `contextlib.ExitStack` that takes the hook away.
        """
        optimizer, apply, key = self._inner, self._inner.apply, self._inner._var_key
        check_free(self._model, optimizer, "apply")
        new_like(self._model, optimizer)  # so that a phase does not end in what is wrong with it
        by_key = {key(v): name for v, name in names}

        def hooked_apply(its, grads, trainable_variables=None):
            grads = list(grads)
            own = list(its._trainable_variables if trainable_variables is None else trainable_variables)
            check_known(self._model, its, own)
            # With a loss scale of the optimizer's own, the gradients that come in are still scaled.
            scale = getattr(its, "loss_scale_factor", None) or 1.0
            named = [(v, by_key.get(key(v))) for v in own]
            grads = [changed(self, g, v, n, scale) for g, (v, n) in zip(grads, named, strict=True)]
            apply(grads, own)
            done = None
            for v, n in named:
                with once_there(done):  # one after the other, so that there is room for what is made of one
                    done = self._after(v, n, after, done)

        # Past Keras's attribute tracking: a hook is not a part of the optimizer's state.
        object.__setattr__(optimizer, "apply", types.MethodType(hooked_apply, optimizer))
        undo.callback(optimizer.__dict__.pop, "apply", None)
        if factored.is_factored(optimizer):
            factored.guard(optimizer, undo)

    def set_after(self, variable, name, after, own):
        """Nothing: `apply` asks anew at each step that is compiled."""

    def renew(self):
        """Give it the state it would have if it were new, learning rate and step count aside."""
        optimizer = self._inner
        if not optimizer.built:
            return
        ours = {id(v) for v in self._carried}
        own = [v for v in optimizer._variables if id(v) not in ours]
        lasting = optimizer._iterations, optimizer._learning_rate
        if ftrl.is_renewable(optimizer):
            renew(optimizer, optimizer._trainable_variables, own, lasting, self._new_for)
        if optimizer.use_ema:
            averages = optimizer._model_variables_moving_average
            take_state(averages, optimizer._trainable_variables)
        if ftrl.is_ftrl(optimizer):
            for variable in optimizer._trainable_variables:
                ftrl.follow(optimizer, self._ftrl_slots(variable), None, ops.convert_to_tensor(variable))

    def _new_for(self, trained):
        """A new optimizer that is built for some variables, and its own variables."""
        new = new_like(self._model, self._inner)
        build(new, self._model, trained)
        return new, new._variables

    def _after(self, variable, name, after, done):
        """What becomes of a weight after its update: once for each, however many gradients are gathered for it.

        Returns the weight as it is then, or where nothing becomes of it what was `done` last.
        """
        if name is None:
            return done
        old = ops.convert_to_tensor(variable)
        steps = self._inner.gradient_accumulation_steps
        updated = ops.equal(self._inner._iterations % steps, 0) if steps else None
        new = after(name, old, updated)
        if new is None:
            return done
        if ftrl.is_ftrl(self._inner):  # before `old` changes with the variable, whose memory it is on torch
            ftrl.follow(self._inner, self._ftrl_slots(variable), old, new)
        variable.assign(new)
        return new

    def _ftrl_slots(self, variable):
        index = self._inner._get_variable_index(variable)
        return self._inner._accumulators[index], self._inner._linears[index]

    def _save_without_ours(self, saveable, undo):
        """A file that is saved in mid-run, or read there, must look as if we were not in the optimizer."""
        for method in ("save_own_variables", "load_own_variables"):
            if saveable is not None and inner(saveable) is self._inner:
                object.__setattr__(saveable, method, self._without_ours(getattr(saveable, method)))
                undo.callback(saveable.__dict__.pop, method, None)

    def _without_ours(self, method):
        def call(store):
            everything = list(self._inner._variables)
            self._drop()
            try:
                method(store)
            finally:
                self._inner._variables[:] = everything

        return call

    def _drop(self):
        ours = {id(v) for v in self._carried}
        self._inner._variables[:] = [v for v in self._inner._variables if id(v) not in ours]


def built_for(optimizer, variables):
    """Those of the variables that an optimizer was built for, in the order in which it was."""
    places, key = inner(optimizer)._trainable_variables_indices, inner(optimizer)._var_key
    return sorted((v for v in variables if key(v) in places), key=lambda v: places[key(v)])


def build(optimizer, model, variables):
    """Build an optimizer for variables, as its first step would."""
    with strategy_scope(model):
        optimizer.build(variables)


def check_free(model, optimizer, method):
    """Raises if another hook is there already."""
    if method in optimizer.__dict__:
        raise ValueError(
            f"{model.name}: one run at a time can hold a model's optimizer. Received: an optimizer that "
            "another one holds. Put the steps into one callback, or release the other one first."
        )


def check_known(model, optimizer, variables):
    """Raises where a Keras optimizer was built without some of the variables that it is to train."""
    known = inner(optimizer)
    unknown = [path(v) for v in variables if known._var_key(v) not in known._trainable_variables_indices]
    if known.built and unknown:
        raise ValueError(unknown_sentence(model, optimizer, unknown))


def unknown_sentence(model, optimizer, unknown):
    """What to say of variables that an optimizer was built without."""
    return (
        f"{model.name}: an optimizer trains only the variables that it was built with. Received: {unknown}, made, or "
        f"made trainable, after {said(optimizer)} was built. Before fit build all layers, for example by "
        "model(x[:1], training=True), and compile again."
    )
