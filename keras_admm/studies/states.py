"""The state of a search on disk: its trials, and the weights of the models that are alive."""

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np

from keras_admm import weights
from keras_admm.backup import Backup
from keras_admm.engine import described, differences
from keras_admm.errors import named_few
from keras_admm.studies import trial
from keras_admm.studies.tree import Trial


class States:
    """The states of a search in a folder, or nowhere.

    Args:
        name: str, name used in error messages.
        directory: path of the folder, or None.
        model: the model as the search begins.
        settings: dict of what the search was begun with.

    Attributes:
        start: what `trial.state` gave as the search began, in this process or the one that it is resumed from.
    """

    def __init__(self, name, directory, model, settings):
        self._name = name
        self._backup = None if directory is None else Backup(directory)
        self.start = trial.state(model)
        # Seeds of layers, which no file has, are others in each process.
        digest = hashlib.sha256(b"".join(weights.storable(each).tobytes() for each in model.weights))
        self._identity = {**described(settings), "dense weights": digest.hexdigest()}

    @contextlib.contextmanager
    def locked(self):
        """The folder is there, and this search's alone."""
        if self._backup is None:
            yield
            return
        self._backup.check(self._name)
        going = [True]
        self._backup.lock(self._name, lambda: bool(going))
        try:
            yield
        finally:
            going.clear()
            self._backup.release()

    def folder(self, number):
        """The path of a folder for the states of a trial, or None."""
        return None if self._backup is None else str(Path(self._backup.directory) / f"trial-{number}")

    def load(self):
        """The list of `Trial`s that are done, and the weights of those that may be gone on from, by their numbers."""
        newest = None if self._backup is None else self._backup.newest()
        if newest is None:
            return [], {}
        saved = self._backup.load(newest)
        differing = named_few(differences(self._identity, json.loads(str(saved.get("search", "{}")))))
        if differing:
            raise ValueError(
                f"{self._name}: a search is resumed with what it was begun with. Received: the state of another search "
                f"or model: {differing}. Give a fresh backup_dir, or what it was begun with."
            )
        trials = [Trial(*each) for each in json.loads(str(saved["trials"]))]
        self.start = _under("start", saved)
        return trials, {t.number: found for t in trials if (found := _under(str(t.number), saved))}

    def save(self, trials, values):
        """Write the trials that are done, and the weights of those that may be gone on from."""
        if self._backup is None:
            return
        arrays = {f"start/{key}": array for key, array in self.start.items()}
        for number, each in values.items():
            arrays |= {f"{number}/{key}": array for key, array in each.items()}
        told = {"search": np.array(json.dumps(self._identity)), "trials": np.array(json.dumps(trials))}
        self._backup.save(2 * len(trials) + trials[-1].kept, {**told, **arrays})

    def clear(self):
        """Remove the states."""
        if self._backup is not None:
            self._backup.clear()


def _under(prefix, saved):
    return {key.removeprefix(f"{prefix}/"): array for key, array in saved.items() if key.startswith(f"{prefix}/")}
