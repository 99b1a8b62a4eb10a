"""A folder's lock: one run at a time, in this process and among others, and free when its process has died."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from keras_admm import lock
from keras_admm.lock import Lock

TAKEN = "ADMM: a backup_dir is for one run at a time. Received: .* another run of {} is going on. Wait .* or give"
# The file alone, which needs the standard library only.
ELSEWHERE = """
import os, runpy, signal, sys
lock = runpy.run_path(sys.argv[1])["Lock"]("ADMM", sys.argv[2], lambda: True)
print("locked", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def take(folder, going=True):
    return Lock("ADMM", folder, lambda: going)


def elsewhere(folder):
    command = [sys.executable, "-c", ELSEWHERE, lock.__file__, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_run_at_a_time(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    first = take(tmp_path)
    for same in (tmp_path, tmp_path / "link"):
        with pytest.raises(ValueError, match=TAKEN.format("this process")):
            take(same)
    first.release(), first.release()
    assert [p.name for p in tmp_path.iterdir()] == ["link"]
    take(tmp_path).release()


def test_a_run_that_has_ended_leaves_the_lock_to_the_next(tmp_path):
    ended = take(tmp_path, going=False)
    next_one = take(tmp_path)
    ended.release()
    with pytest.raises(ValueError, match=TAKEN.format("this process")):
        take(tmp_path)
    next_one.release()


def test_another_process_is_kept_out(tmp_path):
    mine = take(tmp_path)
    _, told = elsewhere(tmp_path).communicate("")
    assert told.strip().endswith("give each run a backup_dir of its own.") and f"of process {os.getpid()} is" in told
    mine.release()


def test_the_lock_dies_with_its_process(tmp_path):
    other = elsewhere(tmp_path)
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(ValueError, match=TAKEN.format(f"process {other.pid}")):
        take(tmp_path)
    other.communicate("")
    assert other.returncode == -signal.SIGKILL
    take(tmp_path).release()


def test_a_file_that_another_run_removes_meanwhile_is_no_lock(tmp_path, monkeypatch):
    real, removed = lock._lock, []

    def late(file):
        real(file)
        if not removed:
            (tmp_path / lock.NAME).unlink()
            removed.append(True)

    monkeypatch.setattr(lock, "_lock", late)
    mine = take(tmp_path)
    assert mine._is_there(mine._file)
    mine.release()


def test_a_folder_that_cannot_be_locked_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", None)
    with pytest.warns(UserWarning, match="one run at a time. Received: .*cannot be locked .*See to it"):
        take(tmp_path).release()


def test_a_lock_that_cannot_be_opened_is_said(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ValueError, match="must be a folder.*Received: .*keras_admm.lock: Permission denied. Remove"):
        take(tmp_path)
