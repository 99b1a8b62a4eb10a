"""A lock on a folder, for one training run at a time; it dies with its process."""

import contextlib
import os
import threading
import warnings
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None
try:
    import msvcrt
except ImportError:
    msvcrt = None

NAME = "keras_admm.lock"

_HELD = {}  # by process and folder: the system's locks are those of processes, and know nothing of a second run in one
_GUARD = threading.Lock()


class Lock:
    """A folder's lock, held until `release` or the end of the process.

    Args:
        name: str, name used in error messages.
        folder: path of a folder that is there.
        going: function that tells whether the run that takes the lock is still going on. A run that has ended in an
            exception may be kept in memory with its traceback: another one of the same process takes its lock then.

    Raises:
        ValueError: when another run, of this process or another, holds the lock.
    """

    def __init__(self, name, folder, going):
        self._name, self._going = name, going
        self._path = Path(folder) / NAME
        self._process = os.getpid()
        self._key = self._process, os.path.realpath(folder)
        with _GUARD:
            before = _HELD.get(self._key)
            if before is not None and before._going():
                raise self._taken("of this process")
            if before is not None:
                before.release()
            self._file = self._take()
            _HELD[self._key] = self

    def release(self):
        """Give the folder free, and remove the lock's file. Safe to call again."""
        if _HELD.get(self._key) is not self or self._process != os.getpid():  # a fork has the object, not the lock
            return
        del _HELD[self._key]
        with contextlib.suppress(OSError):  # Windows removes no file that is open: it stays, and is locked no more
            if self._is_there(self._file):
                self._path.unlink()
        os.close(self._file)

    def _take(self):
        while True:
            file = self._open()
            try:
                _lock(file)
            except (BlockingIOError, PermissionError):
                number = self._number(file)
                os.close(file)
                raise self._taken(f"of process {number}") from None
            except OSError as error:
                self._warn(error.strerror)
            if self._is_there(file):
                break
            os.close(file)  # of a run that has ended meanwhile and removed it
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, str(self._process).encode())
        return file

    def _open(self):
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise ValueError(
                f"{self._name}: a backup_dir must be a folder that files can be written in. Received: {self._path}: "
                f"{error.strerror}. Remove that file if no run is going on, or choose another folder."
            ) from None

    def _number(self, file):
        with contextlib.suppress(OSError):
            return os.read(file, 20).decode(errors="replace")
        return "unknown"

    def _is_there(self, file):
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _taken(self, whose):
        return ValueError(
            f"{self._name}: a backup_dir is for one run at a time. Received: {self._path.parent}, in which another run "
            f"{whose} is going on. Wait for its end, or give each run a backup_dir of its own."
        )

    def _warn(self, why):
        warnings.warn(
            f"{self._name}: a backup_dir is for one run at a time. Received: {self._path.parent}, which cannot be "
            f"locked ({why}). See to it that no other run uses it.",
            stacklevel=2,
        )


def _lock(file):
    """Lock an open file or raise an OSError, a BlockingIOError or PermissionError where another process has it."""
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        raise OSError(0, "this system has no locks")
