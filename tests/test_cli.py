"""The command line: what it prints, writes and refuses, and the codes that it ends with."""

import json
import os
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_admm as ka
from keras_admm import files, weights
from keras_admm.cli import main

pytestmark = pytest.mark.tensorflow_only


def small(framework=keras):
    model = framework.Sequential([framework.layers.Dense(5, name="a"), framework.layers.Dense(2, name="b")])
    model.build((None, 4))
    return model


@pytest.fixture
def saved(tmp_path):
    small().save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


def run(*words):
    """The exit code of a command."""
    try:
        return main([str(word) for word in words])
    except SystemExit as end:
        return end.code


def test_report_prints_the_table(saved, capsys):
    assert run("report", saved) == 0
    assert capsys.readouterr().out == f"{ka.report(files.load_model(saved))}\n"


def test_report_in_other_forms(saved, capsys, tmp_path):
    assert run("report", saved, "--json", f"--html={tmp_path / 'page.html'}") == 0
    assert json.loads(capsys.readouterr().out)["total"]["weights"] == 30
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert run("report", saved, "--markdown") == 0
    assert capsys.readouterr().out.startswith("| variable |")
    assert run("report", saved, "--details") == 0
    assert "+index x" in capsys.readouterr().out


@pytest.mark.parametrize("allocation, kept", [("global", [5, 1]), ("uniform", [4, 2])])
def test_prune_zeroes_the_smallest(tmp_path, capsys, allocation, kept):
    model, out = small(), tmp_path / "pruned.keras"
    weights.write(model.layers[0].kernel, np.arange(10, 30).reshape(4, 5))
    weights.write(model.layers[1].kernel, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 27.5]])
    model.save(tmp_path / "model.keras")
    assert run("prune", tmp_path / "model.keras", "--sparsity=.8", f"--allocation={allocation}", "-o", out) == 0
    a, b = (weights.read(layer.kernel) for layer in keras.models.load_model(out).layers)
    assert sorted(a[a != 0]) == list(range(30 - kept[0], 30))
    assert sorted(b[b != 0]) == [8, 27.5][-kept[1] :]
    assert "the accuracy was not looked at" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.keras", "pruned.keras"]


def test_numbers_as_json(saved, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.ones((3, 4), "float32"))
    for words in (
        ["prune", saved, "--sparsity=.5", "-o", tmp_path / "pruned.keras"],
        ["pack", saved, "-o", tmp_path / "small.kadmm"],
        ["latency", saved, tmp_path / "small.kadmm", f"--data={tmp_path / 'x.npy'}"],
    ):
        assert run(*words, "--json") == 0
        assert json.loads(capsys.readouterr().out)


def test_nothing_is_written_over_what_is_read(saved, tmp_path):
    model, data = Path(saved).read_bytes(), tmp_path / "test.npz"
    np.savez(data, x=np.ones((2, 4)), y=np.ones(2))
    whole = data.read_bytes()
    for words in (
        ["report", saved, "--html", saved],
        ["dashboard", saved, "--data", data, "-o", saved],
        ["dashboard", saved, "--data", data, "-o", data],
        ["export", saved, "--to=litert", "--quantize=int8", "--data", f"{data}:x", "-o", saved],
    ):
        assert run(*words) == 2
    assert Path(saved).read_bytes() == model and data.read_bytes() == whole


def test_masks_are_no_weights_of_a_packed_file(tmp_path, capsys):
    model = small()
    weights.write(model.layers[0].kernel, np.eye(4, 5))
    ka.mask(model).save(tmp_path / "mask.keras")
    assert run("pack", tmp_path / "mask.keras", "-o", tmp_path / "mask.kadmm", "--json") == 0
    assert json.loads(capsys.readouterr().out)["float32_bytes"] == 4 * model.count_params()


def test_a_model_whose_last_kernel_leaves(tmp_path, capsys):
    x = keras.Input((4,))
    zero = keras.layers.Dense(4, kernel_initializer="zeros")
    keras.Model(x, keras.layers.Add()([x, zero(x)])).save(tmp_path / "dead.keras")
    assert run("shrink", tmp_path / "dead.keras", "-o", tmp_path / "small.keras") == 0
    assert capsys.readouterr().out.startswith("16 -> 0 weights, 16 -> 0 MACs\n")


