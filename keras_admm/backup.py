"""State of a run on disk: one file an epoch, the last two kept, none ever half written."""

import os
import zipfile
from pathlib import Path

import numpy as np


class Backup:
    """Files of NumPy arrays in a folder, by epoch.

    A file is written beside its place and moved there when it is whole, so that a process killed at any moment
    leaves the file of the epoch before. Nothing is pickled.

    Args:
        directory: path of the folder; made when the first state is saved.
        keep: int, how many epochs' files stay. Two, so that whichever epoch another backup goes back to is there.
    """

    def __init__(self, directory, keep=2):
        self.directory = Path(directory)
        self.keep = keep

    def epochs(self):
        """The epochs that a file is there for, in order."""
        return sorted(int(p.stem.split("-")[1]) for p in self.directory.glob("epoch-*.npz"))

    def save(self, epoch, arrays):
        """Write the state with which `epoch` begins."""
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / "partial.tmp"
        with open(partial, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._path(epoch))
        for old in self.epochs()[: -self.keep]:
            self._path(old).unlink()

    def load(self, epoch):
        """The state with which `epoch` begins, or None where there is none that can be read whole."""
        try:
            with open(self._path(epoch), "rb") as file, np.load(file, allow_pickle=False) as state:
                return {key: state[key] for key in state.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def newest(self):
        """The newest epoch whose state can be read whole, or None."""
        return next((e for e in reversed(self.epochs()) if self.load(e) is not None), None)

    def clear(self):
        """Remove the files, and the folder if nothing else is in it."""
        for epoch in self.epochs():
            self._path(epoch).unlink()
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()

    def _path(self, epoch):
        return self.directory / f"epoch-{epoch:06d}.npz"
