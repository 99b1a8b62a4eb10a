"""Who may import whom, and what `import keras_admm` loads: nothing of weight that Keras had not."""

import ast
import graphlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_admm as ka

PACKAGE = Path(__file__).parent.parent / "keras_admm"

# Each room's floor. A room may import its own floor where the table below says so, and any floor beneath it.
FLOORS = {
    "constraints": 0,
    "axes": 0,
    "names": 0,
    "schedules": 0,
    "admm": 0,
    "errors": 0,
    "hints": 0,
    "checks": 0,
    "compiling": 0,
    "regularizers": 0,
    "search": 0,
    "weights": 1,
    "graph": 1,
    "macs": 1,
    "files": 1,
    "scoring": 1,
    "selection": 1,
    "allocation": 1,
    "lock": 1,
    "serialization": 1,
    "inference": 1,
    "gradients": 1,
    "layers": 1,
    "progress": 0,
    "tables": 0,
    "pages": 0,
    "attach": 2,
    "penalties": 2,
    "retraining": 2,
    "plan": 2,
    "backup": 2,
    "engine": 2,
    "packed": 2,
    "masking": 2,
    "layerwise": 2,
    "purification": 2,
    "structure": 2,
    "pictures": 2,
    "callbacks": 3,
    "studies": 3,
    "reporting": 3,
    "explain": 3,
    "timing": 3,
    "export": 3,
    "plots": 4,
    "cli": 4,
    "registration": 4,
    "__main__": 5,
}
AMONG_THEMSELVES = {0, 1, 2}  # the faces and the gate know nothing of one another
# Of the floor of training they know `plan` alone, and nothing of one another.
ACTS = {"layerwise", "masking", "packed", "purification", "structure"}
# But what leaves a model is what would be zero, two layers give what one gave, and a study trains by the callbacks.
ONE_ANOTHER = {("structure", "purification"), ("structure", "layerwise"), ("studies", "callbacks")}
HEAVY = {"tensorflow", "tf_keras", "jax", "torch", "matplotlib", "tensorflow_model_optimization"}
HEAVY |= {"ai_edge_litert", "ai_edge_quantizer", "litert_quantizer", "tensorflow_hub", "cma"}


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


def apart(name, other):
    """Whether two rooms of one floor know nothing of each other."""
    allowed = name in ACTS and other == "plan" or (name, other) in ONE_ANOTHER
    return not allowed and (FLOORS[name] not in AMONG_THEMSELVES or bool({name, other} & ACTS))


def faults(name, source):
    """What in a room's source breaks the table."""
    for module, top in imports(source):
        first = module.split(".")[0]
        if first in HEAVY and top:
            yield f"{name} imports {module} at its top level"
        if first == "keras_admm" and "." in module and module.split(".")[1] in FLOORS:
            other = module.split(".")[1]
            same = FLOORS[other] == FLOORS[name] and other != name and apart(name, other)
            if FLOORS[other] > FLOORS[name] or same:
                yield f"{name} (floor {FLOORS[name]}) imports {other} (floor {FLOORS[other]})"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    name = room(path)
    if name not in ("__init__",):
        assert name in FLOORS, f"{name} has no floor: give it one"
        assert not list(faults(name, path.read_text()))


def files():
    """Every file of the package by its module's name."""
    paths = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


