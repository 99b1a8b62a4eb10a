"""The subprocess that `fresh` starts: it loads a model on the TensorFlow backend and writes its .tflite file."""

import json
from pathlib import Path

import keras
import numpy as np

from keras_admm.errors import reason
from keras_admm.export.tflite.write import litert


def run_job(folder):
    """Exports the model that lies in a folder, and writes the report or the error there."""
    folder = Path(folder)
    job = json.loads((folder / "job.json").read_text())
    model = keras.models.load_model(folder / "model.keras", compile=False)
    given = {}
    with np.load(folder / "data.npz") as arrays:
        for key in arrays.files:
            given.setdefault(key.partition("/")[0], []).append(arrays[key])
    keys = job.pop("keys")
    if keys is not None:
        given = {name: dict(zip(keys, arrays, strict=True)) for name, arrays in given.items()}
    try:
        told = litert(model, **job, **given).to_dict()
    except ValueError as error:
        told = {"error": reason(error, 10_000)}
    (folder / "answer.json").write_text(json.dumps(told))
