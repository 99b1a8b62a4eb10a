"""What is installed, with TensorFlow and without it; and the package from its wheel, elsewhere."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TENSORFLOW = {"tensorflow", "tensorflow-model-optimization", "tensorflow-hub"}


def run(folder, *words, **environment):
    """What Python prints that runs in a folder, whose modules come before installed ones."""
    words, environment = [sys.executable, *map(str, words)], {**os.environ, **environment}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def names(lines):
    return {re.match(r"[\w.-]+", line)[0] for line in lines.splitlines() if line}


def required(extra):
    """The names of what `pip install keras-admm[extra]` brings, those of the extras in it too."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.extras_require"][extra]
    inner = re.findall(r"keras-admm\[(.*)\]", lines)
    found = names(lines) | names(config["options"]["install_requires"])
    return found.union(*(required(each) for each in ",".join(inner).split(",") if each)) - {"keras-admm"}


def test_the_command_without_tensorflow_installs_all_else():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    (command,) = re.findall('^pip install "keras.*$', (ROOT / "examples" / "README.md").read_text(), re.MULTILINE)
    said = set(command.split("pip install ")[-1].replace('"', "").split())
    needed = set(config["options"]["install_requires"].split("\n")[1:])
    lines = {line for line in needed if names(line) - TENSORFLOW}
    assert said == lines | {config["options.extras_require"]["jax"].strip()}


def test_every_requirement_says_what_it_is_for():
    text = (ROOT / "setup.cfg").read_text()
    lines = [
        line.strip() for line in re.search(r"^install_requires =\n((?: .*\n)+)", text, re.MULTILINE)[1].splitlines()
    ]
    assert len(lines) >= 16
    assert [line.startswith("#") for line in lines] == [True, False] * (len(lines) // 2)


@pytest.mark.parametrize("extra", ["examples", "test"])
def test_the_commands_of_the_front_page_bring_tensorflow(extra):
    assert required(extra) >= TENSORFLOW | {"keras", "ai-edge-litert", "matplotlib", "scikit-learn"}


def test_jax_without_tensorflow(tmp_path):
    told = run(tmp_path, ROOT / "tests" / "without_tensorflow.py", tmp_path, KERAS_BACKEND="jax", PYTHONPATH=str(ROOT))
    assert told.splitlines()[:3] == ["0.75", "True", "(64, 2) 2"]
    assert re.findall(r"^refused: (\w+)", told, re.MULTILINE) == ["to_tf_keras", "to_tf_keras", "litert"]
    assert "pip install keras-admm[litert]" in told and (tmp_path / "report.html").exists()


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_the_quick_start_from_a_wheel(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "keras_admm", source / "keras_admm", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(tmp_path, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source)
    (wheel,) = tmp_path.glob("keras_admm-*.whl")
    run(tmp_path, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel)
    shutil.copy(ROOT / "examples" / "quickstart.py", tmp_path)
    where = {"PYTHONPATH": str(site), "KERAS_BACKEND": "tensorflow"}
    assert run(tmp_path, "-c", "import keras_admm; print(keras_admm.__file__)", **where).strip().startswith(str(site))
    assert run(tmp_path, "-m", "keras_admm", "--version", **where).startswith("keras-admm 0.")
    assert re.search(
        r"total +38,160 +1,908 ", run(tmp_path, tmp_path / "quickstart.py", "--plot", tmp_path / "a.png", **where)
    )
    assert (site / "keras_admm" / "py.typed").exists()
