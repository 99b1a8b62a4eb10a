"""The phases of a run: what the end of an epoch, of a phase and of the run does to Z, U, rho and the weights."""

import numpy as np

from keras_admm import weights
from keras_admm.engine.held import HeldWeights
from keras_admm.engine.scarcity import say_missing
from keras_admm.engine.targets import Targets
from keras_admm.engine.timeline import Timeline
from keras_admm.plan import sets_of
from keras_admm.progress import Progress, check_finite, counts, sparsity


class Phases:
    """The ADMM and retraining phases of a plan's steps, one after the other.

    Args:
        name: str, name used in error messages.
        plan: the `keras_admm.plan.Plan`.
        variables: dict of names to the compressed variables.
        look: function of a variable that returns its value: see `attach.Hold`.

    Attributes:
        timeline: the `Timeline` of the run's epochs.
        layers: dict of names to the `Progress` of each weight in the epoch that was measured last.
    """

    def __init__(self, name, plan, variables, look):
        self._name = name
        self._plan = plan
        self._variables = variables
        self._look = look
        self._hold = self._targets = self._weights = None
        self._pending = False
        self._progress = Progress(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        self.timeline = Timeline([], plan.every)
        self.layers = {}

    def attach(self, hold, pull):
        """Work on a model from here on, at rest.

        Args:
            hold: the `attach.Hold` of the model.
            pull: the `attach.StepRule` of the penalty, or None where no Keras optimizer is hooked.
        """
        self._hold = hold
        self._targets = Targets(self._name, self._variables, self._plan, hold, pull)
        self._weights = HeldWeights(self._name, hold)

    def begin(self, timeline):
        """Enter the first phase of a `Timeline`."""
        self.timeline, self._pending = timeline, False
        arrays = self._read()
        self._targets.check(arrays, [timeline.fractions(i) for i in range(len(self._plan.steps))])
        self._enter(arrays)

    def move(self):
        """Move Z, U and rho within an epoch; see `Engine.move`."""
        arrays = self._read()
        check_finite(self._name, arrays)
        self._move(arrays, self.timeline.coming, self.timeline.present)

    def measure(self):
        """The figures of the epoch that ends, with Z, U and rho moved; see `Engine.measure`."""
        if self.timeline.done:
            raise ValueError(
                f"{self._name}: a run ends with the last epoch of its plan. Received: one more, after "
                f"{self.timeline.epoch}. Call finish(), or begin(epochs=...) with more of them."
            )
        arrays = self._read()
        check_finite(self._name, arrays)
        self._check(arrays)
        info = self.timeline.coming
        if info.phase == "retrain":
            self._progress = self._progress._replace(admm_primal=0.0, admm_dual=0.0, admm_rho=0.0)
        elif self.timeline.moves(info):
            self._move(arrays, info, self.timeline.fraction(info, info.epoch + 1))
        self._count(arrays, info)
        self.timeline.end_epoch()
        self._pending = True
        return self._progress

    def advance(self):
        """What the end of an epoch does to the weights, and the phase to come; see `Engine.advance`."""
        if not self._pending:
            return False
        self._pending = False
        info, arrays = self.timeline.passed, self._read()
        check_finite(self._name, arrays)
        ended = info.epoch + 1 == info.epochs
        if info.phase == "retrain":
            # Weights that take few values may move to others.
            self._targets.retrain(arrays, info.step, info.epoch + 1, info.epochs)
        elif ended:
            self._targets.project(arrays, info.step, self.timeline.retrain_epochs(info.step))
        if ended and not self.timeline.done:
            self._enter(arrays)
        return ended and info.phase == "admm"

    @property
    def in_last_set(self):
        """Whether the weights are in the last step's set: its projection has passed, and its zeros were held."""
        if self.timeline.done:
            return True
        info = self.timeline.coming
        retrains = info.step == len(self._plan.steps) - 1 and info.phase == "retrain"
        return retrains and self._targets.settled(info.step, info.epoch, info.epochs)

    def finish(self):
        """Whether the model holds the promised set at the end of the run; if so, exactly. See `Engine.finish`."""
        self.advance()
        if not self.in_last_set:
            return False
        last, arrays = len(self._plan.steps) - 1, self._read()
        if not self._weights.stayed(arrays):
            return False
        say_missing(self._name, self._targets.missing(arrays, last))
        # Averages that the optimizer wrote back at the end know nothing of what is held.
        self._targets.settle(arrays, last)
        self._targets.correct(self._read(), last)
        return True

    def stop(self):
        """Project the weights on what the present phase aims at. Returns the share of zeros then."""
        self.advance()
        info, arrays = self.timeline.coming, self._read()
        check_finite(self._name, arrays)
        if info is not None:
            fraction = self.timeline.fraction(info, info.epoch) if info.phase == "admm" else 1.0
            self._targets.stop(arrays, info.step, fraction)
        return sparsity(counts(arrays))

    def project(self):
        """Project the weights on the sets of all steps as they are."""
        arrays = self._read()
        for i, step in enumerate(self._plan.steps):
            if self._targets is None:
                sets = sets_of(self._name, step.target, arrays, 1.0, last=True)
            else:
                sets = self._targets.sets(arrays, i, 1.0, last=True)
            arrays = {name: sets[name].project(w) if name in sets else w for name, w in arrays.items()}
            step.target.projected(sets)
        for name, w in arrays.items():
            weights.write(self._variables[name], w)

    def state(self):
        """All that `load` needs, a flat dict of NumPy arrays."""
        return {
            "epoch": np.array(self.timeline.epoch),
            "epochs": np.array(len(self.timeline)),
            "steps": np.array([self.timeline.steps, self.timeline.steps_an_epoch]),
            "pending": np.array(self._pending),
            "progress": np.array(self._progress),
            "trains": np.array(self._hold.watch.trained),
            **self._targets.state(),
        }

    def load(self, state, epochs):
        """Go on from a `state`, with a list of `EpochInfo`s of all epochs."""
        self.timeline = Timeline(epochs, self._plan.every, int(state["epoch"]), *map(int, state["steps"]))
        self._targets.load(state)
        self._hold.watch.trained = state["trains"]
        self._pending = bool(state["pending"])
        self._progress = Progress(*map(float, state["progress"]))

    def _check(self, arrays):
        """Raises when the weights were not trained as they should be; the model is released then."""
        try:
            self._weights.check_epoch(arrays)
        except ValueError:
            self._hold.release()
            raise
        if self.timeline.uncounted:
            raise ValueError(
                f"{self._name}: with update_every={self._plan.update_every!r} training steps must be counted. "
                "Received: an epoch of ADMM without any. Call end_batch() after each update, or say update_every in "
                "epochs."
            )

    def _count(self, arrays, info):
        """Note the zeros of the weights and, while they are pulled, of Z."""
        pulled, counted = info.phase == "admm", counts(arrays)
        aims = counts(self._targets.kept(arrays)) if pulled else {}
        shares = {"sparsity": sparsity(counted), "admm_sparsity": sparsity(aims)}
        self._progress = self._progress._replace(**shares, admm_step=float(info.step + 1))
        residuals = self._targets.residuals if pulled else {}
        self.layers = {name: self._of_layer(name, counted, aims, residuals.get(name, (0.0, 0.0))) for name in counted}

    def _of_layer(self, name, counted, aims, residuals):
        """The figures of one weight."""
        shares = [sparsity({name: each[name]} if each else {}) for each in (counted, aims)]
        return self._progress._replace(
            sparsity=shares[0], admm_sparsity=shares[1], admm_primal=residuals[0], admm_dual=residuals[1]
        )

    def _move(self, arrays, info, fraction):
        primal, dual, rho = self._targets.move(arrays, info.step, fraction)
        self._progress = self._progress._replace(admm_primal=primal, admm_dual=dual, admm_rho=rho)

    def _read(self):
        return weights.views(self._variables, self._look)

    def _enter(self, arrays):
        """Begin the phase of the epoch to come."""
        if self.timeline.epoch:
            self._hold.renew_optimizers()
        if self.timeline.coming.phase == "admm":
            self._targets.begin(arrays, self.timeline.coming.step)
            self._progress = self._progress._replace(admm_rho=float(self._plan.penalty.rho))
