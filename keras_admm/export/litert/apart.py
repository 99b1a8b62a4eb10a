"""A conversion in a process of its own, where what crashes takes nothing else with it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_admm.export.litert.convert import ConverterError, convert

CODE = "import sys; from keras_admm.export.litert.apart import answer; answer(sys.argv[1])"


def convert_apart(folder, samples, **options):
    """`convert(folder, samples=samples, **options)`, done by a fresh Python.

    Args:
        folder: of the SavedModel.
        samples: a list of dicts of input name to an array of one batch.
        options: those of `convert`.

    Raises:
        ConverterError: for a model that the converter cannot take, or on which it crashes.
    """
    with tempfile.TemporaryDirectory() as room:
        room = Path(room)
        arrays = {f"{i}/{name}": a for i, sample in enumerate(samples or []) for name, a in sample.items()}
        np.savez(room / "samples.npz", **arrays)
        (room / "job.json").write_text(json.dumps({"folder": str(folder), **options}))
        run = subprocess.run([sys.executable, "-c", CODE, str(room)], env=environment(), capture_output=True, text=True)
        if (room / "error.txt").exists():
            raise ConverterError((room / "error.txt").read_text())
        if run.returncode or not (room / "model.tflite").exists():
            raise Crash(f"the process that ran the converter ended with status {run.returncode}")
        return (room / "model.tflite").read_bytes()


class Crash(ConverterError):
    """The converter has ended its process."""


def environment():
    """What a fresh Python needs in order to find this package and to use TensorFlow."""
    where = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": where}


def answer(room):
    """Does the job that lies in a folder, and leaves the answer there."""
    room = Path(room)
    job = json.loads((room / "job.json").read_text())
    samples = {}
    with np.load(room / "samples.npz") as arrays:
        for key in arrays.files:
            index, _, name = key.partition("/")
            samples.setdefault(int(index), {})[name] = arrays[key]
    try:
        content = convert(samples=[samples[i] for i in sorted(samples)] or None, **job)
    except ConverterError as error:
        (room / "error.txt").write_text(str(error))
    else:
        (room / "model.tflite").write_bytes(content)
