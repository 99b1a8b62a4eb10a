"""The order of things: a run of ADMM on a model, epoch by epoch.

The engine knows nothing of `fit`: whoever ends an epoch calls `end_epoch`. `keras_admm.ADMM` is such a caller.
"""

from collections.abc import Mapping

import keras
import numpy as np

from keras_admm import attach, checks, weights
from keras_admm.engine.held import HeldWeights
from keras_admm.engine.identity import Identity
from keras_admm.engine.scarcity import say_missing
from keras_admm.engine.targets import Targets
from keras_admm.engine.timeline import Timeline
from keras_admm.plan import Plan, sets_of
from keras_admm.progress import Progress, check_finite, sparsity

STATE = {"plan", "epoch", "epochs", "pending", "progress", "modes", "sets", "steps"}


class Engine:
    """One run of a plan on a model, for `fit` and for custom training loops.

    Solves `min f(W) subject to W in S` for the sets `S` of the plan's steps: in the ADMM epochs of a step the
    weights are trained on `f(W) + rho / 2 * ||W - Z + U||^2`, and `end_epoch` moves `Z` and `U`; after the last of
    them `W` is projected on `S`, and the retraining epochs stay inside its support.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        plan: a `keras_admm.plan.Plan`.
        layers: what to compress; see `keras_admm.weights.select`.
        exclude: what to leave out.
        optimizer: the `keras.Optimizer` that applies the gradients; or a mapping of what is trained (names, patterns,
            layers, models: same forms as `layers`) to optimizers; or `"auto"`, those among the attributes of the
            model, the one that it is compiled with included. The pull and the zeros are then their own affair, in any
            loop that uses them. `None` for another kind of optimizer: the loop then adds `penalty()` to its loss and
            calls `hold()` after each update.
        name: str, name used in error messages.
        biases: bool, whether biases are compressed like kernels.
        in_fit: bool, whether `fit` trains the model, which compiles its step anew when what it does changes.

    A loop may compile its step (`tf.function`, `jax.jit`, `torch.compile`) once, after `begin`, for all phases: what
    differs between these is in variables. Only retraining by `"straight_through"` and `"shared_values"` needs other
    steps: see `step_version`. On JAX the optimizers must be built before `begin`, and what the step returns be written
    back into all variables before `end_epoch`.

    Raises:
        ValueError: for an unbuilt or uncompiled model, or a choice of layers that chooses nothing; at the end of the
            first epoch where a weight is trained by no optimizer that is known, or by a step that was compiled before
            `begin`; at the end of any epoch in which weights did not stay where they are held.
        TypeError: for an optimizer that is not Keras's, or of another library than the model.

    Example, a loop with an optimizer that is not Keras's:

    >>> import keras, numpy as np
    >>> from keras_admm.plan import Plan, Step
    >>> from keras_admm.constraints import Sparse
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> plan = Plan(steps=[Step(target=Sparse(0.5), admm_epochs=1, retrain_epochs=1)])
    >>> engine = Engine(model, plan, optimizer=None)
    >>> engine.begin()
    >>> for epoch in range(2):
    ...     pass  # each batch: minimise loss + engine.penalty(), then engine.hold()
    ...     progress = engine.end_epoch()
    >>> engine.finish()
    True
    >>> progress.sparsity
    0.5
    """

    def __init__(
        self, model, plan, layers=None, exclude=None, optimizer="auto", name="Engine", biases=False, in_fit=False
    ):
        checks.text("Engine", "name", name)
        weights.check_model(name, model)
        if not isinstance(plan, Plan):
            raise TypeError(
                checks.refused(name, "plan", "a keras_admm.Plan", plan, "Pass Plan(steps=[Step(target=Sparse(0.9))]).")
            )
        checks.boolean(name, "biases", biases)
        checks.boolean(name, "in_fit", in_fit)
        self.model = model
        self.plan = plan
        self.name = name
        self._choice = layers, exclude, biases
        self.variables = weights.select(model, *self._choice)
        self.plan = plan.of(self.variables)
        self.optimizers = (
            None if optimizer is None else attach.choose_optimizers(name, model, self.variables, optimizer)
        )
        if plan.penalty.in_loss and self.optimizers is not None:
            _check_loss_takes_penalty(name, model)
        # Before anything is called that the plan brings, which may change what it has closed over.
        self._identity = Identity(name, self.plan, self.variables)
        self._in_fit = in_fit
        self._pending = False
        self._complete = False
        self._timeline = Timeline([], plan.every)
        self._held = None
        self._targets = None
        self._progress = Progress(0.0, 0.0, 0.0, 0.0, 1.0)

    def begin(self, epochs=None, steps_per_epoch=None):
        """Attach to the model and enter the first phase.

        Args:
            epochs: int, how many epochs the run has; by default what the plan's steps say.
            steps_per_epoch: int, how many training steps an epoch has, for a path of sparsities that tightens within
                epochs (`update_every="100 steps"`). By default it is known when the first epoch has passed.
        """
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
        for argument, value in given.items():
            if value is not None:
                checks.integer(self.name, argument, value)
        timeline = self.plan.timeline(self.name, epochs)
        self._timeline = Timeline(timeline, self.plan.every, steps_an_epoch=steps_per_epoch or 0)
        self.attach()
        self._pending, self._complete = False, False
        arrays = self._read()
        self._targets.check(arrays, [self._timeline.fractions(i) for i in range(len(self.plan.steps))])
        self._enter(arrays)

    def attach(self):
        """Attach to the model, at rest: nothing is changed until `begin` or `load_state_dict`."""
        if self._held is None:
            penalty = self.plan.penalty if self.optimizers is not None else None
            self._held = attach.Hold(self.model, self.variables, penalty, self.optimizers, not self._in_fit)
            self._held.on_new_variable = self._check_choice
            self._targets = Targets(self.name, self.variables, self.plan, self._held, self.optimizers is not None)
            self._weights = HeldWeights(self.name, self._held)

    @property
    def _begun(self):
        """What is attached to the model; raises where nothing is."""
        if self._held is None:
            raise ValueError(
                f"{self.name}: a run must be begun before it is asked for what it does. Received: an engine before "
                "`begin`, or after `finish`. Call begin(), or load_state_dict() with the state of a run."
            )
        return self._held

    @property
    def identity(self):
        """What identifies this run when another process resumes it: JSON of its plan and its weights' shapes."""
        return self._identity.text

    @property
    def released(self):
        """Whether the run is detached from the model."""
        return self._held is None or self._held.released

    @property
    def slots(self):
        """The moving state, `{name: attach.Slot}`: its variables must be arguments of a step compiled by JAX."""
        return self._begun.slots

    @property
    def step_version(self):
        """A number that changes when a compiled step of a custom training loop must be compiled again.

        Only retraining by `"straight_through"` and `"shared_values"` changes it, and an epoch trained by an older step
        is an error. Before each epoch:

            if engine.step_version != version:
                version, step = engine.step_version, tf.function(train_step)  # or jax.jit(train_step)
        """
        self._begun.watched = True
        return self._begun.version

    def set_learning_rate(self, rate):
        """Set the optimizers' learning rate until `finish`, which sets each its own again."""
        self._begun.set_learning_rate(checks.number(self.name, "rate", rate, 0, "a finite number >= 0"))

    def release_with(self, callbacks, interrupted):
        """Call a function, which must release, when the fit of a `CallbackList` ends in an exception."""
        self._held.release_with(callbacks, interrupted)

    def penalty(self):
        """`rho / 2 * ||W - Z + U||^2` over all compressed weights: a float32 scalar to add to a loop's own loss."""
        return sum((slot.penalty(self.variables[name]) for name, slot in self.slots.items()), 0.0)

    def hold(self):
        """Put back what is held, at zero or at a value, after an update that is not a Keras optimizer's."""
        for name, slot in self.slots.items():
            self.variables[name].assign(slot.restore(self.variables[name]))

    def end_batch(self):
        """Count a training step, and move Z, U and rho where `update_every` is in steps and it is time.

        To be called after each update of a custom training loop, on JAX when what the step returns is written back into
        the variables; without such an `update_every` it does nothing.
        """
        if self.end_steps(1):
            self.move()

    def end_steps(self, count):
        """Count training steps. Returns whether `move` is to be called now."""
        return bool(self._begun) and self._timeline.end_steps(count)

    def move(self):
        """Move Z, U and rho within an epoch.

        Raises:
            FloatingPointError: when a weight is no longer finite; nothing has been moved then.
        """
        arrays = self._read()
        check_finite(self.name, arrays)
        self._move(arrays, self.moment, self._timeline.present)

    def end_epoch(self):
        """Move on by an epoch: Z, U and rho in an ADMM phase, the phase itself at its end.

        Returns:
            The epoch's `Progress`, that of the weights as the epoch left them.

        Raises:
            FloatingPointError: when a weight is no longer finite; nothing has been moved then.
            ValueError: when the weights were not trained as they should be; the model is released then.
        """
        progress = self.measure()
        self.advance()
        return progress

    def measure(self):
        """The first half of `end_epoch`: the figures of the epoch, with Z, U and rho moved. No weight changes."""
        if self._begun and self.done:
            raise ValueError(
                f"{self.name}: a run ends with the last epoch of its plan. Received: one more, after {self.epoch}. "
                "Call finish(), or begin(epochs=...) with more of them."
            )
        arrays = self._read()
        check_finite(self.name, arrays)
        try:
            self._weights.check_epoch(arrays)
        except ValueError:
            self.release()
            raise
        info = self.moment
        if self._timeline.uncounted:
            raise ValueError(
                f"{self.name}: with update_every={self.plan.update_every!r} training steps must be counted. Received: "
                "an epoch of ADMM without any. Call end_batch() after each update, or say update_every in epochs."
            )
        if info.phase == "retrain":
            self._progress = self._progress._replace(admm_primal=0.0, admm_dual=0.0, admm_rho=0.0)
        elif self._timeline.moves(info):
            self._move(arrays, info, self._timeline.fraction(info, info.epoch + 1))
        self._progress = self._progress._replace(sparsity=sparsity(arrays), admm_step=float(info.step + 1))
        self._timeline.end_epoch()
        self._pending = True
        return self._progress

    def advance(self):
        """The second half of `end_epoch`: what changes weights, and the phase to come. Safe to call again.

        Returns:
            Whether the weights were projected.

        Raises:
            FloatingPointError: when a weight is no longer finite; nothing has been moved then.
        """
        if not self._pending:
            return False
        self._pending = False
        info, arrays = self._timeline.passed, self._read()
        check_finite(self.name, arrays)
        ended = info.epoch + 1 == info.epochs
        if info.phase == "retrain":
            # Weights that take few values may move to others.
            self._targets.retrain(arrays, info.step, info.epoch + 1, info.epochs)
        elif ended:
            self._targets.project(arrays, info.step, self._timeline.retrain_epochs(info.step))
        if ended and not self.done:
            self._enter(arrays)
        return ended and info.phase == "admm"

    @property
    def epoch(self):
        """How many epochs have passed."""
        return self._timeline.epoch

    @property
    def done(self):
        """Whether every epoch of the plan has passed."""
        return self._timeline.done

    @property
    def moment(self):
        """The `plan.EpochInfo` of the epoch to come, or None when all have passed."""
        return self._timeline.coming

    @property
    def in_last_set(self):
        """Whether the weights are in the last step's set: its projection has passed, and its zeros were held."""
        if self.done:
            return True
        moment = self.moment
        retrains = moment.step == len(self.plan.steps) - 1 and moment.phase == "retrain"
        return retrains and self._targets.settled(moment.step, moment.epoch, moment.epochs)

    def finish(self):
        """Detach from the model. Returns whether it holds the promised set; if so, exactly.

        Weights that are not where they were held are left as they are, with a warning and False; but for averages that
        an optimizer wrote over them (`use_ema`), which are put back.
        """
        if self._held is not None:
            self.advance()
            self._complete = self.in_last_set and self._held_at_end()
            self.release()
        return self._complete

    def release(self):
        """Detach from the model, whatever state it is in."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _check_choice(self):
        """Raises when there are variables by now that would have been chosen had they been there."""
        late = [name for name in weights.choose(self.model, *self._choice) if name not in self.variables]
        if late:
            raise ValueError(
                f"{self.name}: what is compressed must be there before training. Received: {late}, made by the first "
                "training step. Build their layers before, for example by calling them on a batch, or say with layers= "
                "what is to be compressed."
            )

    def _held_at_end(self):
        """Whether the weights are where they are held, after averages that were written over them are put back."""
        arrays = self._read()
        if not self._weights.stayed(arrays):
            return False
        say_missing(self.name, self._targets.missing(arrays, len(self.plan.steps) - 1))
        # Averages that the optimizer wrote back at the end know nothing of what is held.
        self._targets.settle(arrays, len(self.plan.steps) - 1)
        return True

    def stop(self):
        """Project the weights on what the present phase aims at, and detach: for a run that ends before its time.

        Returns:
            The share of zeros then; None where no step was taken yet, and nothing was projected.

        Raises:
            FloatingPointError: when a weight is not finite. Nothing is projected then, and the model is detached.
        """
        try:
            if self._held is not None and self._held.untrained:
                return None
            self.advance()
            moment, arrays = self.moment, self._read()
            check_finite(self.name, arrays)
            if moment is not None:
                fraction = self._timeline.fraction(moment, moment.epoch) if moment.phase == "admm" else 1.0
                self._targets.stop(arrays, moment.step, fraction)
            return sparsity(arrays)
        finally:
            self.release()

    def project(self):
        """Project the weights on the steps' sets as they are: for a run that was stopped before its end."""
        arrays = self._read()
        for i, step in enumerate(self.plan.steps):
            sets = self._targets.sets(arrays, i, 1.0) if self._targets else sets_of(self.name, step.target, arrays, 1.0)
            arrays = {name: sets[name].project(w) if name in sets else w for name, w in arrays.items()}
        for name, w in arrays.items():
            weights.write(self.variables[name], w)

    def state_dict(self):
        """All that a later run needs to go on from here: a flat dict of NumPy arrays, no pickles."""
        state = {"plan": np.array(self.identity), "epoch": np.array(self.epoch)}
        state["pending"] = np.array(self._pending)
        state["steps"] = np.array([self._timeline.steps, self._timeline.steps_an_epoch])
        state["epochs"], state["progress"] = np.array(len(self._timeline)), np.array(self._progress)
        state["trains"] = np.array(self._begun.watch.trained)
        return {**state, **self._targets.state()}

    def load_state_dict(self, state, epochs=None):
        """Go on from a `state_dict` of the same plan on the same model. The weights are the caller's affair.

        Args:
            state: what `state_dict` returned, in this process or another. The model is the same if its layers,
                compressed weights and shapes are; names that Keras numbered by itself may differ.
            epochs: int, how many epochs the run has now, by default those that it had. More of them are added to
                the last retraining; what has passed, and the phases before, stay as they were.

        Raises:
            ValueError: for a state of another plan or model, with the differences; for fewer epochs.
        """
        self.check_state(state, epochs)
        self._identity.say_unknown()
        had = int(state["epochs"])
        timeline = self.plan.timeline(self.name, had, (had if epochs is None else epochs) - had)
        self._timeline = Timeline(timeline, self.plan.every, int(state["epoch"]), *map(int, state["steps"]))
        self.attach()
        self._targets.load(state)
        self._held.watch.trained = state["trains"]
        self._pending = bool(state["pending"])
        self._progress = Progress(*map(float, state["progress"]))

    def check_state(self, state, epochs=None):
        """Raises the sentence that says why a state cannot be resumed by this run."""
        if not isinstance(state, Mapping) or not STATE <= set(state):
            must = "what `state_dict` returned"
            raise TypeError(checks.refused(self.name, "state", must, state, "Pass engine.state_dict() of the run."))
        if epochs is not None:
            checks.integer(self.name, "epochs", epochs)
        self._identity.check(state, epochs)

    def _move(self, arrays, info, fraction):
        primal, dual, rho = self._targets.move(arrays, info.step, fraction)
        self._progress = self._progress._replace(admm_primal=primal, admm_dual=dual, admm_rho=rho)

    def _read(self):
        return weights.views(self.variables)

    def _enter(self, arrays):
        """Begin the phase of the epoch to come."""
        if self.epoch:
            self._held.renew_slots()
        if self.moment.phase == "admm":
            self._targets.begin(arrays, self.moment.step)
            self._progress = self._progress._replace(admm_rho=float(self.plan.penalty.rho))


def _check_loss_takes_penalty(name, model):
    if keras.backend.backend() == "jax" or weights.is_tf_keras(model):
        received = "a tf_keras model" if weights.is_tf_keras(model) else "the jax backend"
        raise ValueError(
            f"{name}: penalty='loss' needs a Keras 3 model on the TensorFlow or torch backend: JAX compiles a "
            "regularizer's target into the step, tf_keras reads no regularizer after the layer was built. Received: "
            f"{received}. Use penalty='gradient' or 'proximal'."
        )