def imported_files(name, source, known):
    """The files that one of them imports, within functions too."""
    package = name if name in known and known[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from {f"{module}.{a.name}" if f"{module}.{a.name}" in known else module for a in node.names}
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def check_no_circle(sources, known):
    graph = {name: set(imported_files(name, source, known)) - {name} for name, source in sources.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_two_files_import_each_other():
    check_no_circle({name: path.read_text() for name, path in files().items()}, files())


def test_a_circle_is_found():
    known = files()
    here, there = "keras_admm.checks", "keras_admm.packed.codec.file"
    sources = {here: "from keras_admm.packed.codec import file", there: "def f():\n    from ... import checks"}
    check_no_circle({here: sources[here]}, known)
    with pytest.raises(graphlib.CycleError):
        check_no_circle(sources, known)


WALKS = {"_nodes_by_depth", "_run_through_graph", "_keras_history"}  # the nodes of a model, in either Keras


def walks(source):
    return WALKS & {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


def test_graph_alone_walks_through_models():
    found = {room(path): path for path in files().values() if walks(path.read_text())}
    assert set(found) == {"graph"}


def past_doors(name, source):
    """What a room's source takes from inside of another room, past what that one's `__init__` shows."""
    for module, _ in imports(source):
        _, other, *inside = module.split(".") if module.startswith("keras_admm.") else ("", name)
        if other != name and inside and (PACKAGE / other / f"{inside[0]}.py").exists():
            shown = (PACKAGE / other / "__init__.py").read_text() + "".join(
                pyi.read_text() for pyi in (PACKAGE / other).glob("__init__.pyi")
            )
            if f"import {inside[0]} as" not in shown:
                yield module


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nobody_reaches_past_a_rooms_door(path):
    assert not list(past_doors(room(path), path.read_text()))


@pytest.mark.parametrize(
    "source, past",
    [
        ("from keras_admm.constraints.sparse import check_sparsity", True),
        ("from keras_admm.constraints import check_sparsity", False),
        ("from keras_admm.graph.calls import of", False),
        ("from keras_admm.plan.target import Target", False),
    ],
)
def test_a_way_past_a_door_is_found(source, past):
    assert bool(list(past_doors("plan", source))) == past


def strangers(source, level):
    """What a source imports from further up than `level` folders, or from others than the standard library."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level > level:
            yield "." * node.level + (node.module or "")
    yield from (m for m, _ in imports(source) if m.split(".")[0] not in sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted((PACKAGE / "packed" / "codec").glob("*.py")), ids=lambda p: p.name)
def test_a_reader_of_packed_files_needs_numpy_and_constriction_alone(path):
    assert set(strangers(path.read_text(), level=1)) <= {"numpy", "constriction"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "search").glob("*.py")), ids=lambda p: p.name)
def test_search_knows_no_model(path):
    found = [name for name in strangers(path.read_text(), level=0) if not name.startswith("keras_admm.search.")]
    assert {name.split(".")[0] for name in found} <= {"numpy", "cma"}


@pytest.mark.parametrize("source", ["import keras", "from keras_admm import files", "from .. import model"])
def test_a_stranger_is_found(source):
    assert list(strangers(source, level=1))


@pytest.mark.parametrize(
    "name, source, broken",
    [
        ("admm", "from keras_admm.engine import Engine", True),
        ("callbacks", "from keras_admm.reporting import report", True),
        ("callbacks", "from keras_admm import attach", False),
        ("studies", "from keras_admm.callbacks import ADMMPrune", False),
        ("callbacks", "from keras_admm import studies", True),
        ("studies", "from keras_admm import reporting", True),
        ("reporting", "from keras_admm.packed import state", False),
        ("engine", "from keras_admm import packed", True),
        ("packed", "from keras_admm import engine", True),
        ("purification", "from keras_admm import plan", False),
        ("purification", "from keras_admm import packed", True),
        ("plan", "from keras_admm import purification", True),
        ("structure", "from keras_admm import purification", False),
        ("purification", "from keras_admm import structure", True),
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


def fresh(code, *args, **environment):
    """What a new Python prints that runs the code."""
    run = subprocess.run(
        [sys.executable, "-c", code, *args], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("first, second", [("keras_admm", "keras"), ("keras", "keras_admm")])
def test_a_masked_model_loads_in_either_order_of_the_imports(first, second, tmp_path):
    dense = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((2,)), ka.layers.Masked(dense, masks=[[[1], [0]]])])
    model.save(tmp_path / "masked.keras")
    code = (
        f"import {first}, {second}, sys\n"
        "print([type(layer).__name__ for layer in keras.models.load_model(sys.argv[1]).layers])"
    )
    assert fresh(code, str(tmp_path / "masked.keras"), KERAS_BACKEND="jax") == "['Masked']\n"


@pytest.mark.parametrize("name", ["constraints", "weights", "export"])
def test_a_room_is_imported_before_keras_is(name):
    """Which then finds the others half made, if they need one another."""
    assert fresh(f"import keras_admm.{name}; print('imported')", KERAS_BACKEND="jax") == "imported\n"


def test_what_a_model_looks_at_before_keras_is_imported():
    code = (
        "import keras_admm as ka\n"
        "each = [ka.dashboard, ka.compare, *(getattr(ka.explain, name) for name in dir(ka.explain))]\n"
        "print(all(map(callable, each)), len(each) > 10)"
    )
    assert fresh(code, KERAS_BACKEND="jax") == "True True\n"


def test_help_and_importing_alone_need_no_keras():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['keras-admm', '--help']\n"
        "try: runpy.run_module('keras_admm', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, sorted({'keras', 'numpy', *sys.argv[2:]} & set(sys.modules)))"
    )
    assert fresh(code).endswith("\n0 []\n")


def test_every_public_name_is_there_and_no_other():
    assert dir(ka) == sorted(ka.__all__)
    assert all(getattr(ka, name) is not None for name in ka.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        ka.nonsense  # noqa: B018