def test_errors_of_the_backend_are_sentences(saved, tmp_path, capsys, monkeypatch):
    class Strange(Exception):
        pass

    def fails(*args, **options):
        raise Strange("no such index")

    monkeypatch.setattr("keras_admm.reporting.report", fails)
    assert run("report", saved) == 1
    assert capsys.readouterr().err == "keras-admm: Strange: no such index\n"


def test_a_batch_has_as_many_samples_as_were_asked_for(saved, tmp_path, capsys):
    np.savez(tmp_path / "x.npz", **{"input:0": np.ones((3, 4), "float32")})
    assert run("latency", saved, saved, f"--data={tmp_path}/x.npz:input:0", "--batch=3") == 0
    assert run("latency", saved, saved, f"--data={tmp_path}/x.npz:input:0", "--batch=4") == 2
    assert "--batch needs as many samples. Received: --batch=4" in capsys.readouterr().err


def test_pack_and_unpack(saved, tmp_path, capsys):
    packed, back = tmp_path / "model.kadmm", tmp_path / "back.keras"
    assert run("pack", saved, "-o", packed) == 0
    assert f"-> {packed.stat().st_size:,} bytes" in capsys.readouterr().out
    assert run("unpack", packed, "-o", back) == 0
    for a, b in zip(files.load_model(saved).weights, keras.models.load_model(back).weights, strict=True):
        assert np.array_equal(a, b)


def test_a_packed_file_is_a_model_of_every_command(saved, tmp_path, capsys):
    packed = tmp_path / "model.kadmm"
    assert run("pack", saved, "-o", packed) == 0
    np.save(tmp_path / "x.npy", np.ones((3, 4), "float32"))
    capsys.readouterr()
    assert run("report", packed) == 0
    assert f"{ka.report(files.load_model(saved))}".splitlines()[-2:] == capsys.readouterr().out.splitlines()[-2:]
    assert run("prune", packed, "--sparsity=.5", "-o", tmp_path / "pruned.keras") == 0
    with pytest.warns(UserWarning, match="no channel is dead"):
        assert run("shrink", packed, "-o", tmp_path / "small.keras") == 0
    assert run("latency", packed, saved, f"--data={tmp_path / 'x.npy'}") == 0


def test_shrink_takes_out_what_is_dead(tmp_path, capsys):
    model = small()
    weights.write(model.layers[0].kernel, np.ones((4, 5)) * [1, 0, 1, 1, 0])
    model.save(tmp_path / "model.keras")
    assert run("shrink", tmp_path / "model.keras", "-o", tmp_path / "small.keras") == 0
    assert "30 -> 18 weights" in capsys.readouterr().out
    assert run("shrink", tmp_path / "model.keras", "--json", "-o", tmp_path / "small.keras") == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["before"]["weights"], counts["after"]["weights"]) == (30, 18)
    assert keras.models.load_model(tmp_path / "small.keras").layers[0].units == 3
    assert run("shrink", tmp_path / "model.keras", "--round-to=4", "-o", tmp_path / "four.keras") == 0
    assert keras.models.load_model(tmp_path / "four.keras").layers[0].units == 4


def test_prune_leaves_what_is_excluded(saved, tmp_path):
    assert run("prune", saved, "--sparsity=.5", "--exclude=b", "-o", tmp_path / "out.keras") == 0
    assert [row.kept for row in ka.report(keras.models.load_model(tmp_path / "out.keras")).rows] == [10, 10]


def test_prune_a_tf_keras_model(tmp_path, capsys):
    tf_keras = pytest.importorskip("tf_keras")
    small(tf_keras).save(tmp_path / "legacy.keras")
    assert run("prune", tmp_path / "legacy.keras", "--sparsity=.5", "-o", tmp_path / "out.keras") == 0
    pruned = tf_keras.models.load_model(tmp_path / "out.keras", compile=False)
    assert sum(int(np.count_nonzero(layer.kernel.numpy())) for layer in pruned.layers) == 15


