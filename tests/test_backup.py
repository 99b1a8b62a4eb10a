"""State files: whole or not at all; and runs that are killed."""

import errno
import functools
import gc
import importlib
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import killed_run
import numpy as np
import pytest

import keras_admm as ka
from keras_admm.backup import Backup

HERE = Path(__file__).parent


def state(number):
    return {"epoch": np.array(number), "w": np.full(100, float(number))}


def test_the_last_two_stay(tmp_path):
    backup = Backup(tmp_path / "run")
    assert backup.newest() is None and backup.epochs() == []
    for epoch in range(1, 5):
        backup.save(epoch, state(epoch))
    assert backup.epochs() == [3, 4]
    assert backup.load(3)["w"].tolist() == [3.0] * 100
    backup.clear()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_half_written_file_is_never_read(tmp_path, share):
    backup = Backup(tmp_path)
    backup.save(1, state(1))
    backup.save(2, state(2))
    newest = tmp_path / "epoch-000002.npz"
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(share * len(whole))])
    assert backup.load(2) is None
    assert backup.newest() == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_write_that_is_cut_off_leaves_the_file_before_it(tmp_path, monkeypatch, error):
    backup = Backup(tmp_path)
    backup.save(1, state(1))

    def cut(file, **arrays):
        file.write(b"PK half")
        raise error

    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(type(error)):
        backup.save(2, state(2))
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-000001.npz"] and backup.newest() == 1


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "epoch-000001.npz", w=np.array([{"a": 1}], dtype=object))
    assert Backup(tmp_path).load(1) is None


