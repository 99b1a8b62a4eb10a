"""The hand-over to TFMOT: what stands in the .tflite files after its training, and what holds it there."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import rows
from keras import layers

from keras_admm import weights
from keras_admm.export import litert, strip_tfmot, tfmot
from keras_admm.export.schemes import quantize
from keras_admm.export.schemes.plain import clone, flat
from keras_admm.export.tflite import tensors
from keras_admm.masking import mask

pytestmark = [
    pytest.mark.tensorflow_only,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow_model_optimization") is None, reason="needs TFMOT"),
]

tf_keras = pytest.importorskip("tf_keras")
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(64, 10, 10, 3)).astype("float32")
LABELS = RNG.integers(0, 4, 64)


def levels(shape):
    """Weights of 0 (most) and +-1, +-2 times a scale, the largest in each output channel."""
    w = RNG.choice([-2, -1, 1, 2], shape) * (RNG.random(shape) > 0.7)
    w.reshape(-1, shape[-1])[0] = 2
    return 0.3 * w.astype("float32")


def compressed(model):
    for v in model.weights:
        if len(v.shape) > 1:
            v.assign(levels(tuple(v.shape)))
    return model


def conv_net(kit=keras):
    """Every kind of kernel that TFMOT's scheme takes, each of another size, with and without batch normalization."""
    make = kit.layers
    line = [
        make.Conv2D(8, 3, use_bias=False, name="conv2d"),  # a name that TFMOT would make up itself
        make.BatchNormalization(),
        make.ReLU(),
        make.DepthwiseConv2D(2),
        make.BatchNormalization(),
        make.Activation("relu"),
        make.SeparableConv2D(6, 4),
        make.BatchNormalization(),
        make.Conv2DTranspose(5, 2, strides=2, activation="relu"),
        make.GlobalAveragePooling2D(),
        make.Dense(7),
        make.BatchNormalization(),
        make.ReLU(),
        make.Dense(4),
    ]
    return compressed(kit.Sequential([kit.Input((10, 10, 3)), *line]))


def text_net():
    line = [layers.Embedding(20, 6), layers.GRU(5), layers.Dense(8, activation="elu"), layers.Dense(4)]
    return compressed(keras.Sequential([keras.Input((3,), dtype="int32"), *line]))


def trained(model, x=IMAGES, optimizer=None, **compiled):
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or tf_keras.optimizers.AdamW(1e-2, weight_decay=0.1), loss, **compiled)
    model.fit(x, LABELS[: len(x)], batch_size=16, verbose=0)
    return model


# In the file the outputs come first; the kernels of `conv_net` differ in shape.
IN_FILE = {
    ("CONV_2D", (8, 3, 3, 3)): 0,
    ("DEPTHWISE_CONV_2D", (1, 2, 2, 8)): 1,
    ("DEPTHWISE_CONV_2D", (1, 4, 4, 8)): 2,
    ("CONV_2D", (6, 1, 1, 8)): 3,
    ("TRANSPOSE_CONV", (5, 2, 2, 6)): 4,
    ("FULLY_CONNECTED", (7, 5)): 5,
    ("FULLY_CONNECTED", (4, 7)): 6,
}


def stored(path):
    """The kernels of `conv_net` in a file, in the order of its layers."""
    found = {IN_FILE[t.op, t.shape]: t for t in tensors(path) if (t.op, t.shape) in IN_FILE}
    assert len(found) == len(IN_FILE) and all(t.type == "INT8" for t in found.values())
    return [found[i] for i in range(len(IN_FILE))]


def kernels(model):
    return [weights.read(v) for v in model.weights if len(v.shape) > 1]