@pytest.mark.parametrize("name", ["model.h5", "legacy.h5", "legacy.keras", "legacy_saved_model"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_each_kind_of_file_is_opened_by_the_keras_that_wrote_it(name, tmp_path, capsys):
    tf_keras = pytest.importorskip("tf_keras")
    small(tf_keras if "legacy" in name else keras).save(tmp_path / name)
    assert weights.is_tf_keras(files.load_model(tmp_path / name)) == ("legacy" in name)
    assert run("report", tmp_path / name) == 0
    assert capsys.readouterr().out.splitlines()[3].split()[:3] == ["total", "30", "30"]


def test_export_a_saved_model(saved, tmp_path, capsys):
    assert run("export", saved, "--to=savedmodel", "-o", tmp_path / "served") == 0
    import tensorflow as tf

    served = tf.saved_model.load(tmp_path / "served")
    x = np.ones((1, 4), "float32")
    np.testing.assert_allclose(served.serve(x), files.load_model(saved)(x), rtol=1e-5)


def test_export_hands_its_words_on(saved, tmp_path, monkeypatch, capsys):
    given = {}
    export = pytest.importorskip("keras_admm.export")

    def litert(model, path, **kwargs):
        given.update(kwargs, path=path, shape=model.output_shape)
        return "what litert reported"

    monkeypatch.setattr(export, "litert", litert)
    np.savez(tmp_path / "x.npz", x=np.ones((600, 4), "float32"), y=np.ones(600))
    out = str(tmp_path / "m.tflite")
    words = ["export", saved, "--to=litert", "--quantize=int8", f"--data={tmp_path}/x.npz:x", "-o", out]
    assert run(*words) == 0
    assert given.pop("representative_data").shape == (500, 4)
    assert given == {"quantize": "int8", "path": out, "shape": (None, 2)}
    assert capsys.readouterr().out.splitlines() == ["what litert reported", f"Written: {out}"]


def test_export_to_litert(saved, tmp_path):
    pytest.importorskip("keras_admm.export.litert")
    from ai_edge_litert.interpreter import Interpreter

    assert run("export", saved, "--to=litert", "-o", tmp_path / "m.tflite") == 0
    interpreter = Interpreter(str(tmp_path / "m.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 4), "float32"))
    interpreter.invoke()
    value = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(value, files.load_model(saved)(np.ones((1, 4), "float32")), atol=1e-5)


def test_export_to_tf_keras(saved, tmp_path):
    pytest.importorskip("keras_admm.export")
    assert run("export", saved, "--to=tf_keras", "-o", tmp_path / "twin.keras") == 0
    twin = files.load_model(tmp_path / "twin.keras")
    assert weights.is_tf_keras(twin)
    x = np.ones((3, 4), "float32")
    np.testing.assert_allclose(twin(x), files.load_model(saved)(x), atol=1e-5)


def test_latency_prints_a_ratio(saved, tmp_path, capsys):
    pytest.importorskip("keras_admm.timing")
    np.save(tmp_path / "x.npy", np.ones((8, 4), "float32"))
    assert run("latency", saved, saved, f"--data={tmp_path}/x.npy") == 0
    assert capsys.readouterr().out.strip()


def with_lambda(folder):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x), layers.Dense(2)])
    model.save(folder / "lambda.keras")
    return folder / "lambda.keras"


def with_legacy_lambda(name):
    def make(folder):
        tf_keras = pytest.importorskip("tf_keras")
        tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Lambda(lambda x: x)]).save(folder / name)
        return folder / name

    return make


