"""Several devices, by Keras's own means: those that conftest.py makes of one CPU."""

import contextlib
import shutil

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import weights
from keras_admm.compiling import compiled
from keras_admm.constraints import counting

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 8)).astype("float32"), RNG.normal(size=(32, 6)).astype("float32")


def build(library):
    library.utils.set_random_seed(0)
    dense = library.layers.Dense
    model = library.Sequential([library.Input((8,)), dense(10), dense(6)])
    model.compile(library.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=BACKEND == "jax")
    return model


def fit(model, callback, epochs):
    return model.fit(X, Y, epochs=epochs, batch_size=16, shuffle=False, verbose=0, callbacks=[callback]).history


def values(model):
    return [weights.read(v) for v in model.trainable_variables]


def run(model, retrainings):
    """The residuals, and the weights after each of a progressive pruning and a quantization for each retraining."""
    pull = ka.penalties.GradientPenalty(rho=0.5)
    residuals = fit(model, ka.ADMMPrune([0.5, 0.9], recipe="paper", penalty=pull), 6)["admm_primal"]
    seen = [values(model)]
    for retraining in retrainings:
        how = {"first_last": "same", "penalty": pull, "admm_epochs": 1, "retraining": retraining}
        fit(model, ka.ADMMQuantize(3, **how), 3)
        seen.append(values(model))
    assert not [v.name for v in optimizer_variables(model) if "admm" in v.name]
    return seen, residuals


def optimizer_variables(model):
    variables = model.optimizer.variables
    return variables() if callable(variables) else variables


def data_parallel(devices):
    return keras.distribution.DataParallel(devices=devices)


def model_parallel(devices):
    """The outputs of the first kernel and the inputs of the second in two parts, batches in what is left of devices."""
    mesh = keras.distribution.DeviceMesh((len(devices) // 2, 2), ("batch", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*dense/kernel"], layout[".*dense_1/kernel"] = (None, "model"), ("model", None)
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")


@contextlib.contextmanager
def several_devices(distribution=data_parallel, count=2):
    """Within it models are made for so many devices."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        # A process keeps the first collective reduction under a key, and every strategy begins with the same keys.
        reduction = None if count == 2 else tf.distribute.ReductionToOneDevice()
        with tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)], reduction).scope():
            yield
        return
    devices = keras.distribution.list_devices()[:count]
    assert len(devices) == count
    try:
        keras.distribution.set_distribution(distribution(devices))
        yield
    finally:
        keras.distribution.set_distribution(None)


def layouts(model):
    """How the values of a model's variables lie on the devices."""
    return [str(v.value.sharding.spec) for v in model.variables] if BACKEND == "jax" else []


def same_on_two_devices(library, retrainings, distribution=data_parallel):
    alone, alone_residuals = run(build(library), retrainings)
    keras.backend.clear_session(free_memory=False)  # the names of layers, by which they are laid out
    with several_devices(distribution):
        model = build(library)
        made = layouts(model)
        together, residuals = run(model, retrainings)
    assert layouts(model) == made
    assert sum(np.count_nonzero(w) for w in together[0] if w.ndim == 2) == 14
    np.testing.assert_allclose(residuals, alone_residuals, rtol=1e-3)
    for a, b in zip(sum(alone, []), sum(together, []), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


RETRAININGS = pytest.mark.parametrize(
    "retrainings",
    [("straight_through",), pytest.param(("snap", "shared_values"), marks=pytest.mark.nightly)],
    ids="-".join,
)


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND == "torch", reason="Keras distributes no training over torch's devices")
@RETRAININGS
def test_two_devices_do_what_one_does(retrainings):
    same_on_two_devices(keras, retrainings)


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="Keras shards variables over JAX's devices alone")
def test_kernels_in_parts_do_what_whole_ones_do():
    same_on_two_devices(keras, ("straight_through",), model_parallel)


@pytest.mark.tensorflow_only
@RETRAININGS
def test_two_devices_do_what_one_does_in_tf_keras(retrainings):
    same_on_two_devices(pytest.importorskip("tf_keras"), retrainings)


@pytest.mark.tensorflow_only
def test_variables_of_tf_keras_on_two_devices_are_read():
    """Among them those that each device has for itself, whose sum or mean is the value."""
    import tensorflow as tf

    tf_keras = pytest.importorskip("tf_keras")
    with several_devices():
        model = build(tf_keras)
        metric = tf_keras.metrics.Mean()
    fit(model, tf_keras.callbacks.Callback(), 1)
    for variable in (*model.variables, *optimizer_variables(model), *metric.variables):
        for read in (weights.storable, weights.view, weights.read):
            np.testing.assert_array_equal(read(variable), tf.convert_to_tensor(variable).numpy())


def loudness(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_pred), axis=-1)


