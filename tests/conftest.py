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
    keras.backend.clear_session()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "test_backends" in item.nodeid)  # last: they run beside the others


def pytest_collection_finish(session):
    if any("test_backends" in item.nodeid for item in session.items) and not session.config.option.collectonly:
        from backends import OTHERS, Run

        session.config.backends = {backend: Run(backend) for backend in OTHERS}


def pytest_unconfigure(config):
    for run in getattr(config, "backends", {}).values():
        run.process.kill()
