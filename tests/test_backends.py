"""The tests marked `every_backend`, on the backends that this process does not run."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent
OTHERS = [b for b in ("tensorflow", "jax", "torch") if b != keras.backend.backend()]


@pytest.mark.parametrize("backend", OTHERS)
def test_every_backend(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "every_backend", "-x", "-p", "no:cacheprovider", str(HERE)],
        env=environment,
        capture_output=True,
        text=True,
        cwd=HERE.parent,
    )
    print(run.stdout[-3000:])
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
