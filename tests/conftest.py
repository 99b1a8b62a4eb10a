"""What every test starts from: quiet libraries, one thread, one seed, a backend that the environment may choose."""

import atexit
import gc
import os
import shutil
import tempfile

gc.disable()  # until all is imported: nothing of it is garbage
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# One thread each: two processes run at once, and what they compute is too small to be divided.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# Tests run each compiled step a few times only: building it is what takes their time. And some devices of one CPU.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_force_host_platform_device_count=8",
)

import keras  # noqa: E402
import pytest  # noqa: E402

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    # A step that runs a few times is not worth being made faster.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
if keras.backend.backend() == "jax":
    import jax

    # Each model is compiled anew, though many are alike.
    cache = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
    # What three frameworks brought along is never looked through again, and what tests leave behind seldom.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
    if any("test_backends" in item.nodeid for item in session.items) and not session.config.option.collectonly:
        from backends import Queue

        session.config.queue = Queue()
        session.config.queue.advance()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    if hasattr(item.config, "queue"):
        item.config.queue.advance()


def pytest_terminal_summary(terminalreporter, config):
    for run, begun in (config.queue.begun if hasattr(config, "queue") else {}).items():
        terminalreporter.write_line(f"{'-'.join(run)}: {(begun.result()[1].splitlines() or [''])[-1]}")


def pytest_unconfigure(config):
    if hasattr(config, "queue"):
        config.queue.kill()
