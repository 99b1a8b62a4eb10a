"""The way to LiteRT: what is in the written files, and what they compute when a fresh process runs them."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_admm.export import for_xnnpack, litert
from keras_admm.export.tflite import chain, flatbuffer, tensors
from keras_admm.export.tflite.graph import nodes
from keras_admm.export.tflite.kernels import kernels
from keras_admm.export.tflite.report import LiteRTReport

pytestmark = pytest.mark.tensorflow_only

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 8, 8, 3)).astype("float32")
# A process that knows neither Keras nor TensorFlow: it runs every file on its data and keeps the outputs.
READER = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
for path in sys.argv[1:]:
    interpreter = Interpreter(path)
    runner = interpreter.get_signature_runner()
    with np.load(path + ".in.npz") as data:
        rows = [runner(**{k: data[k][i : i + 1] for k in data.files}) for i in range(len(data[data.files[0]]))]
    np.savez(path + ".out.npz", **{k: np.concatenate([r[k] for r in rows]) for k in rows[0]})
"""


def read_back(path, **inputs):
    """The outputs of a file in a fresh process."""
    np.savez(f"{path}.in.npz", **inputs)
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(f"{path}.out.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}


def levels(shape, zeros=0.8):
    """Weights of 0 and +-1, +-2 times a scale, the largest in each output channel."""
    w = RNG.choice([-2, -1, 1, 2], shape) * (RNG.random(shape) > zeros)
    w.reshape(-1, shape[-1])[0] = 2
    return 0.2 * w.astype("float32")


def fill(model, make):
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(make(tuple(layer.kernel.shape)))
    return model


def conv_net():
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(16, 1),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    return fill(net, levels)


def image_net(stem=3, image=16, end=None, zeros=0.8):
    """The chain that XNNPACK knows, with Keras's own paddings."""
    x = image_in = keras.Input((image, image, 3), name="image")
    x = layers.Conv2D(8, stem, strides=2, padding="same", activation="relu")(x)
    x = y = layers.Conv2D(16, 1)(x)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = layers.Add()([layers.Conv2D(16, 1)(x), y])
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.DepthwiseConv2D(3, strides=2)(x)
    x = layers.Conv2D(16, 1)(x)
    x = (end or layers.GlobalAveragePooling2D())(x)
    net = keras.Model(image_in, layers.Dense(4)(x))
    return fill(net, lambda shape: levels(shape, zeros if shape[:2] == (1, 1) or len(shape) == 2 else 0.0))


def pointwise(graph, **kwargs):
    return [k for k in kernels(graph, **kwargs) if k.op == "CONV_2D" and k.shape[1] == 1]


SCHEMES = {
    None: 1e-4,
    "float16": 1e-2,
    "dynamic_int8": 0.1,
    "int8": 0.1,
    "int4": 0.4,
    "weight_only_wi8_afp32": 0.1,
    "static_wi8_ai8": 0.1,
}


@pytest.mark.parametrize("quantize", SCHEMES)
def test_every_scheme_keeps_zeros_and_levels(quantize, tmp_path):
    model, path = conv_net(), tmp_path / "m.tflite"
    report = litert(model, path, quantize=quantize, representative_data=IMAGES)
    inner = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    kept = sorted(int((ops.convert_to_numpy(k) == 0).sum()) for k in inner)
    stored = [t for t in tensors(path) if len(t.shape) in (2, 4) and t.op in ("CONV_2D", "FULLY_CONNECTED")]
    assert sorted(t.zeros for t in stored) == kept
    assert max(t.distinct_per_channel for t in stored) <= 5
    assert report.bytes == path.stat().st_size and list(tmp_path.iterdir()) == [path]

    expected = model.predict(IMAGES, verbose=0)
    if quantize == "static_wi8_ai8":  # a recipe is passed unchanged, and this one makes inputs int8
        assert report.relative < SCHEMES[quantize]
        return
    found = read_back(path, image=IMAGES)["output_0"]
    apart = np.abs(found - expected).max()
    assert apart <= SCHEMES[quantize] * np.abs(expected).max()
    assert report.difference == pytest.approx(apart, rel=1e-3, abs=1e-6)


def test_integers_in_and_out(tmp_path):
    path = tmp_path / "m.tflite"
    litert(conv_net(), path, quantize="int8", representative_data=IMAGES, integer_io=True)
    found = read_back(path, image=np.zeros((1, 8, 8, 3), "int8"))
    assert found["output_0"].dtype == np.int8


def test_sparse_only_where_it_pays(tmp_path):
    path = tmp_path / "m.tflite"
    auto, dense = litert(conv_net(), path), litert(conv_net(), tmp_path / "d.tflite", sparse=False)
    assert auto.sizes["sparse"] == auto.bytes < auto.sizes["dense"]
    assert dense.sizes == {"dense": dense.bytes}
    assert any(t.sparse for t in auto.tensors) and not any(t.sparse for t in dense.tensors)
    full = litert(fill(conv_net(), lambda shape: np.ones(shape, "float32")), path)
    assert "no tensor has 30%" in full.sparse and "sparse" not in full.sizes
    assert "quantized" in litert(conv_net(), path, quantize="float16").sparse


def kernels_of(path):
    """The stored tensors of rank 2 by their shapes."""
    graph = flatbuffer.read(path)
    return {tuple(t.shape): graph.values(t) for t in graph.stored(graph.model.subgraphs[0]) if len(t.shape) == 2}


def test_sparse_coded_tensors_read_as_the_kernels_they_were(tmp_path):
    model = keras.Sequential([keras.Input((32,)), layers.Dense(16), layers.Dense(8)])
    runs = np.repeat(RNG.random((8, 16)) > 0.8, 4, axis=0)
    model.layers[0].kernel.assign(np.where(runs, RNG.normal(size=(32, 16)), 0))
    model.layers[1].kernel.assign(levels((16, 8)))
    path = tmp_path / "m.tflite"
    litert(model, path)
    graph, found = flatbuffer.read(path), kernels_of(path)
    for layer in model.layers:
        np.testing.assert_array_equal(found[layer.kernel.shape[::-1]], ops.convert_to_numpy(layer.kernel).T)
    assert [(k.here, k.arm) for k in kernels(graph)] == [(True, True), (False, False)]
    assert kernels(graph)[1].why_here.startswith("its zeros are expanded at load")


def test_weights_beyond_the_last_run_are_not_lost(tmp_path):
    """The converter drops them, however small the difference that it makes to the outputs."""
    model, path = keras.Sequential([keras.Input((30,)), layers.Dense(16)]), tmp_path / "m.tflite"
    runs = np.repeat(RNG.random((8, 16)) > 0.8, 4, axis=0)[:30] * RNG.normal(size=(30, 16))
    for last in (1e-9, 0):
        runs[28:] = last
        model.layers[0].kernel.assign(runs)
        report = litert(model, path)
        assert report.sparse.startswith("left out") == (last == 0)
        np.testing.assert_array_equal(kernels_of(path)[16, 30], ops.convert_to_numpy(model.layers[0].kernel).T)
    assert report.kernels[0].here
    model.layers[0].kernel.assign(np.ones((30, 16)) * (np.arange(30) > 25)[:, None])
    with pytest.raises(ValueError, match=r"shape \(16, 30\) .*Give the layer a multiple of 4 inputs"):
        litert(model, path, sparse=True)


@pytest.mark.parametrize(
    "kind, byte, values", [("INT4", 0b1000_0111, [7, -8]), ("INT2", 0b11_10_01_00, [0, 1, -2, -1])]
)
def test_packed_integers_by_hand(kind, byte, values):
    assert flatbuffer._unpack([byte], kind).tolist() == values


def test_several_inputs_and_outputs_keep_their_order(tmp_path):
    b, a = keras.Input((3,), name="b"), keras.Input((3,), name="a")
    model = keras.Model([b, a], [2 * b + a, layers.Dense(2, name="z")(a)])
    x = {"b": RNG.normal(size=(5, 3)).astype("float32"), "a": RNG.normal(size=(5, 3)).astype("float32")}
    path = tmp_path / "m.tflite"
    for data in (x, [x["b"], x["a"]], iter([([x["b"], x["a"]], None)] * 2)):
        litert(model, path, quantize="int8", representative_data=data, tolerance=0.05)
    litert(model, path)
    np.testing.assert_allclose(read_back(path, **x)["output_0"], 2 * x["b"] + x["a"], rtol=1e-5)


@keras.saving.register_keras_serializable("test_export_litert")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_model_is_read_off_its_data(tmp_path):
    model, x = Subclassed(), RNG.normal(size=(4, 6)).astype("float32")
    model(x)
    with pytest.raises(ValueError, match="without data"):
        litert(model, tmp_path / "m.tflite")
    litert(model, tmp_path / "m.tflite", check_data=x)
    np.testing.assert_allclose(
        read_back(tmp_path / "m.tflite", input_0=x)["output_0"], model.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_a_compiled_model_whose_rate_became_a_schedule(tmp_path):
    """Keras then drops the rate from the optimizer's variables, and TensorFlow would not save such a list."""
    model = conv_net()
    model.compile("adam", "mse")
    model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert litert(model, tmp_path / "net.tflite").bytes == (tmp_path / "net.tflite").stat().st_size


def test_a_reduction_over_one_axis(tmp_path):
    """The file has its axis as a scalar."""
    net = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(9, 4), layers.GlobalAveragePooling1D()])
    report = litert(net, tmp_path / "net.tflite", check_data=RNG.integers(0, 9, (5, 6)).astype("int32"))
    assert report.relative < 1e-6


