"""The order of things: a run of ADMM on a model, epoch by epoch.

The engine knows nothing of `fit`: whoever ends an epoch calls `end_epoch`. `keras_admm.ADMM` is such a caller.
"""

import json

import keras
import numpy as np
from keras import ops

from keras_admm import admm, attach, weights
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
                arrays = self._project(arrays, self.plan.steps[moment.step])
        else:
            self._progress = self._progress._replace(admm_primal=0.0, admm_dual=0.0, admm_rho=0.0)
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
        return self.done or self.moment.step == len(self.plan.steps) - 1 and self.moment.phase == "retrain"

    def finish(self):
        """Detach from the model. Returns whether it holds the promised set; if so, exactly."""
        if self._timeline and self.in_last_set:
            for name in self.slots:
                # Averages that the optimizer wrote back at the end know nothing of the zeros.
                w = weights.read(self.variables[name])
                weights.write(self.variables[name], np.where(self._held.zeroed(name), 0, w))
        self.release()
        return self.in_last_set

    def release(self):
        """Detach from the model, whatever state it is in."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def project(self):
        """Project the weights on the last step's set as they are: for a run that was stopped before its end."""
        self._project(self._read(), self.plan.steps[-1])

    def state_dict(self):
        """All that a later run needs to go on from here: a flat dict of NumPy arrays, no pickles."""
        state = {"plan": np.array(self._fingerprint()), "epoch": np.array(self.epoch)}
        state["mode"] = np.array(self._held.mode)
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
        self._held.bend(str(state["mode"]))
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
        sets = self.plan.steps[moment.step].sets(arrays, 0.0)
        keeps_zeros = moment.step > 0 and self.plan.masked_progressive
        held = {name: self._held.zeroed(name) if keeps_zeros else None for name in self.slots}
        self._held.bend("both" if keeps_zeros or not self.plan.pull_kept else "pull")
        for name, slot in self.slots.items():
            slot.rho.assign(self.plan.rho)
            self._aim(name, admm.start(arrays[name], sets[name]), held[name])

    def _move(self, arrays, moment):
        """One ADMM step of every weight."""
        updates = -(-moment.epochs // self.plan.update_every)
        fraction = -(-(moment.epoch + 1) // self.plan.update_every) / updates
        sets = self._joint_sets(arrays, moment, fraction)
        states, residuals = {}, []
        rho = float(ops.convert_to_numpy(next(iter(self.slots.values())).rho))
        for name, w in arrays.items():
            states[name], residual = admm.step(w, self._state(name, w), sets[name])
            residuals.append(residual)
        residuals = admm.total(residuals)
        factor = rho_factor(self.plan.rho_growth, rho, residuals)
        for name, slot in self.slots.items():
            state = admm.rescaled(states.pop(name), factor if self.plan.rescale_dual else 1.0)
            slot.rho.assign(rho * factor)
            self._aim(name, state, self._held.zeroed(name))
        norm = float(np.hypot.reduce([np.linalg.norm(w.ravel()) for w in arrays.values()])) or 1.0
        self._progress = self._progress._replace(
            admm_primal=residuals.primal / norm, admm_dual=rho * residuals.dual / norm, admm_rho=rho
        )

    def _aim(self, name, state, held):
        self._duals[name] = state.u
        free = None if self.plan.pull_kept else state.z != 0
        self._held.aim(name, state.z - state.u, held, free)

    def _joint_sets(self, arrays, moment, fraction):
        # The set may span all tensors (one budget), so it is chosen by what is projected: W + U, not W.
        return self.plan.steps[moment.step].sets({n: w + self._duals[n] for n, w in arrays.items()}, fraction)

    def _state(self, name, w):
        """Z is not kept beside U: it is the target plus U, 0 where the weight is held, the weight where it is free."""
        target = ops.convert_to_numpy(self.slots[name].target)
        z = np.where(target == attach.FREE, w, target + self._duals[name])
        return admm.ADMMState(z=np.where(target == attach.HELD, 0, z), u=self._duals[name])

    def _project(self, arrays, step):
        """W <- P(W), and from here on what it made zero is held there."""
        sets = step.sets(arrays, 1.0)
        projected = {name: sets[name](w) for name, w in arrays.items()}
        if self._held is not None:
            self._held.bend("hold")
        for name, w in arrays.items():
            weights.write(self.variables[name], projected[name])
            if self._held is not None:
                self.slots[name].rho.assign(0.0)
                self._held.aim(name, np.zeros_like(w), held=~np.asarray(_support(sets[name], w)))
        self._duals = {}
        return projected


def _support(constraint, w):
    """What may move while the weight retrains inside the set: by default what the set has not made zero."""
    return constraint.support(w) if hasattr(constraint, "support") else constraint(w) != 0


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
