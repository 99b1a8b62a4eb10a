"""What every test starts from: quiet libraries, one seed, a backend that the environment may choose."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Tests run each compiled step a few times only: building it is what takes their time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session(free_memory=False)  # a collection of garbage after each test took most of their time


def pytest_collection_modifyitems(config, items):
    if "nightly" not in config.option.markexpr:
        later = [item for item in items if item.get_closest_marker("nightly")]
        items[:] = [item for item in items if item not in later]
        config.hook.pytest_deselected(items=later)
    items.sort(key=lambda item: "test_backends" in item.nodeid)  # last: they run beside the others
    if any("test_backends" in item.nodeid for item in items) and not config.option.markexpr:
        elsewhere = [item for item in items if item.get_closest_marker("tensorflow_only")]
        items[:] = [item for item in items if item not in elsewhere]
        config.hook.pytest_deselected(items=elsewhere)


def pytest_collection_finish(session):
    if any("test_backends" in item.nodeid for item in session.items) and not session.config.option.collectonly:
        from backends import RUNS, Run

        session.config.runs = {run: Run(*run) for run in RUNS}


def pytest_unconfigure(config):
    for run in getattr(config, "runs", {}).values():
        run.process.kill()
