"""Runs of the tests marked `every_backend` in processes of their own, beside this one: two cores have room for both."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

HERE = Path(__file__).parent
OTHERS = [b for b in ("tensorflow", "jax", "torch") if b != keras.backend.backend()]


class Run:
    """One backend's tests, from now on."""

    def __init__(self, backend):
        # A file, for a pipe that nobody reads until the end would fill up and stop the run.
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-m", "every_backend", "-x", "-p", "no:cacheprovider", str(HERE)],
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
