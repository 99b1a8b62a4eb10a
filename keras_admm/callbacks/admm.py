"""`ADMM`, the Keras callback that compresses a model during `model.fit`."""

from collections.abc import Sequence

import numpy as np

from keras_admm import attach, checks, hints, penalties, weights
from keras_admm.callbacks import epoch_logs
from keras_admm.callbacks.arguments import Sets, checked_verbosity, steps_of, verbosity
from keras_admm.callbacks.ending import Ending
from keras_admm.callbacks.messages import Messages
from keras_admm.callbacks.others import say_what_others_miss
from keras_admm.callbacks.phase_change import PhaseChange
from keras_admm.callbacks.projections import Projections
from keras_admm.callbacks.rates import check_rate_is_settable, checked_rates, say_what_is_spent, set_rate
from keras_admm.callbacks.states import States
from keras_admm.callbacks.step_count import StepCount
from keras_admm.engine import Engine, check_place
from keras_admm.plan import Plan, every
from keras_admm.retraining import Retraining


class ADMM(Ending):
    """Trains a model into a set by ADMM, during `model.fit`.

    Solves `min f(W) subject to W in S`: ADMM epochs train `f(W) + rho / 2 * ||W - Z + U||^2` and move
    `Z = P_S(W + U)`, `U = U + W - Z` between epochs; then `W` is projected on `S`, and retrained in it.

    After `fit` the model is the same object with its weights in the set, compiled as it was, nothing left behind;
    the same if `fit` ends in an exception. Another `fit` without this callback fills the zeros again, unless it trains
    `keras_admm.mask(model)`.

    Args:
        constraints: the set: a `keras_admm.constraints` object for every compressed weight, or a
            `keras_admm.Target`, a mapping of name patterns to sets, a `keras_admm.Step`, or a list of these for
            progressive steps. A `Step` says its own epochs and retraining.
        layers: what to compress: names, patterns, layers, variables, a callable `variable -> bool`, or a list of
            these. By default kernels and embeddings of rank 2 and more.
        exclude: what to leave out, same forms as `layers`.
        biases: bool, whether the biases of what is taken are compressed as well, each a tensor like the others.
        admm_epochs: int, epochs under the penalty; or a float below 1, their share of the step's epochs; or a list with
            one for each step. By default the epochs of `fit` are divided evenly over the phases of all steps.
        retrain_epochs: int, epochs of retraining with the zeros held, or a list with one for each step. 0 ends
            with the projection. Epochs of `fit` that are left over extend the last retraining.
        update_every: int, epochs between two moves of Z and U; or, within epochs, text such as `"100 steps"`; or
            `"auto"`: 100 training steps, or fewer where there would be less than 40 moves.
        penalty: how the pull towards the set enters training: `"gradient"`, `"proximal"`, `"loss"`, or an object of
            `keras_admm.penalties` with its settings, such as `ProximalPenalty(rho=0.01)`.
        retraining: how weights are retrained whose set, of levels or clusters, says which values they take:
            `"straight_through"`, `"snap"`, `"shared_values"`, or an object of `keras_admm.retraining`, such as
            `Snap((0.5, 1.0))`. Where the set says which weights are zero, these are held, and the others train.
        learning_rate: dict with `"admm"` and / or `"retrain"`: a float, or a `LearningRateSchedule` of the number
            of epochs since the phase began. The optimizer's own rate comes back with the other phase, and at the end.
        optimizer: which optimizers apply the gradients of what is compressed, for models with a `train_step` and
            optimizers of their own. `"auto"`: those among the attributes of the model, in lists, dicts and models in
            it as well, the compiled one included. Or one optimizer; or a mapping of what is trained (names, patterns,
            layers, models: same forms as `layers`) to optimizers: `{"generator*": gan.g_optimizer}`. A weight that
            none of them was handed by the end of the first epoch is an error. `learning_rate` sets the rates of all
            that are named; with several, it needs them named.
        backup_dir: path of a folder for the state of the run. A fit that is killed and started again goes on from
            the last epoch that ended, alone or beside `keras.callbacks.BackupAndRestore`. One run at a time has the
            folder. Where its disk is full a warning says so and training goes on: the states that are there stay.
        state: `"host"`: Z and U are arrays on the host, to which weights are copied where they move, so that a device
            holds one tensor beside each weight, the target. `"device"`, for `Sparse` sets: Z and U stay where the
            weights lie, in parts where these do (`keras.distribution.ModelParallel`): thresholds are found by counting,
            and only counts come to the host. Norms of groups are summed in float32 there, on the host in float64.
        log_layers: bool, whether the logs have each layer's figures as well, `"sparsity/<variable>"`,
            and so on, for `keras.callbacks.TensorBoard`, `CSVLogger` and `History`. The first two must stand behind
            this callback: `callbacks=[ADMMPrune(0.9, log_layers=True), TensorBoard("logs")]`.
        verbose: `"auto"`, as `fit` has it; 0: nothing is printed; 1: the plan, a line at each change of phase, and what
            each projection cost, for which the model is evaluated once more on the validation data of `fit`; 2: a table
            of the layers at the end of each phase too. `projections` keeps these figures: a list of dicts with
            `"epoch"`, `"step"`, and `"before"` and `"after"`, dicts of the validation metrics; where channels are
            pruned, also with `"macs"`, `"params"` and `"bytes"`, what is left then.

    Logs `sparsity`, `admm_sparsity`, `admm_primal`, `admm_dual`, `admm_rho` and `admm_step` (see `progress.Progress`),
    of the weights that the epoch's metrics were measured on. The progress bar shows the phase, and of the logs
    `admm_sparsity` (of Z, what the weights are pulled to) and `admm_primal` or, while it retrains, `sparsity`.
    `admm_primal`, `||W - Z|| / ||W||`, is what a projection would cut off: it should fall before the phase ends. Where
    it does not, the projection costs accuracy, and more ADMM epochs, a larger rho or progressive steps help.
    `admm_dual` is how much Z still moves.

    The projection comes after all callbacks have seen the epoch that ends a phase. Callbacks that compare epochs
    (`EarlyStopping`, `ModelCheckpoint(save_best_only=True)`, `ReduceLROnPlateau`) begin anew with each phase, so that
    the best epoch is one of the last retraining, whose weights hold the promised set; an early stop before that is held
    back. A fit that ends before for another reason, an exception among them, is projected on what the present phase
    aims at, with a warning; after NaN nothing is.

    Raises:
        ValueError, TypeError: before any training, with what is wrong and what to do.

    Example:

    >>> import keras, numpy as np
    >>> from keras_admm.constraints import Sparse
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile("adam", "mse")
    >>> history = model.fit(np.ones((16, 8)), np.ones((16, 4)), epochs=4, verbose=0, callbacks=[ADMM(Sparse(0.75))])
    >>> int(np.count_nonzero(model.layers[0].kernel))
    8

    References: Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating Direction Method of
    Multipliers", arXiv:1804.03294; Ye et al., "Progressive Weight Pruning of Deep Neural Networks using ADMM",
    arXiv:1810.07378; Boyd et al., "Distributed Optimization and Statistical Learning via the Alternating Direction
    Method of Multipliers", 2011.
    """

    resumable = True  # whether a run can go on after a kill, with a backup_dir

    def __init__(
        self,
        constraints: Sets,
        *,
        layers: hints.Weights = None,
        exclude: hints.Weights = None,
        biases: bool = False,
        admm_epochs: hints.Epochs = None,
        retrain_epochs: int | Sequence[int] | None = None,
        update_every: int | str = 1,
        penalty: str | penalties.Penalty = "gradient",
        retraining: str | Retraining = "straight_through",
        learning_rate: hints.Rates = None,
        optimizer: hints.Optimizers = "auto",
        backup_dir: hints.Path | None = None,
        state: hints.Place = "host",
        log_layers: bool = False,
        verbose: hints.Verbosity = "auto",
    ):
        super().__init__()
        name = type(self).__name__
        steps = steps_of(name, constraints, admm_epochs, retrain_epochs, retraining)
        every(name, update_every)
        self.plan = Plan(steps=steps, penalty=penalties.get(penalty, name), update_every=update_every)
        self.layers = weights.check_choice(name, "layers", layers)
        self.exclude = weights.check_choice(name, "exclude", exclude)
        self.biases = checks.boolean(name, "biases", biases)
        self.learning_rate = checked_rates(name, learning_rate)
        attach.check_optimizer(name, optimizer)
        self.optimizer = optimizer
        self.backup_dir = None if backup_dir is None else checks.path(name, "backup_dir", backup_dir)
        self.state = state
        check_place(name, self.plan, state)
        self.log_layers = checks.boolean(name, "log_layers", log_layers)
        self.verbose = checked_verbosity(name, verbose, most=2)
        self.engine = None
        self.projections = []

    def on_train_begin(self, logs=None):
        name = type(self).__name__
        attach.build(self.model)
        choice = self.layers, self.exclude, self.optimizer
        self.engine = Engine(
            self.model, self.plan, *choice, name=name, biases=self.biases, in_fit=True, state=self.state
        )
        timeline = self.engine.plan.timeline(self.engine.name, self.params["epochs"])
        check_rate_is_settable(self.engine.name, self.learning_rate, self.model, self.engine.optimizers)
        say_what_is_spent(self.engine.name, self.model, self.engine.optimizers)
        callbacks = attach.running_callbacks()
        say_what_others_miss(self, callbacks.callbacks, timeline)
        self._messages = Messages(self.engine)
        self._states = States(self) if self.backup_dir else None
        self._projections = Projections(self.engine, self._messages)
        self.projections = self._projections.rows
        self._prints = verbosity(self.verbose, self.params)
        steps = len(self.plan.steps)
        self._shown = attach.ShownLogs(callbacks.callbacks, lambda logs: epoch_logs.shown(logs, self._passed, steps))
        self._judges = attach.Judges(callbacks.callbacks, lambda: self._in_last_set)
        self._in_last_set, self._failed, self._row, self._passed = False, False, {}, None
        self.engine.attach()
        self.engine.release_with(callbacks, self._interrupted)
        callbacks.callbacks.append(PhaseChange(self))
        if self.plan.every.steps:
            callbacks.callbacks.append(StepCount(self))
            attach.tell_of_batches(callbacks)
        self._began = False
        if self._states:
            self._states.lock(callbacks)
        newest = self._states.newest() if self._states else None
        if newest is not None:
            attach.resume_at(self.model, newest)
        if newest == self.params["epochs"]:  # killed after its last epoch: no epoch will begin
            self._begin_or_resume(newest)

    def on_epoch_begin(self, epoch, logs=None):
        if not self._began:
            self._begin_or_resume(epoch)
        set_rate(self.engine, self.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        if self._failed:
            return
        logs, info = {} if logs is None else logs, self.engine.epoch_info
        try:
            if not np.isfinite(logs.get("loss", 0.0)):
                raise FloatingPointError(
                    f"{self.engine.name}: the loss must stay finite. Received: loss={logs['loss']}."
                )
            logs.update(self.engine.measure()._asdict())
        except FloatingPointError as error:
            self._stop(error)
            return
        self._row, self._passed = dict(logs), info
        if self.log_layers:
            logs.update(epoch_logs.of_layers(self.engine.layer_progress))
        if self._states:
            self._states.save(epoch + 1)

    def end_epoch(self, epoch: int) -> None:
        """Say that a phase has ended, once the progress bar has ended its line.

        Args:
            epoch: int, the epoch that ends.
        """
        if self._prints and not self._failed:
            self._messages.epoch_ended(self._passed, epoch, self._row, tables=self._prints > 1)

    def change_phase(self, epoch: int) -> None:
        """What the end of an epoch does to the weights, once everything that looks at that epoch has done so.

        Args:
            epoch: int, the epoch that begins, or that would if `fit` were not at its end.
        """
        try:
            projected = self.engine.advance()
        except FloatingPointError as error:
            self._stop(error)
            return
        if projected and self._prints:
            self._projections.note(self._row, epoch)

    def begin_phase(self) -> None:
        """Let the callbacks that compare epochs begin anew where a phase begins, or the weights come to the set."""
        moment, in_last_set = self.engine.epoch_info, self.engine.in_last_set
        if moment.epoch == 0 or in_last_set != self._in_last_set:
            self._judges.begin_anew()
        self._in_last_set = in_last_set

    def _begin_or_resume(self, epoch):
        if self._states is None or not self._states.resume(epoch):
            self.engine.begin(self.params["epochs"] - epoch, self.params.get("steps"))
        self._began = True
        if self._prints:
            before = epoch - self.engine.epoch  # of a fit that began later than at its first epoch
            timeline = self.engine.plan.timeline(self.engine.name, self.params["epochs"] - before)
            self._messages.begins(timeline, self.params.get("steps"), before)
            self._projections.begin()

    def end_steps(self, count: int) -> None:
        """Count training steps, and move Z and U where it is time."""
        if self._failed or not self.engine.end_steps(count):
            return
        self.model  # noqa: B018, on JAX it puts the weights of the last batch back into the variables
        try:
            self.engine.move()
        except FloatingPointError as error:
            self._stop(error)
