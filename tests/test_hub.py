"""SavedModels as TF Hub has them: pruned in tf_keras and in Keras 3, saved, and served by a fresh process."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_admm as ka

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

pytestmark = pytest.mark.tensorflow_only
tk = pytest.importorskip("tf_keras")
example = importlib.import_module("tfhub_compress")

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(32, 8, 8, 1)).astype("float32"), RNG.integers(0, 10, 32)
TEXT = np.array(["good", "bad word", "a good word", "bad bad"] * 8)
SERVED = """
import json, sys
import numpy as np, tensorflow as tf
def served(path, x):
    model = tf.saved_model.load(path)
    x = tf.constant(x.astype(str)) if x.dtype.kind == "U" else tf.constant(x)
    outputs = (model.serve if hasattr(model, "serve") else model)(x).numpy()
    return outputs.tolist(), {v.name.split(":")[0]: int((v.numpy() != 0).sum()) for v in model.variables}
if sys.argv[1:2] == ["serve"]:
    print(json.dumps(served(sys.argv[2], np.load(sys.argv[3]))))
"""


def served(path, x, fresh, folder):
    """The outputs and the non-zeros of what was exported, in a process that knows nothing of ours or in this one."""
    if not fresh:
        here = {"__name__": "served"}
        exec(SERVED, here)
        return here["served"](path, x)
    np.save(folder / "x.npy", x)
    command = [sys.executable, "-c", SERVED, "serve", path, str(folder / "x.npy")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    return {
        "images": example.make_image_module(str(folder / "images"), ((IMAGES, LABELS), None)),
        "text": example.make_text_module(str(folder / "text"), buckets=50, width=4),
    }


def built(kind, modules):
    if kind == "keras":
        return example.in_keras(modules["images"], (8, 8, 1), 10), IMAGES, LABELS
    if kind == "images":
        return example.in_tf_keras(modules["images"], (8, 8, 1), "float32", 10), IMAGES, LABELS
    import tensorflow as tf

    return example.in_tf_keras(modules["text"], (), "string", 2), tf.constant(TEXT), LABELS % 2


@pytest.mark.parametrize(
    "kind, fresh",
    [
        ("images", True),
        ("text", False),
        ("keras", False),
        pytest.param("text", True, marks=pytest.mark.nightly),
        pytest.param("keras", True, marks=pytest.mark.nightly),
    ],
)
def test_a_module_is_pruned_and_served(kind, fresh, modules, tmp_path):
    model, x, y = built(kind, modules)
    model.fit(x, y, epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.9)])
    report = ka.report(model)
    assert report.total.kept == round(0.1 * report.total.weights)
    path = str(tmp_path / "served")
    model.export(path, verbose=False) if kind == "keras" else model.save(path, save_format="tf")
    outputs, kept = served(path, TEXT if kind == "text" else IMAGES, fresh, tmp_path)
    np.testing.assert_allclose(outputs, model.predict(x, verbose=0), atol=1e-5)
    # TFSMLayer puts an underscore where the SavedModel has a slash.
    kept = {name.replace("/", "_"): count for name, count in kept.items()}
    assert {row.name.replace("/", "_"): row.kept for row in report.rows}.items() <= kept.items()


def test_it_is_saved_while_it_is_held(modules, tmp_path):
    """As ModelCheckpoint does."""
    model, x, y = built("images", modules)
    save = tk.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: model.save(str(tmp_path / f"{epoch}"), save_format="tf")
    )
    model.fit(x, y, epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.9), save])
    again = tk.models.load_model(str(tmp_path / "1"))
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_what_is_taken_is_chosen_by_name_rank_and_size(modules):
    model, _, _ = built("images", modules)
    assert list(ka.weights.select(model)) == ["conv/kernel", "features/kernel", *list(ka.weights.select(model))[2:]]
    assert list(ka.weights.select(model, layers="features/*")) == ["features/kernel"]
    large = ka.weights.select(model, layers=lambda v: len(v.shape) > 1 and v.shape.num_elements() > 1000)
    assert list(large) == ["features/kernel"]


def test_a_keras_model_can_be_exported_after_its_run(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), epochs=2, verbose=0, callbacks=[ka.ADMMPrune(0.5)])
    model.export(str(tmp_path / "model"), verbose=False)
    assert (tmp_path / "model" / "saved_model.pb").exists()
