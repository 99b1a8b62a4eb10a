"""Export of models on JAX or torch: a subprocess loads them on the TensorFlow backend."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_admm.errors import cut
from keras_admm.export.tflite.apart import environment
from keras_admm.export.tflite.flatbuffer import INSTALL
from keras_admm.export.tflite.report import LiteRTReport

CODE = "import sys; from keras_admm.export.tflite.worker import run_job; run_job(sys.argv[1])"


def in_fresh_process(model, path, given, keys, options):
    """What `litert` returns or raises in a subprocess on the TensorFlow backend.

    Args:
        model: a Keras model on JAX or torch, which must survive saving and loading.
        path: of the file to write.
        given: a dict of the data arguments, each a list of arrays.
        keys: by which the model is called with them, if it is called with a dict, or None.
        options: a dict of the others.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(f"litert: the converter of .tflite files is in tensorflow. {INSTALL}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save(folder / "model.keras")
        np.savez(
            folder / "data.npz", **{f"{name}/{i}": a for name, list_ in given.items() for i, a in enumerate(list_)}
        )
        (folder / "job.json").write_text(json.dumps({"path": str(Path(path).resolve()), "keys": keys, **options}))
        run = subprocess.run(
            [sys.executable, "-c", CODE, str(folder)], env=environment(), capture_output=True, text=True
        )
        if run.returncode:
            raise ValueError(
                f"{model.name}: a model on {keras.backend.backend()} is rebuilt on TensorFlow to be exported, so that "
                f"its layers must load there, in a process that imports Keras alone. Received: {_last(run)}. Where "
                "layers or functions are your own, save the model, and load and export it in a program of yours with "
                "KERAS_BACKEND=tensorflow."
            )
        told = json.loads((folder / "answer.json").read_text())
    if "error" in told:
        raise ValueError(told["error"])
    return LiteRTReport.from_dict(told)


def _last(run):
    said = run.stderr.strip().splitlines()
    return cut(said[-1])[:300] if said else f"a process that ended with status {run.returncode}"
