"""What a Hold asks of an optimizer, answered for those of tf_keras, the legacy ones among them."""

from keras import ops

from keras_admm import weights
from keras_admm.attach import factored, ftrl
from keras_admm.attach.keras_optimizer import check_free, share_left, unknown_sentence
from keras_admm.attach.optimizers import compiled_optimizer, inner, new_like
from keras_admm.attach.renewal import renew
from keras_admm.attach.strategy import strategy_scope

# The optimizers whose `apply_gradients` runs: what stands in a variable's constraint slot is not told by which.
_APPLYING = []


class TFKerasOptimizer:
    """A tf_keras optimizer whose updates can be changed, hooked in its `apply_gradients`. See `KerasOptimizer`.

    Weights are given another value by the constraint slots of the variables, where alone each device does it.
    """

    def __init__(self, model, optimizer):
        self._model = model
        self.optimizer = optimizer
        self._inner = inner(optimizer)
        if _is_legacy(self._inner):
            with strategy_scope(model):
                self._inner.iterations  # noqa: B018, made when first read
        if optimizer is compiled_optimizer(model):
            build(optimizer, model, list(model.trainable_variables))

    @property
    def learning_rate(self):
        optimizer = self._inner
        own = optimizer._get_hyper("learning_rate") if _is_legacy(optimizer) else optimizer._learning_rate
        return float(own.numpy()) if hasattr(own, "assign") else None

    @learning_rate.setter
    def learning_rate(self, rate):
        self._inner.learning_rate = rate

    @property
    def rate_left(self):
        optimizer = self._inner
        own = optimizer._get_hyper("learning_rate") if _is_legacy(optimizer) else optimizer._learning_rate
        return 1.0 if hasattr(own, "assign") or not callable(own) else share_left(own, int(optimizer.iterations))

    @property
    def uses_averages(self):
        return getattr(self._inner, "use_ema", False)

    def counters(self):
        scaled = self.optimizer is not self._inner
        scaling = (self.optimizer.dynamic_counter, self.optimizer.loss_scale) if scaled else ()
        return [float(v.numpy()) for v in (self._inner.iterations, *scaling) if v is not None]

    def carry(self, variables, named, undo):
        """Nothing: TensorFlow's functions find variables by themselves."""

    def hook(self, names, changed, after, undo):
        optimizer, apply = self._inner, self._inner.apply_gradients
        check_free(self._model, optimizer, "apply_gradients")
        new_like(self._model, optimizer)  # so that a phase does not end in what is wrong with it
        by_key = {_key(v): name for v, name in names}

        def hooked_apply(grads_and_vars, *args, **kwargs):
            pairs = [(g, v, by_key.get(_key(v))) for g, v in grads_and_vars]
            self._check_known([v for _, v, _ in pairs])
            _APPLYING.append(self)
            try:
                return apply([(changed(self, g, v, n, 1.0), v) for g, v, n in pairs], *args, **kwargs)
            finally:
                _APPLYING.remove(self)

        object.__setattr__(optimizer, "apply_gradients", hooked_apply)
        undo.callback(optimizer.__dict__.pop, "apply_gradients", None)
        if factored.is_factored(optimizer):
            factored.guard(optimizer, undo)
        for variable, _ in names:
            undo.callback(set_constraint, variable, variable.constraint)

    def set_after(self, variable, name, after, own):
        """Set what a variable becomes after its update.

        Args:
            variable: the variable.
            name: its name.
            after: function of `(name, weights)`, or None for its own constraint alone.
            own: its own constraint, or None.
        """

        def constrained(w):
            old = ops.convert_to_tensor(w)
            new = after(name, old if own is None else ops.convert_to_tensor(own(w)), None)
            if _APPLYING and ftrl.is_ftrl(_APPLYING[-1]._inner):
                ftrl.follow(_APPLYING[-1]._inner, _APPLYING[-1]._ftrl_slots(w), old, new)
            return new

        set_constraint(variable, own if after is None else constrained)

    def renew(self):
        optimizer, trained = self._inner, built_for(self._inner, weights.named(self._model).values())
        if not trained:
            return
        rates = () if _is_legacy(optimizer) else (optimizer._learning_rate,)
        if ftrl.is_renewable(optimizer):
            renew(optimizer, trained, optimizer.variables(), (optimizer.iterations, *rates), self._new_for)
        if ftrl.is_ftrl(optimizer):
            for variable in trained:
                ftrl.follow(optimizer, self._ftrl_slots(variable), None, ops.convert_to_tensor(variable))

    def _new_for(self, trained):
        new = new_like(self._model, self._inner)
        build(new, self._model, trained)
        return new, new.variables()

    def _check_known(self, variables):
        optimizer = self._inner
        if _is_legacy(optimizer) or not getattr(optimizer, "_built", False):
            return
        unknown = [weights.path(v) for v in variables if optimizer._var_key(v) not in optimizer._index_dict]
        if unknown:
            raise ValueError(unknown_sentence(self._model, self.optimizer, unknown))

    def _ftrl_slots(self, variable):
        if _is_legacy(self._inner):
            return self._inner.get_slot(variable, "accumulator"), self._inner.get_slot(variable, "linear")
        index = self._inner._index_dict[self._inner._var_key(variable)]
        return self._inner._accumulators[index], self._inner._linears[index]


def set_constraint(variable, constraint):
    """Set what is done to a variable after its update."""
    variable = getattr(variable, "_variable", variable)  # of one that casts under mixed precision
    for each in (variable, *(getattr(variable, "values", None) or ())):  # on each device of a mirrored one
        each._constraint = constraint


def built_for(optimizer, variables):
    """Those of the variables that an optimizer was built for, in the order in which it was."""
    optimizer = inner(optimizer)
    keys = optimizer._slots if _is_legacy(optimizer) else getattr(optimizer, "_index_dict", {})
    places = {key: i for i, key in enumerate(keys)}
    return sorted((v for v in variables if _key(v) in places), key=lambda v: places[_key(v)])


def build(optimizer, model, variables):
    """Build an optimizer for variables, under the names that its first step would give."""
    import tensorflow as tf

    optimizer = inner(optimizer)
    with strategy_scope(model), tf.name_scope(optimizer._name if _is_legacy(optimizer) else optimizer.name):
        if _is_legacy(optimizer):
            optimizer.iterations  # noqa: B018, made when first read
            optimizer._create_all_weights(variables)
        else:
            optimizer.build(variables)


def _is_legacy(optimizer):
    return hasattr(optimizer, "_create_all_weights")


def _key(variable):
    """The same for a variable and for its part on one device."""
    container = variable._distributed_container() if hasattr(variable, "_distributed_container") else variable
    return container._unique_id
