"""Where files are written: whole, over nothing but regular files, or not at all."""

import errno
import os
import socket

import keras
import pytest

import keras_admm as ka
from keras_admm import files, plots

FULL = os.strerror(errno.ENOSPC)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(path))


def write_protected(path):
    path.write_text("kept")
    path.chmod(0o444)


def link(path):
    path.with_name("target").write_text("kept")
    path.symlink_to("target")


ODD = {
    "folder": (lambda path: path.mkdir(), "Received: a folder"),
    "link": (link, "Received: a link that"),
    "link to nowhere": (lambda path: path.symlink_to("none"), "Received: a link to nowhere"),
    "FIFO": (os.mkfifo, "Received: a FIFO"),
    "socket": (make_socket, "Received: a socket"),
    "write-protected": (write_protected, "write-protected is not written over. Received: one"),
}
WAYS = {
    "whole": lambda path: files.whole(path).__enter__(),
    "ka.save": lambda path: ka.save(None, path),
    "to_html": lambda path: ka.report(small()).to_html(path),
    "plot": lambda path: ka.report(small()).plot(path),
    "plot_history": lambda path: plots.plot_history({}, path),
    "plot_widths": lambda path: plots.plot_widths(small(), small(), path),
}


def small():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])


def found(folder):
    return sorted((p.name, files.kind(p), p.read_text() if p.is_file() else "") for p in folder.iterdir())


@pytest.mark.parametrize("odd", ODD)
def test_only_regular_files_are_written_over(odd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the paths of sockets are short
    make, sentence = ODD[odd]
    path = tmp_path / "out.txt"
    make(path)
    before = found(tmp_path)
    if odd == "write-protected":
        monkeypatch.setattr(os, "access", lambda *args: False)  # root may write everywhere
    with pytest.raises(ValueError, match=f"out.txt: .*{sentence}.*Choose"):
        files.check_place(path)
    assert found(tmp_path) == before


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_looks_before_it_writes(way, tmp_path):
    (tmp_path / "out.png").symlink_to("/dev/full")
    with pytest.raises(ValueError, match="only a regular file is written over.*Received: a link that.*Choose"):
        WAYS[way](tmp_path / "out.png")
    with pytest.raises(ValueError, match="in a folder that can be written. Received: nothing at .*Make"):
        WAYS[way](tmp_path / "none" / "out.png")
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("path", ["/dev/null", "gs://bucket/model.kadmm", "/proc/none.kadmm"])
def test_no_place_for_a_file(path):
    with pytest.raises(ValueError, match="Received: (a device that|an address|No such file).*(Choose|Write)"):
        files.whole(path).__enter__()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, FULL), RuntimeError(f"{{SaveV2}} ; {FULL} [Op:SaveV2]")])
@pytest.mark.parametrize("old", ["old", None])
def test_a_full_disk_leaves_what_was_there(old, error, tmp_path):
    if old:
        (tmp_path / "out.txt").write_text(old)
    with (
        pytest.raises(ValueError, match="out.txt.*room enough. Received: No space left on device. Nothing was.*Choose"),
        files.whole(tmp_path / "out.txt") as partial,
    ):
        partial.write_text("half")
        raise error
    assert found(tmp_path) == ([("out.txt", "a file", "old")] if old else [])


def test_an_old_file_is_written_over(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with files.whole(tmp_path / "out.txt") as partial:
        partial.write_text("new")
    assert found(tmp_path) == [("out.txt", "a file", "new")]
