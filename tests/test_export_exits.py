"""What every way out leaves as it was in the model, whether it succeeds or fails."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_export_inference import Counting

import keras_admm as ka
from keras_admm import inference
from keras_admm.export import for_xnnpack, litert, strip_tfmot, tfmot, to_tf_keras

pytestmark = pytest.mark.tensorflow_only

RNG = np.random.default_rng(0)
X = RNG.random((4, 6)).astype("float32")
IMAGES = RNG.random((4, 8, 8, 3)).astype("float32")
EXECUTION = {"train_function", "test_function", "predict_function"}  # TensorFlow makes them when they are called


def picture(model):
    """All that a way out could change in a model."""
    parts = list(model._flatten_layers())
    policies = [inspect.getattr_static(x, "_dtype_policy", None) for x in parts]
    return {
        "values": [(id(v), inference._read(v).tobytes()) for v in inference.variables(model)],
        "flags": [v.trainable for v in model.variables] + [x.trainable for x in parts],
        "constraints": [id(getattr(v, "constraint", None)) for v in model.variables],
        "layers": [(id(x), x.name, x.built, len(x._inbound_nodes), len(x._outbound_nodes)) for x in parts],
        "policies": [(id(p), p and p.name) for p in policies],
        "attributes": [{name for name in vars(x) if not name.startswith("_self_")} - EXECUTION for x in parts],
        "compiled": [
            id(getattr(model, name, None)) for name in ("optimizer", "loss", "_compile_config", "metrics")[:3]
        ],
        "metrics": [id(m) for m in model.metrics],
        "settings": [keras.config.floatx(), keras.config.dtype_policy().name],
    }


class NormByDefault(layers.BatchNormalization):
    def call(self, inputs, training=True):
        return super().call(inputs, training=training)


class Subclassed(keras.Model):
    def __init__(self, pinned=None):
        super().__init__()
        self.norm, self.drop, self.head = NormByDefault(momentum=0.5), layers.Dropout(0.5), layers.Dense(2)
        self.pinned = pinned

    def call(self, inputs, training=True):
        x = self.norm(inputs, training=training if self.pinned is None else self.pinned)
        return self.head(self.drop(x, training=training))


class Assigning(layers.Dense):
    """Assigns in its call and, where it is told to, fails after that."""

    fails = False

    def call(self, inputs):
        self.kernel.assign(self.kernel * 0.5)
        if self.fails:
            raise RuntimeError("by the user's own code")
        return super().call(inputs)


def chain(*inner, shape=(6,)):
    x = inputs = keras.Input(shape)
    for layer in inner:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2)(x))


def zeros():
    """Zeros, a frozen layer, dropout, statistics, half precision."""
    model = chain(
        layers.Dense(4, "relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.Dense(4, dtype="mixed_float16"),
    )
    model.layers[1].kernel.assign(model.layers[1].kernel * (RNG.random((6, 4)) > 0.6))
    model.layers[-2].trainable = False
    return model


def nested():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6), NormByDefault(momentum=0.5), layers.Dropout(0.5)])
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(2)(inner(inner(inputs))))


def images():
    convolutions = layers.Conv2D(4, 3, strides=2, padding="same"), layers.BatchNormalization()
    return chain(*convolutions, layers.GlobalAveragePooling2D(), shape=(8, 8, 3))


def failing():
    model = chain(Assigning(4))
    model.layers[1].fails = True
    return model


def of_tf_keras():
    tf_keras = pytest.importorskip("tf_keras")
    make = tf_keras.layers
    line = [make.Dense(4, "relu"), make.BatchNormalization(momentum=0.5), make.Dropout(0.5), make.Dense(2)]
    model = tf_keras.Sequential([make.Input((6,)), *line])
    model.layers[0].trainable = False
    return model


MODELS = {
    "subclassed, training by default": Subclassed,
    "zeros, frozen, half": zeros,
    "nested, training by default": nested,
    "images": images,
    "an assignment": lambda: chain(Assigning(4)),
    "an assignment and a failure": failing,
    "tf_keras": of_tf_keras,
}
WAYS = {
    "to_tf_keras": lambda model, x, path: to_tf_keras(model),
    "tfmot": lambda model, x, path: tfmot(model),
    "export.strip_tfmot": lambda model, x, path: strip_tfmot(model),
    "for_xnnpack": lambda model, x, path: for_xnnpack(model),
    "mask": lambda model, x, path: ka.mask(model),
    "strip": lambda model, x, path: ka.strip(model),
    "save": lambda model, x, path: ka.save(model, path / "m.kadmm"),
    "save where there is no folder": lambda model, x, path: ka.save(model, path / "none" / "m.kadmm"),
    "report": lambda model, x, path: ka.report(model),
    "latency": lambda model, x, path: ka.latency(model, model, x, runs=2),
}
EVERYWHERE = {"report", "latency"}


@pytest.mark.parametrize("kind", MODELS)
def test_a_way_out_changes_nothing(kind, tmp_path):
    model = MODELS[kind]()
    x = IMAGES if kind == "images" else X
    if kind.startswith("subclassed"):
        inference.call(model, x)
    model.compile("adam", "mse", metrics=["mae"])
    if "failure" not in kind:
        model.train_on_batch(x, np.zeros((4, 2)))
    done = set()
    for name, way in WAYS.items():
        before = picture(model)
        try:
            way(model, x, tmp_path)
            done.add(name)
        except (ValueError, TypeError, RuntimeError):
            pass
        after = picture(model)
        assert {part: after[part] for part in before} == before, name
    assert done >= {"report"} | (EVERYWHERE if "failure" not in kind else set())
    assert not kind.startswith("zeros") or done == set(WAYS) - {"export.strip_tfmot", "save where there is no folder"}


@pytest.mark.parametrize("scheme", [None, "pqat"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:sequential. left float")
def test_nor_does_tfmot(scheme):
    pytest.importorskip("tensorflow_model_optimization")
    model = of_tf_keras()
    model.compile("adam", "mse")
    model.layers[0].kernel.assign(model.layers[0].kernel * np.eye(6, 4, dtype="float32"))
    before = picture(model)
    tfmot(model, scheme, skip=True)
    assert picture(model) == before


def counting_in_tf_keras():
    make = pytest.importorskip("tf_keras").layers

    class Counter(make.Layer):
        def build(self, shape):
            self.calls = self.add_weight(name="calls", shape=(), dtype="int32", trainable=False, initializer="zeros")

        def call(self, inputs):
            self.calls.assign_add(1)
            return inputs + 1.0

    return pytest.importorskip("tf_keras").Sequential([make.Input((6,)), Counter(), make.Dense(2)])


LITERT = {
    "training by default": Subclassed,
    "training in the call": lambda: Subclassed(pinned=True),
    "a norm in a graph": lambda: chain(NormByDefault(momentum=0.5)),
    "a counter": lambda: chain(Counting()),
    "a counter of tf_keras": counting_in_tf_keras,
    "an assignment": lambda: chain(Assigning(4)),
    "a spectral norm": lambda: chain(layers.SpectralNormalization(layers.Dense(4))),
}


@pytest.mark.parametrize("kind", LITERT)
def test_the_model_stays_and_its_inference_is_written(kind, tmp_path):
    model = LITERT[kind]()
    inference.call(model, X)
    before = picture(model)
    if kind == "training in the call":  # which computes with its batch, not sample by sample
        with pytest.raises(ValueError, match="norm_by_default.*depend on the others of the batch"):
            litert(model, tmp_path / "m.tflite", check_data=X, sparse=False)
    else:
        litert(model, tmp_path / "m.tflite", check_data=X, sparse=False)
        with pytest.raises(ValueError, match="tolerance"):
            litert(model, tmp_path / "m.tflite", check_data=X, sparse=False, tolerance=-1.0)
    assert picture(model) == before


def gru_from_a_state():
    x, state = keras.Input((5, 3)), keras.Input((4,))
    return keras.Model([x, state], layers.GRU(4, name="rolled")(x, initial_state=state)), [(5, 3), (4,)]


def both_ways_from_states():
    x, *states = keras.Input((5, 3)), keras.Input((4,)), keras.Input((4,))
    y = layers.Bidirectional(layers.GRU(4))(x, initial_state=states)
    return keras.Model([x, *states], y), [(5, 3), (4,), (4,)]


def stateful():
    x = keras.Input(batch_shape=(2, 5, 3))
    return keras.Model(x, layers.LSTM(4, stateful=True, unroll=True, name="going_on")(x)), [(5, 3)]


def named_outputs():
    x = keras.Input((6,))
    y = layers.Dense(4)(x)
    return keras.Model(x, {"b": layers.Dense(2, name="z")(y), "a": layers.Dense(3, name="y")(y)}), [(6,)]


def products():
    x = keras.Input((4, 6))
    y = layers.EinsumDense("btc,cd->btd", (None, 6))(x)
    return keras.Model(x, ops.einsum("btc,bsc->bts", y, x)), [(4, 6)]


def a_model_twice():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6, "relu"), layers.BatchNormalization()])
    x = keras.Input((6,))
    return keras.Model(x, layers.Dense(2)(inner(inner(x)))), [(6,)]


def bound():
    x = keras.Input(batch_shape=(2, 6))
    return keras.Model(x, layers.Dense(2)(x)), [(6,)]


def open_sizes():
    x = keras.Input((None, None, 3))
    return keras.Model(x, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, padding="same")(x))), [(8, 6, 3)]


def with_lora():
    model = chain(layers.Dense(4, "relu"))
    model.layers[1].enable_lora(2)
    model.layers[1].lora_kernel_b.assign(RNG.normal(size=(2, 4)))
    return model, [(6,)]


def ragged():
    x = keras.Input((None, 4), ragged=True, name="rows")
    return keras.Model(x, layers.Dense(2)(x)), [(3, 4)]


def without_kernels():
    x = keras.Input((6,))
    return keras.Model(x, layers.LayerNormalization()(x)), [(6,)]


ZOO = [gru_from_a_state, both_ways_from_states, stateful, named_outputs, products, a_model_twice, bound, open_sizes]
ZOO += [with_lora, ragged, without_kernels]


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_every_way_gives_the_same_model(make, tmp_path):
    model, shapes = make()
    for variable in model.trainable_variables:
        variable.assign(RNG.normal(size=variable.shape) * (RNG.random(variable.shape) > 0.4))
    x = [RNG.random((2, *shape)).astype("float32") for shape in shapes]
    x = x[0] if len(x) == 1 else x
    expected = flat(inference.call(model, x))
    masked = ka.mask(model)
    ka.save(model, tmp_path / "m.kadmm")
    for new in (masked, ka.strip(masked), ka.load(tmp_path / "m.kadmm"), to_tf_keras(model)):
        for ours, theirs in zip(expected, flat(inference.call(new, x)), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    report = ka.report(model)
    assert report.file is not None
    assert report.macs_complete or "Pass `input_shape`" in report.notes
    assert "cannot be told" not in report.notes


def flat(outputs):
    return [ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


@pytest.mark.parametrize(
    "make, options, match",
    [
        (lambda: ragged()[0], {}, "rows: .*ragged=True"),
        (lambda: stateful()[0], {}, "going_on: .*stateful=True.*initial_state"),
        (lambda: to_tf_keras(stateful()[0]), {}, "going_on: .*stateful=True.*initial_state"),
        (lambda: gru_from_a_state()[0], {}, "rolled: .*unroll=True, or translate"),
        (lambda: to_tf_keras(gru_from_a_state()[0], 1), {"quantize": "int8"}, "rolled: .*or choose quantize="),
    ],
)
def test_what_no_tflite_file_can_hold_is_named(make, options, match, tmp_path):
    data = [RNG.random((2, *s)) for s in ((5, 3), (4,))] if options else None
    with pytest.raises(ValueError, match=match):
        litert(make(), tmp_path / "m.tflite", representative_data=data, **options)


@pytest.mark.parametrize("way", [ka.mask, ka.strip, for_xnnpack, lambda model: ka.save(model, "none")])
def test_ways_of_keras_3_name_models_of_tf_keras(way):
    with pytest.raises(ValueError, match="must be a model of Keras 3. Received: sequential"):
        way(of_tf_keras())


def test_own_classes_in_nested_models_come_back_for_xnnpack():
    class Own(layers.Dense):
        pass

    inner = keras.Sequential([keras.Input((6,)), Own(6)])
    inputs = keras.Input((6,))
    model = keras.Model(inputs, inner(inputs))
    np.testing.assert_allclose(flat(for_xnnpack(model)(X))[0], flat(model(X))[0], rtol=1e-6)