CALLBACKS = {
    "prune": lambda: ka.ADMMPrune(0.8),
    "on the device": lambda: ka.ADMMPrune([0.5, 0.8], state="device"),
    "channels": lambda: ka.ADMMPrune(structure="channel", budget={"macs": 0.5}),
    "1:2": lambda: ka.ADMMPrune(structure="1:2", recipe="paper"),
    "adaptive": lambda: ka.ADMMAdaptive({"macs": 0.6}),
    "quantize": lambda: ka.ADMMQuantize(3),
    "cluster": lambda: ka.ADMMCluster(4),
    "low rank": lambda: ka.ADMMLowRank(2),
    "trp": lambda: ka.TRP(energy=0.9),
    "olmp": lambda: ka.OLMP(0.2, validation_data=(X, Y), metric=loudness, search_every=2, stop_at=6, evaluations=5),
    "loss": lambda: ka.ADMMPrune(0.8, penalty="loss", recipe="paper"),
}


@pytest.mark.nightly
@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND == "torch", reason="Keras distributes no training over torch's devices")
@pytest.mark.parametrize("distribution", [data_parallel, model_parallel])
@pytest.mark.parametrize("count", [2, 4 if BACKEND == "tensorflow" else 8])
@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback_does_on_several_devices_what_it_does_on_one(name, count, distribution):
    if BACKEND == "tensorflow" and distribution is model_parallel or BACKEND == "jax" and name == "loss":
        pytest.skip("not on this backend")
    seen = []
    for context in (contextlib.nullcontext, lambda: several_devices(distribution, count)):
        keras.backend.clear_session(free_memory=False)
        with context():
            model = build(keras)
            fit(model, CALLBACKS[name](), 6)
            seen.append(values(model))
            if BACKEND == "tensorflow" and len(seen) == 2:
                parts = [[weights.read(part) for part in v.value.values] for v in model.trainable_variables]
                assert all(np.array_equal(each[0], other) for each in parts for other in each)
    for alone, together in zip(*seen, strict=True):
        np.testing.assert_array_equal(alone == 0, together == 0)
        np.testing.assert_allclose(alone, together, atol=1e-4)


