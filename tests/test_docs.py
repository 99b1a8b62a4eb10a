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


GUIDES = {guide.name: guide.read_text() for guide in (HERE.parent / "examples" / "guides").glob("*.py")}
FRONT = (HERE.parent / "README.md").read_text()


def test_every_public_name_is_in_a_guide():
    told = "\n".join(GUIDES.values())
    assert [name for name in keras_admm.__all__ if not re.search(rf"\bka\.{name}\b", told)] == []


def test_the_front_page_is_short_and_stands_alone():
    assert len(FRONT.splitlines()) <= 120
    code = "".join(re.findall(r"```\w*\n(.*?)```", FRONT, flags=re.DOTALL))
    assert max(map(len, code.splitlines())) <= 110
    assert not re.findall(r"\]\((?!https?://)", FRONT)  # a link that breaks where the page is shown elsewhere


def rows(text, guide):
    """The cells of the rows of tables that name a guide."""
    found = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    return [row for row in found if row[-1] == f"`{guide}`"]


@pytest.mark.parametrize("guide", GUIDES)
def test_the_front_page_leads_to_each_guide_which_has_the_calls(guide):
    led = rows(FRONT, guide)
    assert led
    calls = [name for row in led for name in re.findall(r"\b(?:ka\.)?([A-Za-z_.]*[a-z_A-Z])(?=[(`])", row[1])]
    assert [name for name in calls if name not in GUIDES[guide]] == []


def test_the_front_page_leads_to_no_guide_that_is_not_there():
    table = FRONT[FRONT.index("| goal |") :].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+\.py)`", table)) == set(GUIDES)


def printed(network, rate, method):
    """The test accuracy of a printed row of the benchmark of recipes, and the number of its seeds."""
    text = (HERE.parent / "examples" / "results" / "recipes.txt").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{network}, {rate}x, {method}  ")]
    return float(line.split()[-1]), int(line[len(f"{network}, {rate}x, {method}") :].split()[0])


NETWORKS = {"digits": "digits", "LeNet-300-100": "lenet300", "LeNet-5": "lenet5", "ResNet-20": "resnet20"}
METHODS = ["ours", "gradual magnitude", "tfmot, erk", "tfmot, uniform"]


@pytest.mark.parametrize("page", ["README.md", "examples/README.md"])
def test_the_table_of_results_is_the_printed_one(page):
    lines = re.findall(r"^\| (.*?) ?\| 1/(\d+) \| (.*) \|$", (HERE.parent / page).read_text(), re.MULTILINE)
    assert len(lines) >= 13
    for network, rate, cells in lines:
        if network:
            name = NETWORKS[re.match(r"[\w-]+", network)[0]]
            assert float(re.search(r"dense ([\d.]+)%", network)[1]) == printed(name, 1, "dense")[0]
        for cell, method in zip(cells.split(" | "), METHODS, strict=True):
            test, seeds = printed(name, rate, method)
            assert (float(cell.strip("* ")), cell.endswith(" *")) == (test, seeds == 1), (name, rate, method)


@pytest.mark.tensorflow_only
def test_every_name_of_tfmot_has_its_counterpart(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")  # TFMOT sets it
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    names = [*dir(tfmot.sparsity.keras), *dir(tfmot.clustering.keras)]
    names += [name for name in dir(tfmot.quantization.keras) if name.startswith("quantize_")]
    left = [line.partition(" | ")[0] for line in GUIDES["coming_from_tfmot.py"].splitlines() if line.startswith("|")]
    public = [name for name in names if not name.startswith("_") and name not in ("clusterable_layer", "experimental")]
    assert len(public) > 20
    assert [name for name in public if not re.search(rf"\b{name}\b", "\n".join(left))] == []


def test_the_counterparts_of_tfmot_are_calls():
    table, _, _ = GUIDES["coming_from_tfmot.py"].partition("What to unlearn")
    told = re.findall(r"ka\.ADMM\w+\([^`]*?\)(?=[`\],])", table)
    assert len(told) > 8
    for call in told:
        assert isinstance(eval(call, {"ka": keras_admm}), keras.callbacks.Callback)


@pytest.mark.tensorflow_only
def test_the_blocks_of_tfmot_are_those_of_its_counterpart(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")  # TFMOT sets it
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    pruning = importlib.import_module("tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl").Pruning
    told = r"block_size=\((\d), (\d)\)` \| `ka.ADMMPrune\(0.9, structure=\"(.*?)\"\)"
    (*size, structure), *more = re.findall(told, GUIDES["coming_from_tfmot.py"])
    assert not more and size[0] != size[1]
    kernel = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0, frequency=1)
    _, mask = pruning(lambda: 1, [], schedule, list(map(int, size)), "AVG")._maybe_update_block_mask(kernel)
    ours = keras_admm.constraints.Sparse(0.5, structure=structure)(kernel * mask.numpy())
    np.testing.assert_array_equal(ours != 0, mask.numpy() == 1)
