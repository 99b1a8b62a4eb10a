"""Runs of marked tests in processes of their own, beside the main one: two cores have room for both."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

HERE = Path(__file__).parent
# The marks of the tests that have a run of their own, and its backend.
RUNS = [("every_backend", b) for b in ("tensorflow", "jax", "torch") if b != keras.backend.backend()]
RUNS += [("tensorflow_only", "tensorflow")]


class Run:
    """The tests of one mark on one backend, from now on."""

    def __init__(self, mark, backend):
        # A file, for a pipe that nobody reads until the end would fill up and stop the run.
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-m", mark, "-x", "-p", "no:cacheprovider", str(HERE)],
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=self.output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=HERE.parent,
        )

    def finish(self):
        """Waits for the end; returns the exit status and all that was printed."""
        status = self.process.wait()
        self.output.seek(0)
        return status, self.output.read()
