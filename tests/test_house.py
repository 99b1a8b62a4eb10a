"""Who may import whom, and what `import keras_admm` loads: nothing of weight that Keras had not."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "keras_admm"

# Each room's floor. A room may import its own floor where the table below says so, and any floor beneath it.
FLOORS = {
    "constraints": 0,
    "allocation": 0,
    "names": 0,
    "schedules": 0,
    "admm": 0,
    "errors": 0,
    "checks": 0,
    "regularizers": 0,
    "weights": 1,
    "files": 1,
    "lock": 1,
    "serialization": 1,
    "inference": 1,
    "progress": 0,
    "attach": 2,
    "penalties": 2,
    "retraining": 2,
    "plan": 2,
    "backup": 2,
    "engine": 2,
    "layers": 2,
    "packed": 2,
    "purification": 2,
    "callbacks": 3,
    "reporting": 3,
    "timing": 3,
    "export": 3,
    "plots": 4,
    "cli": 4,
    "__main__": 5,
}
AMONG_THEMSELVES = {0, 1, 2}  # the faces and the gate know nothing of one another
APART = {"packed"}  # it stands on a floor whose other rooms know nothing of it, nor it of them
HEAVY = {"tensorflow", "tf_keras", "jax", "torch", "matplotlib", "tensorflow_model_optimization"}
HEAVY |= {"ai_edge_litert", "ai_edge_quantizer", "litert_quantizer", "tensorflow_hub"}


def imports(source):
    """Every module that a source imports, with whether it does so at its top level."""
    tree = ast.parse(source)
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:  # what is relative stays in its room
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "keras_admm" else [node.module]
            yield from ((name, node in top) for name in names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, node in top) for a in node.names)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def faults(name, source):
    """What in a room's source breaks the table."""
    for module, top in imports(source):
        first = module.split(".")[0]
        if first in HEAVY and top:
            yield f"{name} imports {module} at its top level"
        if first == "keras_admm" and "." in module and module.split(".")[1] in FLOORS:
            other = module.split(".")[1]
            apart = FLOORS[name] not in AMONG_THEMSELVES or {name, other} & APART
            same = FLOORS[other] == FLOORS[name] and other != name and apart
            if FLOORS[other] > FLOORS[name] or same:
                yield f"{name} (floor {FLOORS[name]}) imports {other} (floor {FLOORS[other]})"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    name = room(path)
    if name not in ("__init__",):
        assert name in FLOORS, f"{name} has no floor: give it one"
        assert not list(faults(name, path.read_text()))


def strangers(source, level):
    """What a source imports from further up than `level` folders, or from others than the standard library."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level > level:
            yield "." * node.level + (node.module or "")
    yield from (m for m, _ in imports(source) if m.split(".")[0] not in sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted((PACKAGE / "packed" / "codec").glob("*.py")), ids=lambda p: p.name)
def test_a_reader_of_packed_files_needs_numpy_and_constriction_alone(path):
    assert set(strangers(path.read_text(), level=1)) <= {"numpy", "constriction"}


@pytest.mark.parametrize("source", ["import keras", "from keras_admm import files", "from .. import model"])
def test_a_stranger_is_found(source):
    assert list(strangers(source, level=1))


@pytest.mark.parametrize(
    "name, source, broken",
    [
        ("admm", "from keras_admm.engine import Engine", True),
        ("callbacks", "from keras_admm.reporting import report", True),
        ("callbacks", "from keras_admm import attach", False),
        ("reporting", "from keras_admm.packed import state", False),
        ("engine", "from keras_admm import packed", True),
        ("packed", "from keras_admm import plan", True),
        ("attach", "import tensorflow", True),
        ("attach", "def f():\n    import tensorflow", False),
    ],
)
def test_the_table_can_fail(name, source, broken):
    assert bool(list(faults(name, source))) == broken


@pytest.mark.parametrize("backend", ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.nightly)])
def test_importing_loads_the_backend_alone_and_changes_nothing(backend):
    code = (
        "import os, sys\n"
        "import keras\n"
        "environment, loaded = dict(os.environ), set(sys.modules)\n"
        "import keras_admm\n"
        "assert dict(os.environ) == environment\n"
        "print(*[m for m in sys.argv[1:] if m in sys.modules.keys() - loaded])\n"
        "print(*[m for m in ('tensorflow', 'torch', 'tf_keras') if m in sys.modules])"
    )
    # TFMOT sets it where it was used before, and TensorFlow then loads tf_keras by itself.
    clean = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    run = subprocess.run(
        [sys.executable, "-c", code, *HEAVY],
        env={**clean, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    ours, frameworks = run.stdout.split("\n")[:2]
    assert ours == ""
    assert set(frameworks.split()) <= {backend}