def zipped(folder):
    with zipfile.ZipFile(folder / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    return folder / "other.keras"


def cut_off(folder):
    small().save(folder / "cut.keras")
    with zipfile.ZipFile(folder / "cut.keras") as whole, zipfile.ZipFile(folder / "less.keras", "w") as less:
        for name in ("metadata.json", "config.json"):
            less.writestr(name, whole.read(name))
    return folder / "less.keras"


def text(folder):
    (folder / "text.keras").write_text("no model")
    return folder / "text.keras"


def weights_alone(folder):
    small().save_weights(folder / "m.weights.h5")
    return folder / "m.weights.h5"


def cut_h5(folder):
    small().save(folder / "m.h5")
    (folder / "m.h5").write_bytes((folder / "m.h5").read_bytes()[:3000])
    return folder / "m.h5"


def with_class_of_its_own(folder):
    own = type("Own", (layers.Layer,), {"call": lambda self, x: x})
    keras.Sequential([keras.Input((2,)), own()]).save(folder / "own.keras")
    return folder / "own.keras"


def of_a_strange_version(folder):
    with zipfile.ZipFile(folder / "strange.keras", "w") as archive:
        archive.writestr("metadata.json", "[]")
        archive.writestr("config.json", "{}")
    return folder / "strange.keras"


def served(folder):
    small().export(str(folder / "served"), verbose=False)
    return folder / "served"


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda folder: folder / "none.keras", "a path to nothing"),
        (lambda folder: folder, "a folder without saved_model.pb"),
        (text, "a file of another kind"),
        (zipped, "a zip file without a model's description"),
        (cut_off, "must hold a model that Keras 3 can open"),
        (weights_alone, "weights without an architecture"),
        (cut_h5, "Received: a damaged .h5 file"),
        (of_a_strange_version, "a zip file without a model's description"),
        (with_class_of_its_own, "Could not locate class 'Own'.* import the module that registers them"),
        (served, "made to be served"),
        (with_lambda, "code of its own .* with a Lambda layer"),
        (with_legacy_lambda("m.h5"), "code of its own .* with a Lambda layer"),
        (with_legacy_lambda("folder"), "code of its own .* with a Lambda layer"),
    ],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_foreign_file_gets_a_sentence(make, sentence, tmp_path, capsys):
    path = make(tmp_path)
    assert run("report", path) == 1
    told = capsys.readouterr().err
    assert re.search(sentence, told) and str(path) in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        ([], 2, "COMMAND"),
        (["train"], 2, "train"),
        (["report"], 2, "MODEL"),
        (["report", "MODEL", "--json", "--markdown"], 2, "not allowed with"),
        (["prune", "MODEL", "-o", "out.keras"], 2, "--sparsity"),
        (["prune", "MODEL", "--sparsity=1.5", "-o", "out.keras"], 2, "must be a number in [0, 1)"),
        (["prune", "MODEL", "--sparsity=.5", "--allocation=most", "-o", "out.keras"], 2, "'most'"),
        (["prune", "MODEL", "--sparsity=.5", "-o", "MODEL"], 2, "must not be an input"),
        (["prune", "MODEL", "--sparsity=.5", "-o", "none/out.keras"], 2, "must be in a folder that can be written"),
        (["prune", "MODEL", "--sparsity=.5", "-o", "out.zip"], 2, "must end in .keras"),
        (["shrink", "MODEL", "-o", "out"], 2, "must end in .keras"),
        (["report", "MODEL", "--html=none/page.html"], 2, "must be in a folder that can be written"),
        (["prune", "MODEL", "--sparsity=.5", "--layers=conv*", "-o", "out.keras"], 2, "chooses none of"),
        (["export", "MODEL", "--to=onnx", "-o", "out"], 2, "onnx"),
        (["export", "MODEL", "--to=savedmodel", "--quantize=int8", "-o", "out"], 2, "--to=litert"),
        (["export", "MODEL", "--to=savedmodel", "-o", "."], 2, "Received: a folder that"),
        (["export", "MODEL", "--to=litert", "--data=none.npy", "-o", "out.tflite"], 1, "none.npy"),
        (["export", "MODEL", "--to=litert", "--quantize=int8", "-o", "out.tflite"], 2, "--quantize=int8 needs --data"),
        (["export", "MODEL", "--to=litert", "--quantize=int9", "-o", "out.tflite"], 2, "int9"),
        (["export", "MODEL", "--to=litert", "-o", "out.keras"], 2, "must end in .tflite"),
        (["export", "MODEL", "--to=tf_keras", "-o", "out.zip"], 2, "must end in .keras"),
        (["latency", "MODEL", "MODEL"], 2, "--data"),
        (["latency", "MODEL", "MODEL", "--data=x.npy", "--threads=0"], 2, "must be an integer >= 1. Received: 0"),
        (["dashboard", "MODEL", "--data=x.npz", "--steps=-1"], 2, "must be an integer >= 0. Received: -1"),
        (["dashboard", "MODEL", "--data=x.npy"], 2, "--data must be FILE.npz"),
        (["shrink", "MODEL", "-o", "x" * 300 + ".keras"], 2, "no name in it above 255 bytes"),
        (["report", "x" * 300 + ".kadmm"], 1, "no name in it above 255 bytes"),
        (["shrink", "x" * 300, "-o", "out.keras"], 1, "no name in it above 255 bytes"),
        (["shrink", "MODEL", "--round-to=x", "-o", "out"], 2, "must be an integer >= 1. Received: x"),
        (["pack", "MODEL", "-o", "out.keras"], 2, "must end in .kadmm"),
        (["pack", "MODEL", "-o", "MODEL"], 2, "must not be an input"),
        (["unpack", "MODEL", "-o", "out.keras"], 2, "must be a .kadmm file"),
        (["report", "none.kadmm"], 1, "none.kadmm"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words, code, sentence, saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*(saved if word == "MODEL" else word for word in words)) == code
    told = capsys.readouterr().err
    assert sentence in told and "Traceback" not in told
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("x.npz", "must be named"),
        ("x.npz:z", "['x', 'y']"),
        ("p.npy", "Object arrays cannot be loaded"),
        ("o.npz:x", "Object arrays cannot be loaded"),
        ("t.npy", "pickled (object) data"),
        ("empty.npy", "No data left in file"),
        ("cut.npz:x", "File is not a zip file"),
        ("changed.npz:x", "Bad CRC-32"),
        ("packed.npz:x", "Error -3 while decompressing"),
        ("number.npy", "float64, shape ()"),
        ("words.npy", "<U1, shape (1,)"),
        ("bytes.npz:x", "Received: bytes"),
    ],
)
def test_data_that_is_none_gets_a_sentence(name, sentence, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones(2), y=np.zeros(2))
    np.save(tmp_path / "p.npy", np.array([{}], dtype=object))
    (tmp_path / "t.npy").write_text("no array")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "number.npy", np.float64(1))
    np.save(tmp_path / "words.npy", ["a"])
    np.savez(tmp_path / "o.npz", x=np.array([{}], dtype=object))
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:100])
    (tmp_path / "changed.npz").write_bytes(whole.replace(np.ones(2).tobytes(), np.ones(2).tobytes()[::-1]))
    np.savez_compressed(tmp_path / "whole.npz", x=np.arange(100.0))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "packed.npz").write_bytes(whole[:60] + b"\xff" * 20 + whole[80:])
    with zipfile.ZipFile(tmp_path / "bytes.npz", "w") as archive:
        archive.writestr("x", b"no array")
    with pytest.raises(ValueError) as error:
        files.load_array(str(tmp_path / name))
    assert sentence in str(error.value) and str(tmp_path) in str(error.value)


