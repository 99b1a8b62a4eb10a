"""What every way out leaves as it was in the model, whether it succeeds or fails."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers

import keras_admm as ka
from keras_admm import inference
from keras_admm.export import for_xnnpack, litert, strip, tfmot, to_tf_keras

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
    "export.strip": lambda model, x, path: strip(model),
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
    assert not kind.startswith("zeros") or done == set(WAYS) - {"export.strip", "save where there is no folder"}


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


class Counting(layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros")

    def call(self, inputs):
        self.calls.assign_add(1)
        return inputs + 1.0


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