@pytest.mark.parametrize(
    "scheme, kit",
    [
        ("qat", keras),
        pytest.param("pqat", keras, marks=pytest.mark.nightly),
        pytest.param("cqat", keras, marks=pytest.mark.nightly),
        ("pcqat", keras),
        pytest.param("pcqat", tf_keras, marks=pytest.mark.nightly),
    ],
)
def test_what_the_file_keeps(scheme, kit, tmp_path):
    model = conv_net(kit)
    before = [w.copy() for w in model.get_weights()]
    aware = trained(tfmot(model, scheme))
    litert(strip_tfmot(aware), tmp_path / "m.tflite", check_data=IMAGES, tolerance=0.5)
    wanted = [int((w == 0).sum()) for w in kernels(model)]
    found = stored(tmp_path / "m.tflite")
    if "p" in scheme:
        assert all(t.zeros >= n for t, n in zip(found, wanted, strict=True))
    if scheme == "qat":
        assert sum(t.zeros for t in found) < sum(wanted) / 2
    if "c" in scheme:
        assert max(t.distinct_per_channel for t in found) <= 5
    else:
        assert max(t.distinct_per_channel for t in found) > 5
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def clusters(w):
    """Which weights are equal, as a matrix."""
    return w.reshape(-1, 1) == w.reshape(1, -1)


TRAINED = {
    "averages, XLA": (lambda: tf_keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True), {"jit_compile": True}),
    "legacy, eager": (lambda: tf_keras.optimizers.legacy.Adam(0.1), {"run_eagerly": True}),
}


@pytest.mark.parametrize(
    "scheme, how",
    rows(lambda scheme, how: (scheme == "pqat") == ("XLA" in how), ["pqat", "pcqat"], TRAINED),
)
def test_kernels_hold_whatever_trains_them(scheme, how):
    optimizer, compiled = TRAINED[how]
    dense = [layers.Dense(9, activation="relu", kernel_constraint="non_neg"), layers.Dense(4)]
    model = compressed(keras.Sequential([keras.Input((6,)), *dense]))
    model.layers[0].kernel.assign(np.abs(weights.read(model.layers[0].kernel)))
    x = RNG.normal(size=(64, 6)).astype("float32")
    aware = trained(tfmot(model, scheme), x, optimizer(), **compiled)
    if "jit_compile" in compiled:
        aware = strip_tfmot(aware)  # the averages of use_ema are past the constraints
    after = [v for v in aware.weights if len(v.shape) > 1]
    assert len(after) == 2 and (after[0].numpy() >= 0).all()  # the model's own constraint holds as well
    for old, new in zip(kernels(model), after, strict=True):
        assert not np.array_equal(old, new.numpy())
        assert (new.numpy()[old == 0] == 0).all()
        if scheme == "pcqat":
            assert (clusters(new.numpy()) >= clusters(old)).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, seen again by pytest.warns
def test_layers_that_stay_float_hold_too():
    model = text_net()
    with pytest.raises(ValueError, match=r"embedding \(Embedding\), gru \(GRU\), dense \(Dense\)\. .* skip=True"):
        tfmot(model, "pqat")
    with pytest.warns(UserWarning, match=r"left float.*: embedding \(Embedding\), gru \(GRU\), dense \(Dense\)\."):
        aware = tfmot(model, "pqat", skip=True)
    assert [layer.name for layer in aware.layers][1:] == ["embedding", "gru", "quant_dense", "quant_dense_1"]
    x = RNG.integers(0, 20, (64, 3))
    after = {tuple(v.shape): v.numpy() for v in trained(aware, x).weights if len(v.shape) > 1}
    for old in kernels(model):
        if len(old) > 2:  # not the bias of the GRU, which has two rows
            assert not np.array_equal(old, after[old.shape]) and (after[old.shape][old == 0] == 0).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_embedding_in_the_file(tmp_path):
    line = [layers.Embedding(20, 6), layers.Flatten(), layers.Dense(4)]
    model = compressed(keras.Sequential([keras.Input((3,), dtype="int32"), *line]))
    x = RNG.integers(0, 20, (64, 3)).astype("int32")
    with pytest.warns(UserWarning, match="left float"):
        aware = trained(tfmot(model, "pcqat", skip=True), x)
    litert(strip_tfmot(aware), tmp_path / "m.tflite", check_data=x, tolerance=0.5)
    table = next(t for t in tensors(tmp_path / "m.tflite") if t.shape == (20, 6))
    assert table.type == "FLOAT32" and table.distinct <= 5
    assert table.zeros == (weights.read(model.layers[0].embeddings) == 0).sum()


