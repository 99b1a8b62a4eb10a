"""How a fit with a run of ADMM ends: as planned, before its time, in an exception, or with NaN."""

import abc

from keras_admm import attach
from keras_admm.callbacks.base import Callback


class Ending(Callback, abc.ABC):
    """Base class of `ADMM`: what becomes of the weights, the model and the saved states when `fit` ends.

    Attributes, of the run:
        engine: its `keras_admm.Engine`.
        backup_dir: where its states are, or None.
        _states: its `States`, or None.
        _messages: its `Messages`.
        _judges, _shown: what is attached to the other callbacks of the fit, `attach.Judges` and `attach.ShownLogs`.
        _began: bool, whether an epoch has begun.
        _failed: bool, whether training is past saving.
        _in_last_set: bool, whether the weights are in the last step's set.
    """

    @abc.abstractmethod
    def change_phase(self, epoch: int) -> None:
        """What the end of an epoch does to the weights."""

    def end(self) -> None:
        """The end of `fit`: the promised set, or what the present phase aims at."""
        try:
            self._end()
        finally:
            self._leave_states()

    def _end(self):
        engine, self._in_last_set = self.engine, True
        self._judges.release()
        self._shown.release()
        if not self._failed:
            self.change_phase(engine.epoch)
        if self._failed:
            engine.release()
        elif not engine.in_last_set:
            self._stop_early("a fit that stopped")
        elif engine.finish() and self._states:
            self._states.clear()

    def _interrupted(self):
        """The fit has ended in an exception: the weights are projected as they are after any other early end."""
        engine, self._in_last_set = self.engine, True
        self._judges.release()
        self._shown.release()
        self._leave_states()
        if engine.released or self._failed or not self._began:
            engine.release()
            return
        self.model  # noqa: B018, on JAX it puts the weights of the last batch back into the variables
        self._stop_early("a fit that was interrupted")

    def _leave_states(self):
        if self._states:
            self._states.release()
            attach.begin_anew(self.model)

    def _stop_early(self, received):
        engine, info, in_last_set = self.engine, self.engine.epoch_info, self.engine.in_last_set
        try:
            sparsity = engine.stop()
        except (FloatingPointError, RuntimeError, TypeError) as error:  # or a step of JAX took the weights with it
            self._messages.nothing_projected(received, error)
            return
        if not in_last_set and sparsity is not None:
            self._messages.stopped_early(received, info, sparsity)

    def _stop(self, error):
        """Training is past saving: go back to the last state that was good, and say so."""
        self.model.stop_training = self._failed = True
        newest = self._states.newest() if self._states else None
        if newest is not None:
            self._states.resume(newest)
        self._messages.failed(error, newest, self.backup_dir)
