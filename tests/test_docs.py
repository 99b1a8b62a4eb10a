"""The examples of docstrings and of the two pages run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_admm

HERE = Path(__file__).parent
MODULES = ["keras_admm", *(m.name for m in pkgutil.walk_packages(keras_admm.__path__, "keras_admm."))]


@pytest.mark.parametrize("module", [m for m in MODULES if not m.endswith("__main__")])
def test_docstrings(module):
    failed, _ = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("page", [HERE.parent / "README.md", HERE.parent / "examples" / "README.md"], ids=str)
def test_pages(page, tmp_path, monkeypatch):
    """Its Python blocks, in order, on a small model of the reader's."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)])
    model.compile("adam", "mse", jit_compile=False)
    names = {"model": model, "x": rng.normal(size=(64, 8)), "y": rng.normal(size=(64, 4)), "keras": keras}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


def test_every_public_name_is_in_a_guide():
    told = "\n".join(guide.read_text() for guide in (HERE.parent / "examples" / "guides").glob("*.py"))
    assert [name for name in keras_admm.__all__ if not re.search(rf"\b{name}\b", told)] == []
