"""State of a run on disk: one file an epoch, the last two kept, none ever half written."""

import os
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np

OURS = re.compile(r"epoch-(\d{6,})\.npz")


def odd_file(path):
    """Whether something at a path is no regular file of its own."""
    return path.is_symlink() or not path.is_file()


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
        found = [OURS.fullmatch(p.name) for p in self.directory.glob("epoch-*.npz") if p.is_file()]
        return sorted(int(match[1]) for match in found if match)

    def check(self, name):
        """Raises the sentence that says why no state can be kept in the folder, which is made.

        Args:
            name: str, name used in error messages.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory):
                pass
            ours = [p for p in self.directory.glob("epoch-*.npz") if OURS.fullmatch(p.name)]
            odd = next((p.name for p in ours if odd_file(p)), None)
        except OSError as error:
            raise ValueError(
                f"{name}: backup_dir must be a folder that files can be written in. Received: "
                f"backup_dir={str(self.directory)!r}: {error.strerror or error}. Choose another path."
            ) from None
        if odd:
            raise ValueError(
                f"{name}: the states in backup_dir must be regular files. Received: {odd} in {self.directory}, which "
                "is a link, a folder or a device. Choose another folder."
            )

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