@pytest.mark.parametrize("activation", ["hard_silu", "relu6"])
def test_activations_of_all_kinds(activation, tmp_path):
    """As a layer any activation can be taken, also one that is computed in float."""
    line = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Activation(activation), layers.Flatten()]
    model = compressed(keras.Sequential([keras.Input((10, 10, 3)), *line, layers.Dense(4)]))
    aware = trained(tfmot(model, "pqat"))
    assert f"quant_{model.layers[2].name}" in [layer.name for layer in aware.layers]
    litert(strip_tfmot(aware), tmp_path / "m.tflite", check_data=IMAGES, tolerance=0.5)
    kept = {t.shape: t.zeros for t in tensors(tmp_path / "m.tflite")}
    zeros = [int((w == 0).sum()) for w in kernels(model)]
    assert kept[4, 3, 3, 3] >= zeros[0] and kept[4, 256] >= zeros[1]


@pytest.mark.parametrize("kit", [keras, tf_keras], ids=lambda kit: kit.__name__)
def test_without_a_scheme_it_is_what_tfmot_strips(kit):
    model = conv_net(kit)
    tool = quantize.load().sparsity.keras
    ours = tfmot(mask(model) if kit is keras else model)
    copy = clone(ours)
    prunable = (tf_keras.layers.Conv2D, tf_keras.layers.Dense)

    def wrap(layer):
        depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
        held = isinstance(layer, prunable) and not depthwise
        return tool.prune_low_magnitude(layer, tool.ConstantSparsity(0.0, 0)) if held else layer

    theirs = tool.strip_pruning(tf_keras.models.clone_model(copy, clone_function=wrap))
    assert [type(a) for a in ours.layers] == [type(b) for b in theirs.layers]
    assert [a.get_config() for a in ours.layers] == [b.get_config() for b in theirs.layers]
    assert all((a == b).all() for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True))
    assert all((a == b).all() for a, b in zip(kernels(ours), kernels(model), strict=True))


def nested():
    """Two inputs and outputs, models in models with equal names, one shared, one frozen by its call."""
    make = tf_keras.layers
    a, b = tf_keras.Input((6,), name="a"), tf_keras.Input((6,), name="b")
    deep = tf_keras.Sequential([make.Dense(6, name="dense"), make.BatchNormalization(momentum=0.5, name="bn")])
    x = tf_keras.Input((6,))
    shared = tf_keras.Model(x, make.Add()([deep(x), make.Dense(6, name="a")(x)]), name="shared")
    frozen = tf_keras.Sequential([make.Dense(6), make.BatchNormalization(momentum=0.5), make.Dropout(0.5)])
    left, right = shared(a), shared(b)
    outputs = {"y": make.Dense(4, name="y")(frozen(left, training=False)), "z": make.Concatenate()([left, right])}
    model = tf_keras.Model({"a": a, "b": b}, outputs)
    for v in model.weights:
        v.assign(levels(tuple(v.shape)) if len(v.shape) > 1 else RNG.uniform(0.5, 1.5, v.shape))
    return model


def test_models_in_the_model_are_opened():
    model = nested()
    data = {name: RNG.normal(size=(8, 6)).astype("float32") for name in "ab"}
    graph = flat(clone(model))
    assert not any(isinstance(layer, tf_keras.Model) for layer in graph.layers)
    assert len({layer.name for layer in graph.layers}) == len(graph.layers) and graph.input_names == ["a", "b"]
    for training in (False, True):
        wanted, found = model(data, training=training), graph(data, training=training)
        assert list(found) == ["y", "z"]
        assert all(np.abs(wanted[k] - found[k]).max() < 1e-5 for k in found)
    assert sorted(map(str, kernels(model))) == sorted(map(str, kernels(graph)))


