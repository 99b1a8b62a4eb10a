"""The order of things: a run of ADMM on a model, epoch by epoch.

The engine knows nothing of `fit`: whoever ends an epoch calls `end_epoch`. `keras_admm.ADMM` is such a caller.
"""

import json

import keras
import numpy as np
from keras import ops

from keras_admm import admm, attach, weights
from keras_admm.constraints import Sparse
from keras_admm.progress import Progress, check_finite, sparsity
from keras_admm.schedules import rho_factor


class Engine:
    """One run of a plan on a model, for `fit` and for loops of one's own.

    Solves `min f(W) subject to W in S` for the sets `S` of the plan's steps: in the ADMM epochs of a step the
    weights are trained on `f(W) + rho / 2 * ||W - Z + U||^2`, and `end_epoch` moves `Z` and `U`; after the last of
    them `W` is projected on `S`, and the retraining epochs stay inside its support.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        plan: a `keras_admm.plan.Plan`.
        layers: what to compress; see `keras_admm.weights.select`.
        exclude: what to leave out.
        optimizer: a `keras.Optimizer` that applies the gradients, by default the one that the model is compiled
            with: the pull and the zeros are then its own affair, in any loop that uses it. `None` for another
            kind of optimizer: the loop then adds `penalty()` to its loss and calls `hold()` after each update.
        name: str, who speaks in errors.

    Raises:
        ValueError: for an unbuilt or uncompiled model, or a choice of layers that chooses nothing.

    Example, a loop with an optimizer that is not Keras's:

    >>> import keras, numpy as np
    >>> from keras_admm.plan import Plan, Step
    >>> from keras_admm.constraints import Sparse
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> engine = Engine(model, Plan((Step(Sparse(0.5), admm_epochs=1, retrain_epochs=1),)), optimizer=None)
    >>> engine.begin()
    >>> for epoch in range(2):
    ...     pass  # each batch: minimise loss + engine.penalty(), then engine.hold()
    ...     progress = engine.end_epoch()
    >>> engine.finish()
    True
    >>> progress.sparsity
    0.5
    """

    def __init__(self, model, plan, layers=None, exclude=None, optimizer="compiled", name="Engine"):
        plan.check(name)
        self.model = model
        self.plan = plan
        self.name = name
        self.variables = weights.select(model, layers, exclude)
        self._optimizer = _compiled_optimizer(name, model) if optimizer == "compiled" else optimizer
        if plan.penalty == "loss" and self._optimizer is not None:
            _check_loss_takes_penalty(name, model)
        self.epoch = 0
        self._timeline = []
        self._held = None
        self._duals = {}
        self._chosen = None
        self._progress = Progress(0.0, 0.0, 0.0, 0.0, 1.0)

    def begin(self, epochs=None):
        """Attach to the model and enter the first phase.

        Args:
            epochs: int, how many epochs the run has; by default what the plan's steps say.
        """
        self._timeline = self.plan.timeline(self.name, epochs)
        self.attach()
        self.epoch = 0
        self._enter(self._read())

    def attach(self):
        """Attach to the model, at rest: nothing is bent until `begin` or `load_state_dict`."""
        if self._held is None:
            penalty = self.plan.penalty if self._optimizer is not None else None
            self._held = attach.Hold(self.model, self.variables, penalty, self._optimizer)

    @property
    def slots(self):
        """The moving state, `{name: attach.Slot}`: its variables must be arguments of a step compiled by JAX."""
        return self._held.slots

    def set_learning_rate(self, rate):
        """Set the optimizer's learning rate until `finish`, which sets it back."""
        self._held.set_learning_rate(rate)

    def release_with(self, callbacks):
        """Release when the fit of a `keras.callbacks.CallbackList` ends in an exception."""
        self._held.release_with(callbacks)

    def penalty(self):
        """`rho / 2 * ||W - Z + U||^2` over all compressed weights: a float32 scalar to add to a loop's own loss."""
        return sum((slot.penalty(self.variables[name]) for name, slot in self.slots.items()), 0.0)

    def hold(self):
        """Zero again what is held at zero, after an update that is not a Keras optimizer's."""
        for name, slot in self.slots.items():
            self.variables[name].assign(slot.zero(self.variables[name]))

    def end_epoch(self):
        """Move on by an epoch: Z, U and rho in an ADMM phase, the phase itself at its end.

        Returns:
            The epoch's `Progress`.

        Raises:
            FloatingPointError: when a weight is no longer finite; nothing has been moved then.
        """
        arrays = self._read()
        check_finite(self.name, arrays)
        moment = self._timeline[self.epoch]
        last = moment.epoch + 1 == moment.epochs
        if moment.phase == "admm":
            if last or (moment.epoch + 1) % self.plan.update_every == 0:
                self._move(arrays, moment)
            if last:
                arrays = self._project(arrays, moment)
        else:
            self._progress = self._progress._replace(admm_primal=0.0, admm_dual=0.0, admm_rho=0.0)
            if self.plan.snapped(moment.epoch + 1, moment.epochs) > self.plan.snapped(moment.epoch, moment.epochs):
                arrays = self._snap(arrays, moment, moment.epoch + 1)
        self._progress = self._progress._replace(sparsity=sparsity(arrays), admm_step=float(moment.step + 1))
        self.epoch += 1
        if last and not self.done:
            self._enter(arrays)
        return self._progress

    @property
    def done(self):
        """Whether every epoch of the plan has passed."""
        return self.epoch >= len(self._timeline)

    @property
    def moment(self):
        """The `plan.Moment` of the epoch to come, or None when all have passed."""
        return None if self.done else self._timeline[self.epoch]

    @property
    def in_last_set(self):
        """Whether the weights are in the last step's set: its projection has passed, and its zeros were held."""
        if self.done:
            return True
        moment = self.moment
        retrains = moment.step == len(self.plan.steps) - 1 and moment.phase == "retrain"
        whole = all(hasattr(constraint, "support") for constraint in (self._chosen or {}).values())
        return retrains and (whole or self.plan.snapped(moment.epoch, moment.epochs) == 1)

    def finish(self):
        """Detach from the model. Returns whether it holds the promised set; if so, exactly."""
        if self._timeline and self.in_last_set:
            for name in self.slots:
                # Averages that the optimizer wrote back at the end know nothing of the zeros.
                w = weights.read(self.variables[name])
                weights.write(self.variables[name], self._held.put_back(name, w))
        self.release()
        return self.in_last_set

    def release(self):
        """Detach from the model, whatever state it is in."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def project(self):
        """Project the weights on the steps' sets as they are: for a run that was stopped before its end."""
        arrays = self._read()
        current = None if self.done else self.moment.step
        for i, step in enumerate(self.plan.steps):
            sets = self._chosen if step.lasting and i == current else step.sets(arrays, 1.0)
            arrays = {name: sets[name](w) if name in sets else w for name, w in arrays.items()}
        for name, w in arrays.items():
            weights.write(self.variables[name], w)

    def state_dict(self):
        """All that a later run needs to go on from here: a flat dict of NumPy arrays, no pickles."""
        state = {"plan": np.array(self._fingerprint()), "epoch": np.array(self.epoch)}
        state["modes"] = np.array(json.dumps(self._held.modes))
        sets = {name: keras.constraints.serialize(constraint) for name, constraint in (self._chosen or {}).items()}
        state["sets"] = np.array(json.dumps(sets))
        state["epochs"], state["progress"] = np.array(len(self._timeline)), np.array(self._progress)
        for i, (name, slot) in enumerate(self.slots.items()):
            state[f"target/{i}"], state[f"rho/{i}"] = ops.convert_to_numpy(slot.target), ops.convert_to_numpy(slot.rho)
            if name in self._duals:
                state[f"u/{i}"] = self._duals[name]
        return state

    def load_state_dict(self, state):
        """Go on from a `state_dict` of the same plan on the same model. The weights are the caller's affair."""
        if str(state["plan"]) != self._fingerprint():
            raise ValueError(
                f"{self.name}: a state can only be resumed by the run that saved it. Received: the state of another "
                f"plan or model, {state['plan']}, where this is {self._fingerprint()}. Give a fresh backup_dir."
            )
        self._timeline = self.plan.timeline(self.name, int(state["epochs"]))
        self.attach()
        self._held.bend(json.loads(str(state["modes"])))
        sets = json.loads(str(state["sets"]))
        self._chosen = {name: keras.constraints.deserialize(config) for name, config in sets.items()} or None
        self.epoch, self._progress = int(state["epoch"]), Progress(*map(float, state["progress"]))
        for i, slot in enumerate(self.slots.values()):
            slot.target.assign(state[f"target/{i}"])
            slot.rho.assign(state[f"rho/{i}"])
        self._duals = {n: state[f"u/{i}"] for i, n in enumerate(self.variables) if f"u/{i}" in state}

    def _fingerprint(self):
        shapes = {name: list(v.shape) for name, v in self.variables.items()}
        steps = [
            (repr(getattr(s.constraints, "get_config", lambda s=s: s.constraints)()), *s[1:]) for s in self.plan.steps
        ]
        return json.dumps([shapes, steps, self.plan[1:]], default=str)

    def _read(self):
        return {name: weights.read(v) for name, v in self.variables.items()}

    def _enter(self, arrays):
        """Begin the phase of the epoch to come."""
        moment = self.moment
        if self.epoch:
            self._held.renew_slots()
        if moment.phase == "retrain":
            return  # the projection has set all that it needs
        self._chosen = None
        self._chosen = sets = self._sets(arrays, moment, 0.0)
        self._check_can_hold(sets)
        if not self.epoch:
            self._hold_zeros(arrays)
        held = {name: self._kept_zero(name, arrays[name], sets[name], moment) for name in sets}
        both = {name: held[name] is not None or self._frees(sets[name]) for name in sets}
        self._held.bend({name: "both" if both[name] else "pull" for name in sets})
        for name in sets:
            self.slots[name].rho.assign(self.plan.rho)
            self._aim(name, admm.start(arrays[name], sets[name]), held[name], self._frees(sets[name]))

    def _check_can_hold(self, sets):
        unheld = [n for n, constraint in sets.items() if not hasattr(constraint, "support")]
        if self._optimizer is None and unheld:
            raise ValueError(
                f"{self.name}: weights are held on levels by a Keras optimizer. Received: optimizer=None and "
                f"{type(sets[unheld[0]]).__name__} for {unheld[0]}. Apply the gradients with a keras.Optimizer."
            )

    def _hold_zeros(self, arrays):
        """Hold the zeros of weights that come to a set that keeps them in a later step only."""
        later = [step.sets(arrays, 0.0) for step in self.plan.steps[1:]]
        waiting = {n for sets in later for n in sets if getattr(sets[n], "keep_zeros", False)} - set(self._chosen)
        self._held.bend(dict.fromkeys(waiting, "hold"))
        for name in waiting:
            self._held.aim(name, None, held=arrays[name] == 0)

    def _kept_zero(self, name, w, constraint, moment):
        """Booleans: what must stay zero while the weight is trained to the set, or None."""
        if getattr(constraint, "keep_zeros", False):
            return w == 0
        return self._held.zeroed(name) if moment.step > 0 and self.plan.masked_progressive else None

    def _frees(self, constraint):
        """Whether Z follows the weights that it keeps: where to keep a weight is not to set its value."""
        return not self.plan.pull_kept and hasattr(constraint, "support")

    def _move(self, arrays, moment):
        """One ADMM step of every weight that has a set."""
        updates = -(-moment.epochs // self.plan.update_every)
        fraction = -(-(moment.epoch + 1) // self.plan.update_every) / updates
        # A set may span all tensors (one budget), so it is chosen by what is projected: W + U, not W.
        sets = self._sets({n: w + self._duals.get(n, 0) for n, w in arrays.items()}, moment, fraction)
        states, residuals = {}, []
        rho = float(ops.convert_to_numpy(self.slots[next(iter(sets))].rho))
        for name in sets:
            states[name], residual = admm.step(arrays[name], self._state(name, arrays[name]), sets[name])
            residuals.append(residual)
        residuals = admm.total(residuals)
        factor = rho_factor(self.plan.rho_growth, rho, residuals)
        for name in sets:
            state = admm.rescaled(states.pop(name), factor if self.plan.rescale_dual else 1.0)
            self.slots[name].rho.assign(rho * factor)
            self._aim(name, state, self._held.zeroed(name), self._frees(sets[name]))
        norm = float(np.hypot.reduce([np.linalg.norm(arrays[name].ravel()) for name in sets])) or 1.0
        self._progress = self._progress._replace(
            admm_primal=residuals.primal / norm, admm_dual=rho * residuals.dual / norm, admm_rho=rho
        )

    def _aim(self, name, state, held, frees):
        self._duals[name] = state.u
        self._held.aim(name, state.z - state.u, held, state.z != 0 if frees else None)

    def _sets(self, arrays, moment, fraction):
        """The sets of a step: those that it began with, unless they move with the weights and the time."""
        step = self.plan.steps[moment.step]
        return self._chosen if step.lasting and self._chosen is not None else step.sets(arrays, fraction)

    def _state(self, name, w):
        """Z is not kept beside U: it is the target plus U, 0 where the weight is held, the weight where it is free."""
        target = ops.convert_to_numpy(self.slots[name].target)
        z = np.where(target == attach.FREE, w, target + self._duals[name])
        return admm.ADMMState(z=np.where(target == attach.HELD, 0, z), u=self._duals[name])

    def _project(self, arrays, moment):
        """W <- P(W) where the set says what is zero, which is held from here on; other sets are snapped to."""
        sets = self._sets(arrays, moment, 1.0)
        sparse = {name: constraint for name, constraint in sets.items() if hasattr(constraint, "support")}
        self._held.bend({name: "hold" for name in sparse})
        self._duals = {}
        for name in sets:
            self.slots[name].rho.assign(0.0)
        for name, constraint in sparse.items():
            held = ~np.asarray(constraint.support(arrays[name]))
            self._held.aim(name, None, held)
            arrays = {**arrays, name: constraint(arrays[name])}
            weights.write(self.variables[name], arrays[name])
        return self._snap(arrays, moment, 0)

    def _snap(self, arrays, moment, epoch):
        """Put the share of each weight that is nearest to its place in the set there, and hold it; the rest trains on.

        The set is chosen anew each time, so its levels still move with the weights; the last time takes all.
        """
        retrain = next((m.epochs for m in self._timeline if m.step == moment.step and m.phase == "retrain"), 0)
        share = self.plan.snapped(epoch, retrain)
        sets = self._sets(arrays, moment, 1.0)
        snapped = {name: constraint for name, constraint in sets.items() if not hasattr(constraint, "support")}
        self._held.bend({name: "fix" for name in snapped})
        for name, constraint in snapped.items():
            w, z = arrays[name], np.asarray(constraint(arrays[name]))
            free = Sparse(share).support(np.abs(w - z)) & (w != z) if share < 1 else np.zeros(w.shape, bool)
            arrays = {**arrays, name: np.where(free, w, z)}
            weights.write(self.variables[name], arrays[name])
            self._held.aim(name, z, free=free)
        return arrays


def _check_loss_takes_penalty(name, model):
    if keras.backend.backend() == "jax" or weights.is_tf_keras(model):
        received = "a tf_keras model" if weights.is_tf_keras(model) else "the jax backend"
        raise ValueError(
            f"{name}: penalty='loss' needs a Keras 3 model on the TensorFlow or torch backend: JAX compiles a "
            "regularizer's target into the step, tf_keras reads no regularizer after the layer was built. Received: "
            f"{received}. Use penalty='gradient' or 'proximal'."
        )


def _compiled_optimizer(name, model):
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(
            f"{name}: the model must be compiled, for the pull is added in its optimizer. Received: model "
            f"{model.name!r} without one. Call model.compile(...), or pass optimizer=None and use penalty() and hold()."
        )
    return optimizer
