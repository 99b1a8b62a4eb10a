"""Runs of marked tests in processes of their own: one beside the main process, two once that one has ended."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras

HERE = Path(__file__).parent
# The marks of the tests that have a run of their own, and its backend; the longest first.
RUNS = [("tensorflow_only", "tensorflow")]
RUNS += [("every_backend", b) for b in ("jax", "torch", "tensorflow") if b != keras.backend.backend()]


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

    @property
    def ended(self):
        return self.process.poll() is not None

    def result(self):
        """The exit status and all that was printed."""
        self.output.seek(0)
        return self.process.returncode, self.output.read()


class Queue:
    """All runs, each begun when there is room for it."""

    def __init__(self):
        self.waiting, self.begun = list(RUNS), {}

    def advance(self, room=1):
        """Begins the next run where fewer than `room` are going on."""
        if self.waiting and sum(not run.ended for run in self.begun.values()) < room:
            run = self.waiting.pop(0)
            self.begun[run] = Run(*run)

    def finish(self, run):
        """Waits for the end of a run while nothing else is tested: there is room for two."""
        while run not in self.begun or not self.begun[run].ended:
            self.advance(room=2)
            time.sleep(0.2)
        return self.begun[run].result()

    def kill(self):
        for run in self.begun.values():
            run.process.kill()