def test_a_model_in_the_model_is_trained(tmp_path):
    line = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    old = tf_keras.Sequential([tf_keras.Input((10, 10, 3)), tf_keras.Sequential(to_tf(line)), *to_tf(HEAD)])
    model = compressed(old)
    aware = trained(tfmot(model, "pqat"))
    litert(strip_tfmot(aware), tmp_path / "m.tflite", check_data=IMAGES, tolerance=0.5)
    kept = {t.shape: t.zeros for t in tensors(tmp_path / "m.tflite")}
    zeros = [int((w == 0).sum()) for w in kernels(model)]
    assert kept[4, 3, 3, 3] >= zeros[0] and kept[4, 256] >= zeros[1]


HEAD = [layers.Flatten(), layers.Dense(4)]


def to_tf(line):
    """The same kinds of layers in tf_keras."""
    options = {"Conv2D": (4, 3), "Dense": (4,)}
    return [getattr(tf_keras.layers, type(x).__name__)(*options.get(type(x).__name__, ())) for x in line]


def test_strip_and_going_on_from_weights(tmp_path):
    """A copy holds nothing, and a model in a file does not either: its weights go into a new one that does."""
    line = [layers.Conv2D(4, 3, strides=3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(4)]
    model = compressed(keras.Sequential([keras.Input((10, 10, 3)), *line]))
    aware, again = trained(tfmot(model, "pcqat")), tfmot(model, "pcqat")
    outputs = aware.predict(IMAGES, verbose=0)
    stripped = strip_tfmot(aware)
    assert np.array_equal(stripped.predict(IMAGES, verbose=0), outputs)
    assert not any(v.constraint for v in stripped.weights) and any(v.constraint for v in aware.weights)
    aware.save_weights(tmp_path / "m.weights.h5")
    again.load_weights(tmp_path / "m.weights.h5")
    assert np.array_equal(again.predict(IMAGES, verbose=0), outputs) and any(v.constraint for v in again.weights)


def test_strip_where_there_is_nothing():
    model = conv_net(tf_keras)
    assert np.array_equal(strip_tfmot(model).predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


class Subclassed(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = tf_keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def subclassed():
    model = Subclassed()
    model(np.ones((1, 3)))
    return model


def around(inner):
    return tf_keras.Sequential([tf_keras.Input((3,)), inner, tf_keras.layers.Dense(2)])


def pruned():
    return quantize.load().sparsity.keras.prune_low_magnitude(around(tf_keras.layers.Dense(2, name="inner")))


def ours_already():
    return tfmot(compressed(keras.Sequential([keras.Input((3,)), layers.Dense(4, name="head")])), "pqat")


def unpruned():
    return keras.Sequential([keras.Input((30,)), layers.Dense(40, name="head")])


def float_only():
    return compressed(keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="elu", name="head")]))