ON_DEVICE = {
    "global": {"sparsity": 0.9},
    "steps": {"sparsity": [0.5, 0.9], "recipe": "paper"},
    "erk": {"sparsity": 0.8, "allocation": "erk", "update_every": "1 steps"},
    "mapping": {"sparsity": 0.8, "allocation": {"*dense/kernel": 0.5}},
    "filters": {"sparsity": 0.5, "structure": "filter", "exclude": "dense_1"},
    "1:2": {"structure": "1:2"},
    "blocks": {"sparsity": 0.5, "structure": "block(2,2)"},
    "saliency": {"sparsity": 0.8, "allocation": ka.allocation.Saliency((X, Y), "mse")},
    "all of one": {"sparsity": 0.9, "min_keep": 0, "allocation": {"*dense/kernel": 0.999}},
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", ON_DEVICE)
def test_on_the_device_is_what_is_on_the_host(name):
    seen = []
    for state in ("host", "device"):
        keras.backend.clear_session(free_memory=False)
        model = build(keras)
        history = fit(model, ka.ADMMPrune(**ON_DEVICE[name], state=state), 4)
        seen.append((values(model), [history[key] for key in ("sparsity", "admm_primal", "admm_dual")]))
    (host, told), (device, told_too) = seen
    for a, b in zip(host, device, strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(told, told_too, rtol=1e-4)


@pytest.fixture
def copied(monkeypatch):
    """The sizes of what goes to the host, as it goes there."""
    backend = keras.src.backend
    sizes, to_numpy = [], backend.convert_to_numpy

    def noted(x):
        sizes.append(int(np.prod(x.shape)))
        return to_numpy(x)

    monkeypatch.setattr(backend, "convert_to_numpy", noted)
    return sizes


class Between(keras.callbacks.Callback):
    """The most that was copied from an epoch's last step to the next one's first, where nothing is planned any more."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes, self.epoch, self.most = sizes, 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.most = max([*self.sizes, self.most]) if self.epoch else 0

    def on_train_batch_end(self, batch, logs=None):
        self.sizes.clear()


@pytest.mark.every_backend
def test_only_counts_go_to_the_host(copied):
    model = build(keras)
    between = Between(copied)
    callbacks = [ka.ADMMPrune([0.5, 0.9], state="device", verbose=0, retrain_epochs=2), between]
    model.fit(X, Y, epochs=8, batch_size=16, verbose=0, callbacks=callbacks)
    assert 0 < between.most <= 2  # a number for each kernel


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="Keras shards variables over JAX's devices alone")
def test_kernels_in_parts_stay_in_parts():
    keras.backend.clear_session(free_memory=False)
    alone = build(keras)
    fit(alone, ka.ADMMPrune([0.5, 0.9]), 6)
    keras.backend.clear_session(free_memory=False)
    with several_devices(model_parallel):
        model = build(keras)
        made, targets = layouts(model), []
        prune = ka.ADMMPrune([0.5, 0.9], state="device")
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: targets.append(
                [each.target.value.sharding for each in prune.engine.rule_states.values()]
            )
        )
        model.fit(X, Y, epochs=6, batch_size=16, shuffle=False, verbose=0, callbacks=[prune, look])
        kernels = [layer.kernel.value.sharding for layer in model.layers]
    assert layouts(model) == made
    assert targets[1] == kernels
    for a, b in zip(values(alone), values(model), strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="of what JAX compiles")
@pytest.mark.parametrize("spec", [("x", None), (None, "x")])
def test_nothing_is_gathered_to_find_the_largest(spec):
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    parts = jax.device_put(x, NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec(*spec)))
    marking = compiled(lambda x, count: counting.mark(x, count, axes=(0, 1)))
    for function, given in ((marking, abs(parts)), (compiled(counting.numbers_of_largest), [parts, parts])):
        text = function.lower(given, np.int32(100)).compile().as_text()
        assert "all-reduce" in text
        assert not any(other in text for other in ("all-gather", "all-to-all", "collective-permute"))
    for count in (100, 50):
        kept = np.asarray(counting.largest(abs(parts), count))
        np.testing.assert_array_equal(kept, abs(x) >= np.sort(abs(x).ravel())[-count])
    assert counting._marking(x.shape, (0, 1))._cache_size() == len({("x", None), spec})


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: ka.ADMMQuantize(4, state="device"), "ADMMQuantize: with state='device'.*Received: a step of"),
        (
            lambda: ka.ADMMPrune(0.5, allocation="lamp", state="device"),
            "ADMMPrune: .*Received: a step of PruningTarget",
        ),
        (lambda: ka.ADMMPrune(0.5, allocation=lambda a, s: {}, state="device"), "Received: a step of PruningTarget"),
        (lambda: ka.ADMMPrune(budget={"bytes": 0.5}, state="device"), "Received: a step of BudgetTarget"),
        (lambda: ka.ADMMLowRank(2, state="device"), "ADMMLowRank: with state='device'"),
        (lambda: ka.ADMMPrune(0.5, state="gpu"), "ADMMPrune: .*state.*one of 'host', 'device'.*Received: .*gpu"),
    ],
)
def test_what_is_computed_on_the_host_is_refused_on_the_device(make, received):
    with pytest.raises(ValueError, match=received):
        make()


@pytest.mark.parametrize("largest", [lambda x: counting.largest(x, 3), lambda x: counting.counts_of_largest([x], 3)])
def test_more_weights_than_can_be_counted_get_a_sentence(largest, monkeypatch):
    monkeypatch.setattr(counting, "MOST", 9)
    with pytest.raises(ValueError, match="Sparse: at most 9 weights .* Received: 10. Use state='host'"):
        largest(keras.ops.ones((10,)))


@pytest.mark.tensorflow_only
def test_many_shapes_are_no_loop_that_makes_functions(caplog):
    for size in range(100, 108):
        counting.largest(keras.ops.ones((size,)), 3)
        counting.counts_of_largest([keras.ops.ones((size,))], 3)
    assert "retracing" not in caplog.text


@pytest.mark.every_backend
@pytest.mark.parametrize("then", ["device", "host"])
def test_a_run_is_resumed_on_the_device_or_off_it(then, tmp_path):
    def run(folder, *callbacks, state="device"):
        keras.backend.clear_session(free_memory=False)
        model = build(keras)
        prune = ka.ADMMPrune(0.8, state=state, backup_dir=folder, verbose=0)
        model.fit(X, Y, epochs=6, batch_size=16, shuffle=False, verbose=0, callbacks=[prune, *callbacks])
        return values(model)

    def keep(epoch, logs):
        if epoch == 2:
            shutil.copytree(tmp_path / "a", tmp_path / "b")

    whole = run(tmp_path / "a", keras.callbacks.LambdaCallback(on_epoch_begin=keep))
    epochs = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    resumed = run(tmp_path / "b", note, state=then)
    assert epochs == [2, 3, 4, 5]
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.tensorflow_only
def test_what_the_devices_have_for_themselves_is_not_exported(tmp_path):
    """Each device of tf_keras has moving averages of its own, and the file has those of one."""
    tf_keras = pytest.importorskip("tf_keras")

    def build():
        return tf_keras.Sequential([tf_keras.Input((8,)), tf_keras.layers.BatchNormalization()])

    with several_devices(count=3):
        model = build()
        model.compile("sgd", "mse")
    model.fit(X + 2, X, epochs=2, batch_size=16, verbose=0)
    said = r"of a model made for 3 devices.*Build the model outside of the strategy's scope.*set_weights\(\)\.$"
    with pytest.raises(ValueError, match=said):
        ka.export.litert(model, tmp_path / "model.tflite")
    alone = build()
    alone.set_weights(model.get_weights())
    assert ka.export.litert(alone, tmp_path / "model.tflite").relative < 1e-5


@pytest.mark.tensorflow_only
def test_workers_that_do_not_train_in_step_are_refused():
    import tensorflow as tf

    model = build(keras)
    model._distribute_strategy = object.__new__(tf.distribute.ParameterServerStrategy)
    for name in ("prune", "trp", "olmp"):
        callback = CALLBACKS[name]()
        callback.set_model(model)
        said = f"{type(callback).__name__}: the workers must train in step.*made under ParameterServerStrategy"
        with pytest.raises(ValueError, match=said):
            callback.on_train_begin()
