"""The states of a run in `backup_dir`: saved after each epoch, and what a fit that is started again goes on from."""

import json
import warnings
import weakref

import numpy as np

from keras_admm import attach, weights
from keras_admm.backup import Backup
from keras_admm.errors import named_few


class States:
    """The states of a run on disk.

    Args:
        run: the `keras_admm.ADMM` whose fit is running.

    Raises:
        ValueError: for a `backup_dir` that no file can be written in; for weights of which other processes have parts.
    """

    def __init__(self, run):
        self._run = run
        far = attach.out_of_reach(run.engine.variables)
        if far:
            raise ValueError(
                f"{run.engine.name}: backup_dir keeps whole weights. Received: {named_few(far)}, of which parts lie on "
                "devices of other processes. Leave it out, and save the model with what saves parts, such as Orbax."
            )
        self._backup = Backup(run.backup_dir)
        self._backup.check(run.engine.name)

    def lock(self, callbacks):
        """Keep other runs out of the folder until `release`, while the fit of a `CallbackList` goes on."""
        fit = weakref.ref(callbacks)  # the end of the fit is when it goes
        self._backup.lock(self._run.engine.name, lambda: fit() is not None and attach.is_running(fit()))

    def release(self):
        """Let other runs in. Safe to call again."""
        self._backup.release()

    def newest(self):
        """The newest epoch whose state can be read whole, or None. Raises if this fit cannot go on from it."""
        newest = self._backup.newest()
        if newest is not None:
            self._check(self._backup.load(newest))
        return newest

    def save(self, epoch):
        """Write the state with which `epoch` begins, or warn that it cannot be written: no reason to stop training."""
        values = {key: weights.storable(variable) for key, variable in self._by_role().items()}
        built = json.dumps(attach.built_for(self._run.model, self._optimizers))
        ours = {"begins": np.array(epoch), "built": np.array(built), **self._run.engine.state_dict()}
        try:
            self._backup.save(epoch, {**ours, **values})
        except OSError as error:
            newest = self._backup.newest()
            then = "begin anew" if newest is None else f"go on from epoch {newest}"
            warnings.warn(
                f"{self._run.engine.name}: backup_dir must have room for the state of the run after every epoch. "
                f"Received: {error.strerror or error}, for the state with which epoch {epoch} begins, in "
                f"{self._run.backup_dir}. Training goes on; killed now, it would {then}. Make room there before the "
                "next epoch ends.",
                stacklevel=2,
            )

    def resume(self, epoch):
        """Go on from the state with which `epoch` began. Returns False where there is no state of any epoch."""
        state = self._backup.load(epoch)
        if state is not None:
            self._load(state)
        elif self._backup.epochs():
            raise ValueError(
                f"{self._run.engine.name}: to resume at epoch {epoch}, backup_dir must hold the state with which it "
                f"began. Received: states of epochs {self._backup.epochs()} in {self._run.backup_dir}. Empty the "
                "folders of this callback and of BackupAndRestore to start again."
            )
        return state is not None

    def clear(self):
        """Remove the files, release the lock, and remove the folder if nothing else is in it."""
        self._backup.clear()

    def _load(self, state):
        self._check(state)
        self._run.engine.load_state_dict(state, max(self._epochs(state), int(state["epochs"])))
        for key, variable in self._by_role().items():
            if key in state:
                weights.write(variable, state[key])

    def _epochs(self, state):
        """How many epochs the run has in this fit: those that had passed, and those to come."""
        return self._run.params["epochs"] - int(state["begins"]) + int(state["epoch"])

    def _by_role(self):
        return attach.variables_by_role(self._run.model, self._optimizers)

    @property
    def _optimizers(self):
        """The compiled one, where there is one, and those that are named or found."""
        all_of_them = (attach.compiled_optimizer(self._run.model), *self._run.engine.optimizers.all)
        return list({id(o): o for o in all_of_them if o is not None}.values())

    def _check(self, state):
        """Raises a ValueError that says why a state cannot be resumed by this fit, before it trains."""
        name = self._run.engine.name
        if not {"plan", "begins", "built"} <= set(state):
            raise ValueError(
                f"{name}: backup_dir must hold the states of this run alone. Received: {self._run.backup_dir} with a "
                f"file of another program, whose arrays are {list(state)[:5]}. Choose another folder."
            )
        self._run.engine.check_state(state, self._epochs(state))
        attach.build_optimizers(self._run.model, self._optimizers, json.loads(str(state["built"])))
        odd = [each for each in _differing(self._by_role(), state) if "learning_rate" not in each]
        if odd:
            raise ValueError(
                f"{name}: a run is resumed with the model and the optimizer that it was begun with. Received: another "
                f"optimizer, other frozen layers or other shapes: {named_few(odd)}. Compile as before, or give a "
                "fresh backup_dir."
            )


def _differing(found, state):
    saved = [key for key in state if key.startswith(("model/", "optimizer/"))]
    yield from (f"{key} is only here" for key in found if key not in state)
    yield from (f"{key} is only in the state" for key in saved if key not in found)
    for key, variable in found.items():
        if key in state and tuple(variable.shape) != state[key].shape:
            yield f"{key} has the shape {tuple(variable.shape)} here and {state[key].shape} in the state"