BAD = {
    "an unknown scheme": (
        unpruned,
        "int8",
        ValueError,
        "None, 'qat', 'pqat', 'cqat', 'pcqat'. Received: scheme='int8'",
    ),
    "no zeros": (unpruned, "pqat", ValueError, "to keep zeros, .* Prune it first"),
    "no clusters": (unpruned, "cqat", ValueError, "to keep clusters, .* few levels first"),
    "not built": (lambda: tf_keras.Sequential([tf_keras.layers.Dense(2)]), "qat", ValueError, "must be built"),
    "not built, Keras 3": (lambda: keras.Sequential([layers.Dense(2)]), None, ValueError, "must be built"),
    "subclassed": (subclassed, "qat", ValueError, r"has a graph .* Received: a Subclassed, .* tf_keras.Model\("),
    "subclassed inside": (lambda: around(subclassed()), "qat", ValueError, "subclassed.*: only a Sequential"),
    "wrapped": (pruned, "qat", ValueError, "inner: .* PruneLowMagnitude. Pass TFMOT's strip_pruning"),
    "wrapped by us": (ours_already, "pqat", ValueError, "Pass the model as it was before quantization"),
    "a layer that it refuses": (float_only, "pqat", ValueError, r"cannot: head \(Dense\). .*quantize='int8'"),
    "no model": (
        lambda: "m.keras",
        "pqat",
        TypeError,
        "must be a keras.Model or a model of tf_keras. Received: model='m.keras'. Open",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    make, scheme, error, message = BAD[case]
    with pytest.raises(error, match=message):
        tfmot(make(), scheme)


def test_bad_input_where_all_would_stay_float():
    with pytest.raises(ValueError, match="needs a layer that it can quantize"):
        tfmot(float_only(), "pqat", skip=True)
    with pytest.raises(TypeError, match="Use keras_admm.strip"):
        strip_tfmot(unpruned())


FLAG = """
import os, sys
import numpy as np, keras
import keras_admm as ka
assert "tensorflow_model_optimization" not in sys.modules
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(9, activation="relu"), keras.layers.Dense(4)])
model.layers[0].kernel.assign(np.eye(6, 9))
aware = ka.export.tfmot(model, "pqat")
aware.compile("sgd", "mse")
aware.fit(np.ones((16, 6)), np.ones((16, 4)), verbose=0)
kernel = aware.layers[2].weights[0].numpy()
print("held" if kernel.shape == (6, 9) and (kernel[np.eye(6, 9) == 0] == 0).all() else kernel)
import tensorflow as tf
print(os.environ.get("TF_USE_LEGACY_KERAS"), tf.keras.Model.__module__.split(".")[0])
"""


def run(**environment):
    clean = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    found = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", FLAG], env={**clean, **found, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "backend, flag, module",
    [("tensorflow", "1", "tf_keras"), pytest.param("jax", "0", "keras", marks=pytest.mark.nightly)],
)
def test_the_environment_is_as_it_was(backend, flag, module):
    assert run(KERAS_BACKEND=backend, TF_USE_LEGACY_KERAS=flag) == ["held", flag, module]


def test_the_environment_is_as_it_was_when_the_import_fails(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tensorflow_model_optimization")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    broken = tmp_path / "tensorflow_model_optimization"
    broken.mkdir()
    (broken / "__init__.py").write_text(
        "import os\nos.environ['TF_USE_LEGACY_KERAS'] = '1'\nraise ImportError('a part of it is missing')\n"
    )
    with pytest.raises(ImportError, match="pip install tensorflow-model-optimization"):
        tfmot(text_net(), "pqat")
    assert "TF_USE_LEGACY_KERAS" not in os.environ


class Twice(tf_keras.layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


class Nameless(tf_keras.layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {"factor": self.factor}


class Conv2D(tf_keras.layers.Conv2D):
    """Of a name that tf_keras has."""


class Head(layers.Dense):
    pass


def test_a_subclass_of_keras_is_quantized_as_what_it_computes():
    aware = tfmot(compressed(keras.Sequential([keras.Input((6,)), Head(4, "relu"), layers.Dense(2)])), "pqat")
    assert [type(layer.layer).__name__ for layer in aware.layers[2:]] == ["Dense", "Dense"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_own_layers_of_tf_keras_stay_float():
    make = tf_keras.layers
    model = compressed(tf_keras.Sequential([make.Input((6,)), Twice(4, name="twice"), make.Dense(2)]))
    with pytest.warns(UserWarning, match=r"left float.*: twice \(Twice\)"):
        aware = tfmot(model, "pqat", skip=True)
    assert [type(layer).__name__ for layer in aware.layers] == ["Twice", "QuantizeWrapperV2"]


@pytest.mark.parametrize(
    "line, match",
    [
        (lambda make: [make.Input((6,)), Nameless(2.0), make.Dense(2)], "nameless.*get_config.. has no name"),
        (lambda make: [make.Input((6, 6, 3)), Conv2D(2, 1, name="own"), make.Dense(2)], "own: .*another name"),
        (lambda make: [make.Input((6,)), make.Dense(4, dtype="mixed_float16", name="half")], "half: .*mixed_float16"),
        (lambda make: [make.Input((6,)), make.Dense(4, dtype="float16", name="half")], "half: .*Build .* in float32"),
        (lambda make: [make.Input((None, 6), ragged=True, name="rows"), make.Dense(4)], "rows: .*ragged=True"),
    ],
)
@pytest.mark.filterwarnings("ignore:sequential.* left float")
def test_what_tfmot_would_fail_on_is_named(line, match):
    with pytest.raises(ValueError, match=match):
        tfmot(tf_keras.Sequential(line(tf_keras.layers)), "qat", skip=True)
