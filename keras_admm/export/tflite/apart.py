"""TensorFlow's converter in a subprocess, so that a crash of it does not end this process."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_admm.export.tflite.convert import ConverterError, convert

CODE = "import sys; from keras_admm.export.tflite.apart import run_job; run_job(sys.argv[1])"


def convert_apart(folder, samples, **options):
    """`convert(folder, samples=samples, **options)` in a subprocess.

    Args:
        folder: of the SavedModel.
        samples: a list of dicts of input name to an array of one batch.
        options: those of `convert`.

    Raises:
        ConverterError: for a model that the converter cannot take, or on which it crashes.
    """
    with tempfile.TemporaryDirectory() as job_dir:
        job_dir = Path(job_dir)
        arrays = {f"{i}/{name}": a for i, sample in enumerate(samples or []) for name, a in sample.items()}
        np.savez(job_dir / "samples.npz", **arrays)
        (job_dir / "job.json").write_text(json.dumps({"folder": str(folder), **options}))
        run = subprocess.run(
            [sys.executable, "-c", CODE, str(job_dir)], env=environment(), capture_output=True, text=True
        )
        if (job_dir / "error.txt").exists():
            raise ConverterError((job_dir / "error.txt").read_text())
        if run.returncode or not (job_dir / "model.tflite").exists():
            raise Crash(f"the process that ran the converter ended with status {run.returncode}")
        return (job_dir / "model.tflite").read_bytes()


class Crash(ConverterError):
    """The converter has ended its process."""


def environment():
    """The environment variables of a subprocess that finds this package and runs Keras on TensorFlow."""
    where = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": where}


def run_job(job_dir):
    """In the subprocess: converts what a folder describes, and writes the .tflite file or the error there."""
    job_dir = Path(job_dir)
    job = json.loads((job_dir / "job.json").read_text())
    samples = {}
    with np.load(job_dir / "samples.npz") as arrays:
        for key in arrays.files:
            index, _, name = key.partition("/")
            samples.setdefault(int(index), {})[name] = arrays[key]
    try:
        content = convert(samples=[samples[i] for i in sorted(samples)] or None, **job)
    except ConverterError as error:
        (job_dir / "error.txt").write_text(str(error))
    else:
        (job_dir / "model.tflite").write_bytes(content)