def test_data_is_read_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones(2), y=np.zeros(3))
    np.savez(tmp_path / "one.npz", only=np.ones(4))
    assert files.load_array(f"{tmp_path}/x.npz:y").shape == (3,)
    assert files.load_array(f"{tmp_path}/one.npz").shape == (4,)
    assert {name: a.shape for name, a in files.load_array(f"{tmp_path}/x.npz", ["y"]).items()} == {"y": (3,)}
    with pytest.raises(ValueError, match=r"must have an array of the name 'z'. Received: \['x', 'y'\]"):
        files.load_array(f"{tmp_path}/x.npz:z", ["y"])
    with pytest.raises(ValueError, match=r"x.npz:NAME, or an array for each input there: a, x"):
        files.load_array(f"{tmp_path}/x.npz", ["a", "x"])


def test_several_inputs_are_read_by_their_names(tmp_path, monkeypatch):
    b, a = keras.Input((3,), name="b"), keras.Input((2,), name="a")
    model = keras.Model([b, a], keras.layers.Concatenate()([b, a]))
    model.save(tmp_path / "two.keras")
    np.savez(tmp_path / "two.npz", a=np.full((600, 2), 1.0), b=np.full((600, 3), 2.0), more=np.ones(600))
    taken = {}
    monkeypatch.setattr(ka.export, "litert", lambda *args, **options: taken.update(options) or ka.report(model))
    words = ["--to=litert", "--quantize=int8", "--data", tmp_path / "two.npz"]
    assert run("export", tmp_path / "two.keras", *words, "-o", tmp_path / "two.tflite") == 0
    assert {name: (*array.shape, array.max()) for name, array in taken["representative_data"].items()} == {
        "b": (500, 3, 2.0),
        "a": (500, 2, 1.0),
    }
    both = ["latency", tmp_path / "two.keras", tmp_path / "two.keras", "--data", tmp_path / "two.npz"]
    assert run(*both) == 0