def test_a_batch_that_is_bound(tmp_path):
    model = keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), layers.LSTM(4, unroll=True)])
    report = litert(model, tmp_path / "m.tflite", check_data=RNG.normal(size=(7, 5, 3)))
    assert report.samples == 6 and report.relative < 1e-4
    with pytest.raises(ValueError, match="on 2 samples at once"):
        litert(model, tmp_path / "m.tflite", check_data=RNG.normal(size=(1, 5, 3)))


def test_a_fused_loop_over_time(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    make = tf_keras.layers
    model = tf_keras.Sequential([make.Input(batch_shape=(1, 5, 3)), make.LSTM(4, return_sequences=True)])
    with pytest.warns(UserWarning, match="reset_all_variables"):  # or the second sequence goes on from the first
        report = litert(model, tmp_path / "m.tflite", check_data=RNG.normal(size=(6, 5, 3)))
    assert report.relative < 1e-5
    graph = flatbuffer.read(tmp_path / "m.tflite")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in [graph.op(o) for o in graph.model.subgraphs[0].operators]
    for layer, quantize in ((make.GRU(4, name="rolled"), "int8"), (make.LSTM(4, name="rolled"), None)):
        batch = (1, 5, 3) if quantize else (None, 5, 3)
        model = tf_keras.Sequential([make.Input(batch_shape=batch), layer])
        with pytest.raises(ValueError, match="rolled: .*unroll=True"):
            litert(model, tmp_path / "m.tflite", quantize=quantize, representative_data=RNG.normal(size=(4, 5, 3)))


def test_tf_keras(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Input((6,), name="x"), tf_keras.layers.Dense(4)])
    model.layers[0].kernel.assign(levels((6, 4), 0.5))
    x = RNG.normal(size=(16, 6)).astype("float32")
    for quantize in (None, "int8"):
        report = litert(model, tmp_path / "m.tflite", quantize=quantize, representative_data=x)
        assert report.weights[0].zeros == int((model.layers[0].kernel.numpy() == 0).sum())
        found = read_back(tmp_path / "m.tflite", x=x)["output_0"]
        assert np.abs(found - model(x).numpy()).max() < 0.05


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_learned_ranges(tmp_path, monkeypatch):
    tf_keras = pytest.importorskip("tf_keras")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")  # TFMOT sets it
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    model = tf_keras.Sequential([tf_keras.layers.Input((6,)), tf_keras.layers.Dense(4)])
    model = tfmot.quantization.keras.quantize_model(model)
    x = RNG.normal(size=(32, 6)).astype("float32")
    model.compile("sgd", "mse")
    model.fit(x, x[:, :4], epochs=2, verbose=0)
    report = litert(model, tmp_path / "m.tflite", check_data=x)
    assert report.quantize == "learned" and report.weights[0].type == "INT8"
    graph = flatbuffer.read(tmp_path / "m.tflite")
    assert [graph.op(o) for o in graph.model.subgraphs[0].operators] == ["QUANTIZE", "FULLY_CONNECTED", "DEQUANTIZE"]
    with pytest.raises(ValueError, match="brings its own ranges"):
        litert(model, tmp_path / "m.tflite", quantize="float16")


