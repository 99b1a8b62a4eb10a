"""`Engine`, a run of ADMM on a model, epoch by epoch: it knows nothing of `fit`; whoever ends an epoch calls it."""

from collections.abc import Callable, Mapping
from typing import Any

from keras_admm import attach, checks, hints, weights
from keras_admm.attach import RuleState
from keras_admm.engine import requirements
from keras_admm.engine.held import held
from keras_admm.engine.identity import Identity
from keras_admm.engine.phases import Phases
from keras_admm.engine.resumable import Resumable
from keras_admm.engine.timeline import Timeline
from keras_admm.plan import EpochInfo, Plan
from keras_admm.progress import Progress


class Engine(Resumable):
    """One run of a plan on a model, for `fit` and for custom training loops.

    Solves `min f(W) subject to W in S` for the sets `S` of the plan's steps: in the ADMM epochs of a step the
    weights are trained on `f(W) + rho / 2 * ||W - Z + U||^2`, and `end_epoch` moves `Z` and `U`; after the last of
    them `W` is projected on `S`, and the retraining epochs stay inside its support.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        plan: a `keras_admm.plan.Plan`.
        layers: what to compress; see `keras_admm.weights.select`. `left_out` says which a structure does not fit, why.
        exclude: what to leave out.
        optimizer: the `keras.Optimizer` that applies the gradients; or a mapping of what is trained (names, patterns,
            layers, models: same forms as `layers`) to optimizers; or `"auto"`, those among the attributes of the
            model, the one that it is compiled with included. The pull and the zeros are then their own affair, in any
            loop that uses them. `None` for another kind of optimizer: the loop then adds `penalty()` to its loss and
            calls `hold()` after each update.
        name: str, name used in error messages.
        biases: bool, whether biases are compressed like kernels.
        in_fit: bool, whether `fit` trains the model, which compiles its step anew when what it does changes.
        state: `"host"` or `"device"`, where Z and U are, and projections computed; see `keras_admm.ADMM`.

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
        self,
        model: hints.Model,
        plan: Plan,
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        optimizer: hints.Optimizers | None = "auto",
        name: str = "Engine",
        biases: bool = False,
        in_fit: bool = False,
        state: hints.Place = "host",
    ):
        requirements.check_arguments(name, model, plan, biases=biases, in_fit=in_fit)
        requirements.check_place(name, plan, state)
        self.model, self.name = model, name
        self._choice = layers, exclude, biases
        chosen = weights.select(model, *self._choice)
        self.plan = plan.of(model, chosen, layers, exclude)
        requirements.check_fits(name, self.plan, chosen, named=layers is not None)
        self.left_out = self.plan.left_out(chosen)
        self.variables = {key: variable for key, variable in self.plan.wants.items() if key not in self.left_out}
        requirements.check_reach(name, self.variables, state)
        self._known = {**chosen, **self.variables}
        choose = attach.choose_optimizers
        self.optimizers = None if optimizer is None else choose(name, model, self.variables, optimizer)
        if plan.penalty.in_loss and self.optimizers is not None:
            requirements.check_loss_takes_penalty(name, model)
        # Before anything is called that the plan brings, which may change what it has closed over.
        self._identity = Identity(name, self.plan, self.variables)
        self._in_fit, self._hold, self._complete = in_fit, None, False
        self._look = requirements.STATES[state]
        self._phases = Phases(name, self.plan, self.variables, self._look)

    def begin(self, epochs: int | None = None, steps_per_epoch: int | None = None) -> None:
        """Attach to the model and enter the first phase.

        Args:
            epochs: int, how many epochs the run has; by default what the plan's steps say.
            steps_per_epoch: int, how many training steps an epoch has, for a path of sparsities that tightens within
                epochs (`update_every="100 steps"`). By default it is known when the first epoch has passed.
        """
        requirements.check_counts(self.name, epochs=epochs, steps_per_epoch=steps_per_epoch)
        infos = self.plan.timeline(self.name, epochs)
        self.attach()
        self._complete = False
        self._phases.begin(Timeline(infos, self.plan.every, steps_an_epoch=steps_per_epoch or 0))

    def attach(self) -> None:
        """Attach to the model, at rest: nothing is changed until `begin` or `load_state_dict`."""
        if not self.released:
            return
        self._hold, pull = held(
            self.model, self.variables, self.optimizers, self.plan.penalty, self._in_fit, self._look
        )
        chosen = self.name, self.model, self._choice, self._known
        self._hold.on_new_variable = lambda: requirements.check_all_chosen(*chosen)
        self._phases.attach(self._hold, pull)

    @property
    def _begun(self):
        """What is attached to the model; raises where nothing is."""
        requirements.check_begun(self.name, self.released)
        return self._hold

    @property
    def identity(self) -> str:
        """What identifies this run when another process resumes it: JSON of its plan and its weights' shapes."""
        return self._identity.text

    @property
    def released(self) -> bool:
        """Whether the run is detached from the model."""
        return self._hold is None or self._hold.released

    @property
    def rule_states(self) -> dict[str, RuleState]:
        """What moves, `{name: attach.RuleState}`: its `variables` must be arguments of a step compiled by JAX."""
        return self._begun.states

    @property
    def arrays(self) -> Mapping[str, Any]:
        """The compressed weights by name, each as it is when it is looked at: NumPy arrays, or tensors (`state`)."""
        return weights.views(self.variables, self._look)

    @property
    def step_version(self) -> Any:
        """A number that changes when a compiled step of a custom training loop must be compiled again.

        Only ways of retraining with a step of their own change it, and an epoch trained by an older step is an error.
        Before each epoch:

            if engine.step_version != version:
                version, step = engine.step_version, tf.function(train_step)  # or jax.jit(train_step)
        """
        self._begun.watched = True
        return self._begun.version

    def set_learning_rate(self, rate: float | None) -> None:
        """Set the optimizers' learning rate until `finish`, which sets each its own again, as None does."""
        rate = rate if rate is None else checks.number(self.name, "rate", rate, 0, "a finite number >= 0, or None")
        self._begun.set_learning_rate(rate)

    def release_with(self, callbacks: Any, interrupted: Callable[[], None]) -> None:
        """Call a function, which must release, when the fit of a `CallbackList` ends in an exception."""
        self._hold.release_with(callbacks, interrupted)

    def penalty(self) -> Any:
        """`rho / 2 * ||W - Z + U||^2` over all compressed weights: a float32 scalar to add to a loop's own loss."""
        return sum((state.penalty(self.variables[name]) for name, state in self.rule_states.items()), 0.0)

    def hold(self) -> None:
        """Put back what is held, at zero or at a value, after an update that is not a Keras optimizer's."""
        for name, state in self.rule_states.items():
            self.variables[name].assign(state.restore(self.variables[name]))

    def end_batch(self) -> None:
        """Count a training step, and move Z, U and rho where `update_every` is in steps and it is time.

        To be called after each update of a custom training loop, on JAX when what the step returns is written back into
        the variables; without such an `update_every` it does nothing.
        """
        if self.end_steps(1):
            self.move()

    def end_steps(self, count: int) -> bool:
        """Count training steps. Returns whether `move` is to be called now."""
        return bool(self._begun) and self._phases.timeline.end_steps(count)

    def move(self) -> None:
        """Move Z, U and rho within an epoch.

        Raises:
            FloatingPointError: when a weight is no longer finite; nothing has been moved then.
        """
        self._phases.move()

    def end_epoch(self) -> Progress:
        """Move on by an epoch; returns its `Progress`, that of the weights as it left them.

        Raises:
            FloatingPointError: see `move`.
            ValueError: when the weights were not trained as they should be; the model is released then.
        """
        progress = self.measure()
        self.advance()
        return progress

    def measure(self) -> Progress:
        """The first half of `end_epoch`: the figures of the epoch, with Z, U and rho moved. No weight changes."""
        return self._begun and self._phases.measure()

    def advance(self) -> bool:
        """The second half of `end_epoch`, safe to call again: what changes weights; whether they were projected."""
        return self._phases.advance()

    @property
    def layer_progress(self) -> dict[str, Progress]:
        """Dict of names to the `Progress` of each weight in the last epoch; residuals are relative to its own norm."""
        return self._phases.layers

    @property
    def epoch(self) -> int:
        """How many epochs have passed."""
        return self._phases.timeline.epoch

    @property
    def done(self) -> bool:
        """Whether every epoch of the plan has passed."""
        return self._phases.timeline.done

    @property
    def epoch_info(self) -> EpochInfo | None:
        """The `plan.EpochInfo` of the epoch to come, or None when all have passed."""
        return self._phases.timeline.coming

    @property
    def in_last_set(self) -> bool:
        """Whether the weights are in the last step's set: its projection has passed, and its zeros were held."""
        return self._phases.in_last_set

    def finish(self) -> bool:
        """Detach from the model. Returns whether it holds the promised set; if so, exactly.

        Weights that are not where they were held are left as they are, with a warning and False; but for averages that
        an optimizer wrote over them (`use_ema`), which are put back.
        """
        if not self.released:
            self._complete = self._phases.finish()
            self.release()
        return self._complete

    def release(self) -> None:
        """Detach from the model, whatever state it is in."""
        if not self.released:
            self._hold.release()

    def stop(self) -> float | None:
        """Project the weights on what the present phase aims at, and detach: for a run that ends before its time.

        Returns the share of zeros then; None where no step was taken yet, and nothing was projected.

        Raises:
            FloatingPointError: when a weight is not finite. Nothing is projected then, and the model is detached.
        """
        try:
            return None if not self.released and self._hold.untrained else self._phases.stop()
        finally:
            self.release()

    def project(self) -> None:
        """Project the weights on the steps' sets as they are: for a run that was stopped before its end."""
        self._phases.project()
