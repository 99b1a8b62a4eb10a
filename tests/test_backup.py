"""State files: whole or not at all; and runs that are killed."""

import functools
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed_run
import numpy as np
import pytest

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


def test_a_write_that_is_cut_off_leaves_the_file_before_it(tmp_path, monkeypatch):
    backup = Backup(tmp_path)
    backup.save(1, state(1))

    def cut(file, **arrays):
        file.write(b"PK half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(KeyboardInterrupt):
        backup.save(2, state(2))
    assert backup.epochs() == [1] and backup.newest() == 1


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "epoch-000001.npz", w=np.array([{"a": 1}], dtype=object))
    assert Backup(tmp_path).load(1) is None


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(
            ValueError, match="ADMM: backup_dir must be a folder.*Received: backup_dir=.*Choose another"
        ):
            Backup(path).check("ADMM")
    (tmp_path / "epoch-000002.npz").symlink_to(tmp_path / "file")
    with pytest.raises(ValueError, match="must be regular files. Received: epoch-000002.npz in .*Choose"):
        Backup(tmp_path).check("ADMM")


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "epoch-best.npz").touch()
    backup = Backup(tmp_path)
    backup.check("ADMM")
    backup.save(1, {"a": np.zeros(1)})
    assert backup.epochs() == [1]
    backup.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-best.npz"]


KILLS = {"inside a write": "die_in_write", "inside epoch 3": "die_in_epoch"}


def start(folder, library, *options):
    return subprocess.Popen(
        [sys.executable, str(HERE / "killed_run.py"), str(folder), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "KERAS_LIBRARY": library},
    )


def finish(folder, library):
    run = start(folder, library)
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0
    return json.loads(out.splitlines()[-1])


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
    assert_ends_alike(finish(tmp_path, library), uninterrupted(library))