@pytest.mark.parametrize("refuse", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_another_backend_is_rebuilt_in_a_fresh_process(refuse, tmp_path):
    code = (
        "import keras, numpy as np\n"
        "from keras_admm.export import litert\n"
        "model = keras.Sequential([keras.Input((6,), name='x'), keras.layers.Dense(4)])\n"
        "x = np.random.default_rng(0).normal(size=(8, 6)).astype('float32')\n"
        "np.savez('given.npz', x=x, y=np.asarray(model(x)))\n"
        "print(litert(model, 'm.tflite', quantize='int8', representative_data=x).path)\n"
    )
    if refuse:
        code += (
            "try: litert(model, 'n.tflite', quantize='float16', tolerance=0)\n"
            "except ValueError as error: print('refused:', error)\n"
        )
    here = os.path.dirname(os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": here},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    path, refused = done.stdout.split("\n")[:2]
    assert path == "m.tflite" and ("refused: litert: the file's outputs" in refused) == refuse
    assert not (tmp_path / "n.tflite").exists()
    with np.load(tmp_path / "given.npz") as given:
        found = read_back(tmp_path / "m.tflite", x=given["x"])["output_0"]
        assert np.abs(found - given["y"]).max() < 0.05 * np.abs(given["y"]).max()


def lstm():
    return keras.Sequential([keras.Input((5, 3)), layers.LSTM(4, name="rolled")])


def poisoned():
    return fill(conv_net(), lambda shape: np.full(shape, np.nan, "float32"))


REFUSED = {
    "int8 without data": (conv_net, {"quantize": "int8"}, "needs `representative_data`"),
    "a static recipe without data": (conv_net, {"quantize": "static_wi8_ai8"}, "needs `representative_data`"),
    "data of a wrong shape": (conv_net, {"check_data": IMAGES[:, :4]}, r"must have the shapes .*8, 8, 3"),
    "no data": (conv_net, {"quantize": "int8", "representative_data": IMAGES[:0]}, "at least one"),
    "an empty dataset": (conv_net, {"quantize": "int8", "representative_data": iter([])}, "at least one sample"),
    "two inputs for one": (conv_net, {"check_data": [IMAGES, IMAGES]}, "one array for each input"),
    "a wrong key": (conv_net, {"check_data": {"x": IMAGES}}, "keys must be"),
    "sparse int8": (
        conv_net,
        {"quantize": "int8", "sparse": True, "representative_data": IMAGES},
        "sparse encoding goes with float32",
    ),
    "sparse without zeros": (
        lambda: fill(conv_net(), lambda shape: np.ones(shape, "float32")),
        {"sparse": True},
        "at least 30%",
    ),
    "an unknown recipe": (conv_net, {"quantize": "int5"}, "or a recipe of the LiteRT Quantizer"),
    "integers for floats": (conv_net, {"integer_io": True}, "go with quantize='int8'"),
    "an unknown sparse": (conv_net, {"sparse": "maybe"}, "must be 'auto', True or False"),
    "an unbuilt model": (lambda: keras.Sequential([layers.Dense(2)]), {}, "must be built"),
    "a loop over time": (lstm, {}, "rolled: .*unroll=True"),
    "a name": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="my net"),
        {},
        "my net.*names .* must be such as TensorFlow takes.*to_tf_keras",
    ),
    "not a number": (poisoned, {}, "must be finite"),
    "beyond the tolerance": (conv_net, {"quantize": "float16", "tolerance": 1e-9}, "must be within 1e-09"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_a_sentence_and_the_old_file_stays(case, tmp_path):
    build, arguments, match = REFUSED[case]
    path = tmp_path / "m.tflite"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=match):
        litert(build(), path, **arguments)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"old"


def test_paths_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="a folder"):
        litert(conv_net(), tmp_path)
    with pytest.raises(ValueError, match="can be written"):
        litert(conv_net(), tmp_path / "none" / "m.tflite")


