"""The state of a run on disk, to resume it: one file an epoch, the last two kept, each written whole."""

import contextlib
import os
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from keras_admm.files import ADDRESS, REGULAR, kind
from keras_admm.lock import NAME, Lock

OURS = re.compile(r"epoch-(\d{6,})\.npz")
PARTIAL = "keras_admm.partial"


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
        self._given = str(directory)
        self._lock = None

    def epochs(self):
        """The epochs that a file is there for, in order."""
        found = [OURS.fullmatch(p.name) for p in self.directory.glob("epoch-*.npz") if p.is_file()]
        return sorted(int(match[1]) for match in found if match)

    def check(self, name):
        """Makes the folder, or raises a ValueError that says why no state can be kept in it.

        Args:
            name: str, name used in error messages.
        """
        try:
            received = self._unusable()
        except OSError as error:
            received = error.strerror or str(error)
        if received:
            raise ValueError(
                f"{name}: backup_dir must be a folder that files can be written in. Received: "
                f"backup_dir={self._given!r}: {received}. Choose another path."
            )
        ours = [p for p in self.directory.iterdir() if OURS.fullmatch(p.name) or p.name in (PARTIAL, NAME)]
        odd = next((p for p in ours if kind(p) not in (REGULAR, None)), None)
        if odd:
            raise ValueError(
                f"{name}: the states in backup_dir must be regular files. Received: {odd.name} in {self.directory}, "
                f"which is {kind(odd)}. Choose another folder."
            )

    def _unusable(self):
        """Why no file can be written in the folder, which is made, or None."""
        if ADDRESS.match(self._given):
            return "an address, not a path of this machine's file system"
        if not self.directory.is_dir() and kind(self.directory):
            return f"{kind(self.directory)} that is there"
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.directory):
            return None

    def lock(self, name, going):
        """Keep other runs out until `release`; see `keras_admm.lock.Lock`. The folder must have passed `check`."""
        self._lock = Lock(name, self.directory, going)

    def release(self):
        """Let other runs in. Safe to call again."""
        if self._lock is not None:
            self._lock.release()

    def save(self, epoch, arrays):
        """Write the state with which `epoch` begins.

        Raises:
            OSError: when it cannot be written; the states before it stay.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / PARTIAL
        try:
            with open(partial, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._path(epoch))
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        for old in self.epochs()[: -self.keep]:
            self._path(old).unlink(missing_ok=True)

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
        """Remove the files, release the lock, and remove the folder if nothing else is in it."""
        for path in (*map(self._path, self.epochs()), self.directory / PARTIAL):
            path.unlink(missing_ok=True)
        self.release()
        with contextlib.suppress(OSError):  # files of others are in it
            self.directory.rmdir()

    def _path(self, epoch):
        return self.directory / f"epoch-{epoch:06d}.npz"
