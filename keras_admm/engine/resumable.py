"""`Resumable`: the state of a run, which a later one goes on from."""

import abc
from collections.abc import Mapping

import numpy as np

from keras_admm.engine import requirements
from keras_admm.engine import state as states


class Resumable(abc.ABC):
    """Base class of `Engine`: what is saved of a run, and how another process goes on with it.

    Attributes, of the run:
        name: str, name used in error messages.
        plan: the `keras_admm.plan.Plan`.
        _identity: the `Identity` of the run.
        _phases: its `Phases`, whose state this is.
    """

    @property
    @abc.abstractmethod
    def released(self) -> bool:
        """Whether the run is detached from the model."""

    @abc.abstractmethod
    def attach(self) -> None:
        """Attach to the model, at rest."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that a later run needs to go on from here: a flat dict of NumPy arrays, no pickles."""
        requirements.check_begun(self.name, self.released)
        return {"format": np.array(states.FORMAT), "plan": np.array(self._identity.text), **self._phases.state()}

    def load_state_dict(self, state: Mapping[str, np.ndarray], epochs: int | None = None) -> None:
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
        infos = self.plan.timeline(self.name, had, (had if epochs is None else epochs) - had)
        self.attach()
        self._phases.load(state, infos)

    def check_state(self, state: Mapping[str, np.ndarray], epochs: int | None = None) -> None:
        """Raises the sentence that says why a state cannot be resumed by this run."""
        states.check(self.name, state)
        requirements.check_counts(self.name, epochs=epochs)
        self._identity.check(state, epochs)