FOLDERS = {
    "file": (lambda path: path.touch(), "a file that is there"),
    "in a file": (lambda path: path.parent.touch(), "Not a directory"),
    "link to nowhere": (lambda path: path.symlink_to("none"), "a link to nowhere"),
    "link to a file": (lambda path: (path.with_name("file").touch(), path.symlink_to("file")), "a link that"),
    "FIFO": (os.mkfifo, "a FIFO that"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, case):
    make, received = FOLDERS[case]
    path = tmp_path / "in" / "run" if case == "in a file" else tmp_path / "run"
    make(path)
    with pytest.raises(ValueError, match=f"ADMM: backup_dir must be a folder.*Received: .*{received}.*Choose another"):
        Backup(path).check("ADMM")


@pytest.mark.parametrize("path", ["/dev/null", "gs://bucket/run", "/proc/run"])
def test_what_is_no_folder_is_said(path):
    with pytest.raises(ValueError, match=f"Received: backup_dir='{path}': (a device|an address|No such).*Choose"):
        Backup(path).check("ADMM")


def test_a_file_system_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only")))
    with pytest.raises(ValueError, match="Received: backup_dir=.*: Read-only. Choose"), Backup(tmp_path).check("ADMM"):
        pass


@pytest.mark.parametrize("name", ["epoch-000002.npz", "keras_admm.lock", "keras_admm.partial"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("other"), lambda path: path.mkdir()])
def test_files_that_are_not_regular_are_said(tmp_path, name, make):
    (tmp_path / "other").write_text("kept")
    make(tmp_path / name)
    with pytest.raises(ValueError, match=f"must be regular files. Received: {name} in .* is a .*Choose"):
        Backup(tmp_path).check("ADMM")
    assert (tmp_path / "other").read_text() == "kept"


def test_a_link_to_a_folder_serves(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to("scratch")
    backup = Backup(tmp_path / "run")
    backup.check("ADMM")
    backup.save(1, state(1))
    assert backup.newest() == 1


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "epoch-best.npz").touch()
    backup = Backup(tmp_path)
    backup.check("ADMM")
    backup.save(1, {"a": np.zeros(1)})
    assert backup.epochs() == [1]
    backup.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-best.npz"]


def fit(folder, *callbacks, epochs=4, **kwargs):
    """A model after a fit whose states are in a folder."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(8, 4))
    prune = ka.ADMMPrune(0.5, backup_dir=folder, **kwargs)
    model.fit(x, x[:, :3], epochs=epochs, verbose=0, shuffle=False, callbacks=[prune, *callbacks])
    return model


class At(keras.callbacks.Callback):
    """Calls a function when an epoch begins."""

    def __init__(self, epoch, do):
        super().__init__()
        self.at, self.do, self.begun = epoch, do, []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)
        if epoch == self.at:
            self.do()


def interrupt():
    raise KeyboardInterrupt


def assert_equal_weights(model, other):
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.tensorflow_only
@pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning")
def test_a_full_disk_stops_no_training_and_loses_no_state(tmp_path, monkeypatch):
    whole, full = np.savez, OSError(errno.ENOSPC, "No space left on device")

    def savez(file, **arrays):
        if int(arrays["epoch"]) in (2, 3):
            raise full
        whole(file, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    with pytest.warns(UserWarning) as said:
        try:
            fit(tmp_path, At(3, interrupt))
        except KeyboardInterrupt:
            pass
    first, second = [str(w.message) for w in said if "room for" in str(w.message)]
    sentence = "room for the state .*Received: No space left on device, .*epoch {} begins.*go on from epoch 1. Make"
    assert re.search(sentence.format(2), first) and re.search(sentence.format(3), second)
    monkeypatch.setattr(np, "savez", whole)
    again = At(None, None)
    assert_equal_weights(fit(tmp_path, again), fit(None))
    assert again.begun == [1, 2, 3]


@pytest.mark.tensorflow_only
def test_a_second_run_in_the_folder_of_one_that_is_going_on_is_refused(tmp_path):
    second = At(None, None)

    def begin():
        with pytest.raises(ValueError, match="for one run at a time. Received: .*run.* of this process.*Wait"):
            fit(tmp_path / "run", second)

    fit(tmp_path / "run", At(2, begin))
    assert not second.begun and not (tmp_path / "run").exists()


@pytest.mark.tensorflow_only
@pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning")
def test_a_cell_that_is_interrupted_and_run_again_goes_on(tmp_path):
    """The traceback of the first keeps its fit in memory, as notebooks do; the second model has other names."""
    with pytest.raises(KeyboardInterrupt) as kept:
        fit(tmp_path, At(2, interrupt))
    again = At(None, None)
    model = fit(tmp_path, again)
    assert again.begun == [2, 3]
    assert model.name != fit(None).name
    assert_equal_weights(model, fit(None))
    del kept
    gc.collect()  # the warning of its end comes within this test


KILLS = {"inside a write": "die_in_write", "inside epoch 3": "die_in_epoch"}


def start(folder, library, *options):
    return subprocess.Popen(
        [sys.executable, str(HERE / "killed_run.py"), str(folder), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "KERAS_LIBRARY": library},
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return functools.cache(
        lambda library: killed_run.run(tmp_path_factory.mktemp("whole"), importlib.import_module(library))
    )


def assert_ends_alike(resumed, whole):
    """Same zeros, phases and weights: on TensorFlow's CPU kernels, with the data in order."""
    assert resumed["epochs"] < whole["epochs"]
    assert resumed["rate"] == 0.01  # the user's own, lent to the phases
    for figure in ("kept", "sparsity", "steps", "rate", "weights"):
        assert resumed[figure] == whole[figure], figure


@pytest.mark.tensorflow_only
@pytest.mark.filterwarnings("ignore:.*a fit that was interrupted:UserWarning")  # a killed process says nothing
@pytest.mark.parametrize("library, kill", [*itertools.product(["keras", "tf_keras"], KILLS)])
def test_a_run_that_dies_ends_where_the_uninterrupted_one_does(tmp_path, uninterrupted, library, kill):
    """In this process, of which the second run uses nothing but the files."""
    keras = pytest.importorskip(library)
    with pytest.raises(killed_run.Killed):
        killed_run.run(tmp_path, keras, killed_run.kill_here, **{KILLS[kill]: 3})
    assert_ends_alike(killed_run.run(tmp_path, keras), uninterrupted(library))


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "library, kill",
    [
        ("keras", "inside a write"),
        pytest.param("keras", "inside epoch 3", marks=pytest.mark.nightly),
        pytest.param("keras", "at any moment", marks=pytest.mark.nightly),
        pytest.param("tf_keras", "inside epoch 3", marks=pytest.mark.nightly),
    ],
)
def test_a_killed_process_ends_where_the_uninterrupted_one_does(tmp_path, uninterrupted, library, kill):
    option = {"inside a write": "--die-in-write=4", "inside epoch 3": "--die-in-epoch=3"}.get(kill)
    run = start(tmp_path, library, *([option] if option else ["--slow"]))
    if option:
        run.communicate(timeout=300)
    else:
        for line in run.stdout:
            if line.startswith("epoch 2"):
                time.sleep(0.2)
                os.kill(run.pid, signal.SIGKILL)
                break
        run.communicate(timeout=300)
    assert run.returncode == -signal.SIGKILL
    assert_ends_alike(killed_run.run(tmp_path, importlib.import_module(library)), uninterrupted(library))


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_fifty_kills_at_random_moments_change_nothing(tmp_path, uninterrupted):
    """In a batch, at an epoch's end, in a write. Without Keras's own backup, whose file is written in its place."""
    moments, ends = np.random.default_rng(0).uniform(0, 1.2, 50), 0
    for moment in moments:
        run = start(tmp_path, "keras", "--slow", "--alone")
        for line in run.stdout:
            if line.startswith("epoch"):
                break
        time.sleep(moment)
        run.kill()
        run.communicate(timeout=300)
        assert run.returncode in (0, -signal.SIGKILL)
        ends += run.returncode == 0
    resumed, whole = killed_run.run(tmp_path, importlib.import_module("keras"), alone=True), uninterrupted("keras")
    assert ends < 20  # most of them were killed, and what was killed went on: see the epochs
    for figure in ("kept", "rate", "weights"):
        assert resumed[figure] == whole[figure], figure