def test_the_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"keras-admm {ka.__version__}\n"


def test_options_are_named_as_typed(saved, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.ones((3, 7), "float32"))
    data = f"--data={tmp_path / 'x.npy'}"
    assert run("export", saved, "--to=litert", "--quantize=int8", data, "-o", tmp_path / "out.tflite") == 1
    told = capsys.readouterr().err
    assert "--data" in told and "representative_data" not in told
    assert run("prune", saved, "--sparsity=2", "-o", tmp_path / "out.keras") == 2
    told = capsys.readouterr().err
    assert "prune: error: --sparsity must be a number in [0, 1), the share of zeros. Received: --sparsity=2.0." in told


def test_what_takes_long_is_told_on_standard_error(saved, capsys, monkeypatch):
    assert run("report", saved) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("keras_admm.cli.commands.SILENT", 0.0)
    assert run("report", saved) == 0
    assert f"keras-admm: opening {saved} ..." in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(saved):
    """As `keras-admm report model.keras | head -0` has it."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        told = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from keras_admm.cli import main; sys.exit(main(['report', sys.argv[1]]))",
                saved,
            ],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(ka.__file__).parent.parent)},
        )
    finally:
        os.close(writer)
    assert told.returncode == 0 and "Broken pipe" not in told.stderr and "Traceback" not in told.stderr


COMMANDS = ["report", "prune", "shrink", "pack", "unpack", "export", "latency", "dashboard"]


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help(words, capsys):
    assert run(*words) == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: keras-admm")
    assert max(map(len, told.splitlines())) <= 120
    assert "--help " in told and "--helpfull" not in told
    if words == ["--help"]:
        assert all(f"\n  {command} " in told for command in COMMANDS)


def test_dashboard_of_two_models(tmp_path, capsys):
    for name in ("dense", "small"):
        model = keras.Sequential([keras.Input((6, 4)), layers.Flatten(), layers.Dense(2, "softmax")])
        model.save(tmp_path / f"{name}.keras")
    np.savez(tmp_path / "test.npz", x=np.eye(4)[np.arange(18).reshape(3, 6) % 4], y=[0, 1, 1])
    files_, page = [tmp_path / "dense.keras", tmp_path / "small.keras"], tmp_path / "page.html"
    words = ["--data", tmp_path / "test.npz", "--alphabet=ACGT", "--steps=2", "-o", page]
    assert run("dashboard", *files_, *words) == 0
    told = capsys.readouterr().out
    assert "small beside dense" in told and f"Written: {page}" in told
    assert "What dense, small look at" in page.read_text()
    assert run("dashboard", *files_, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)
    assert run("dashboard", files_[0], *files_, *words) == 2
    assert "each model must be given once. Received: " in capsys.readouterr().err
    assert run("dashboard", *files_, "--data", tmp_path / "test.npz", "--alphabet=AC", "-o", page) == 1
    assert "--alphabet must be a str of 4 different letters" in capsys.readouterr().err


def test_as_a_module(saved, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["keras-admm", "report", str(saved)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("keras_admm", run_name="__main__")
    assert "total" in capsys.readouterr().out


@pytest.mark.nightly
@pytest.mark.parametrize("words, code", [(["report", "model.keras"], 0), (["report", "none.keras"], 1)])
def test_as_a_module_in_a_fresh_process(words, code, saved):
    here = Path(saved).parent
    told = subprocess.run(
        [sys.executable, "-m", "keras_admm", *words],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(Path(ka.__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == code
    assert ("total" in told.stdout) == (code == 0)
    assert "Traceback" not in told.stderr