@pytest.mark.parametrize(
    "modules, quantize", [(["ai_edge_litert"], None), (["ai_edge_quantizer", "litert_quantizer"], "int4")]
)
def test_missing_extras(modules, quantize, tmp_path, monkeypatch):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install keras-admm\[litert\]"):
        litert(conv_net(), tmp_path / "m.tflite", quantize=quantize)


def test_tensors_of_a_foreign_file(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"something else")
    with pytest.raises(ValueError, match="must be a .tflite file"):
        tensors(tmp_path / "m.tflite")


def test_the_report(tmp_path):
    report = litert(conv_net(), tmp_path / "m.tflite", check_data=IMAGES)
    assert LiteRTReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    _, stored, runs = str(report).split("\n\n")
    assert len({len(line) for line in stored.splitlines()}) == 1
    assert len(stored.splitlines()) == 1 + len(report.tensors)
    assert "[1] no sparse kernel for a 3x3 convolution" in runs
    assert report.gzip_bytes < report.bytes and report.samples == 24


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A model, its data, and the file of its turned twin."""
    model, x = image_net(), RNG.normal(size=(8, 16, 16, 3)).astype("float32")
    model.layers[3].gamma.assign(RNG.normal(1, 0.3, 16))
    path = tmp_path_factory.mktemp("ready") / "m.tflite"
    twin = for_xnnpack(model)
    litert(twin, path, check_data=x)
    return model, twin, x, path


def test_turned_for_xnnpack_the_outputs_are_equal_and_the_checker_says_yes(ready, tmp_path):
    model, twin, x, path = ready
    expected = model.predict(x, verbose=0)
    assert np.abs(twin.predict(x, verbose=0) - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(expected - expected[::-1]).max() > 0.1 * np.abs(expected).max()
    found = read_back(path, image=x)["output_0"]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()

    graph = flatbuffer.read(path)
    assert [k.arm for k in pointwise(graph)] == [True, True, True]
    assert [k.here for k in pointwise(graph, avx=True)] == [False] * 3
    assert [k.here for k in pointwise(graph, avx=False)] == [True] * 3
    litert(model, tmp_path / "m.tflite", check_data=x)
    assert [k.arm for k in pointwise(flatbuffer.read(tmp_path / "m.tflite"))] == [False] * 3


def test_a_model_padded_as_wanted_is_copied():
    ready = for_xnnpack(image_net())
    again = for_xnnpack(ready)
    for ours, theirs in zip(again.get_weights(), ready.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(again.operations) == len(ready.operations)
    assert again.weights[0] is not ready.weights[0]


def test_convolutions_of_models_in_the_model_are_made_ready_too():
    """On the model's images, turned once, whatever the models in it call their inputs."""
    strided = layers.Conv2D(4, 3, strides=2, padding="same", name="strided")
    line = keras.Sequential([keras.Input((8, 8, 4)), strided, layers.ReLU()], name="line")
    x, y = keras.Input((8, 8, 4)), keras.Input((16, 16, 3))
    inner = keras.Model(x, layers.Conv2D(4, 1)(line(x)), name="inner")
    first = layers.Conv2D(4, 3, strides=2, padding="same", name="first")
    model = keras.Model(y, layers.GlobalAveragePooling2D()(inner(first(y))))
    ready, data = for_xnnpack(model), RNG.normal(size=(4, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(ready.predict(data, verbose=0), model.predict(data, verbose=0), rtol=1e-4, atol=1e-5)
    again = ready.get_layer("inner").get_layer("line")
    assert again.get_layer("strided_around").padding == ready.get_layer("first_around").padding == ((1, 1), (1, 1))


def test_a_model_with_a_call_of_its_own_is_refused():
    class Doubled(keras.Sequential):
        def call(self, x, training=None, mask=None):
            return 2 * super().call(x)

    with pytest.raises(ValueError, match="Received: Doubled .* a `call` of its own"):
        for_xnnpack(Doubled([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]))


def at(found, op, index=0):
    return [i for i, n in enumerate(found) if n.op == op][index]


def change(found, name, index=0, **changes):
    i = at(found, name, index)
    return [*found[:i], found[i]._replace(**changes), *found[i + 1 :]]


def options(found, op, **changes):
    old = found[at(found, op)].options
    return change(found, op, options=type("Options", (), {**vars(old), **changes}))


BROKEN = {
    "nothing": (lambda n: n, None),
    "no stem": (lambda n: change(n, "CONV_2D", stride=(1, 1)), "must begin with a 3x3 convolution"),
    "a stem by rule SAME": (lambda n: change(n, "CONV_2D", pads=None), "must begin with a 3x3 convolution"),
    "a 1x1 with a stride": (lambda n: change(n, "CONV_2D", 1, stride=(2, 2)), "must have stride 1"),
    "a depthwise by rule SAME": (lambda n: change(n, "DEPTHWISE_CONV_2D", 1, pads=None), "not by rule SAME"),
    "a depthwise stride": (lambda n: change(n, "DEPTHWISE_CONV_2D", stride=(3, 3)), "with stride 1 or 2"),
    "a multiplier": (lambda n: options(n, "DEPTHWISE_CONV_2D", depthMultiplier=2), "depth_multiplier=1"),
    "dilation": (lambda n: options(n, "DEPTHWISE_CONV_2D", dilationHFactor=2), "no dilation"),
    "half floats": (lambda n: change(n, "ADD", types=frozenset({"FLOAT16"})), "ADD is not in float32"),
    "an unknown operation": (lambda n: change(n, "ADD", op="CONCATENATION"), "CONCATENATION has no place"),
    "vectors": (lambda n: change(n, "ADD", shapes=((1, 16), (1, 16))), "ADD must work on images"),
    "a mean over channels": (lambda n: change(n, "MEAN", axes=(3,)), "must end in global average pooling"),
    "no mean": (lambda n: n[: at(n, "MEAN")], "must end in global average pooling"),
    "keepdims": (lambda n: options(n[: at(n, "MEAN") + 1], "MEAN", keepDims=True), "with keepdims=True"),
    "keepdims, then flattened": (
        lambda n: change(options(n, "MEAN", keepDims=True), "FULLY_CONNECTED", op="RESHAPE", weights=None),
        None,
    ),
    "keepdims, flattened by the Dense layer": (
        lambda n: change(options(n, "MEAN", keepDims=True), "FULLY_CONNECTED", shapes=((1, 1, 1, 16),)),
        None,
    ),
    "a reader outside": (
        lambda n: [*n, n[at(n, "ADD")]._replace(op="MAX_POOL_2D", inputs=n[at(n, "MEAN")].inputs, outputs=(999,))],
        "is read by an operation outside",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_condition_alone(case, ready):
    graph = flatbuffer.read(ready[-1])
    subgraph = graph.model.subgraphs[0]
    breaks, why = BROKEN[case]
    found = breaks(nodes(graph, subgraph))
    faults = chain.faults(graph, found, set(subgraph.outputs))
    ones = [f for n, f in zip(found, faults, strict=True) if n.op == "CONV_2D" and n.weights.shape[1] == 1]
    assert len(ones) == 3
    assert ones == [None] * 3 if why is None else any(why in (f or "") for f in ones)


def test_two_thirds_of_zeros(tmp_path):
    model, path = for_xnnpack(image_net(zeros=0.5)), tmp_path / "m.tflite"
    assert litert(model, path).sparse.startswith("stored, which takes less")
    report = litert(model, path, sparse=True)
    assert report.bytes == report.sizes["sparse"] > report.sizes["dense"]
    found = pointwise(flatbuffer.read(path))
    assert not any(k.arm for k in found) and all("more than 2/3" in k.why_arm for k in found)


def test_zeros_stored_in_the_file_do_nothing(ready, tmp_path):
    litert(ready[1], tmp_path / "m.tflite", sparse=False, check_data=ready[2])
    found = pointwise(flatbuffer.read(tmp_path / "m.tflite"))
    assert not any(k.arm for k in found) and all("no zeros are left out" in k.why_arm for k in found)


@pytest.mark.parametrize(
    "build, why",
    [
        (lambda: image_net(image=15), "on 15 pixels"),
        (lambda: image_net(end=layers.Flatten()), "a Flatten, which cannot be turned"),
        (lambda: image_net(stem=4), "no padding alike"),
        (Subclassed, "without inputs"),
    ],
)
def test_what_cannot_be_made_ready(build, why):
    with pytest.raises(ValueError, match=why):
        for_xnnpack(build())
