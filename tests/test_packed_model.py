"""Models in packed files: the same comes back, of any layers, on every backend; a stranger's file does no harm."""

import concurrent.futures
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from cases import some
from keras import layers, ops
from models import KINDS

from keras_admm import packed
from keras_admm.constraints import Codebook
from keras_admm.packed import codec
from keras_admm.packed.codec import architecture

pytestmark = pytest.mark.every_backend

GOLDEN = Path(__file__).parent / "golden.kadmm"


@keras.saving.register_keras_serializable("test_packed")
class Residual(keras.Model):
    """A subclassed model with a layer in a list, and one that it calls twice."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.blocks = [layers.Dense(units, activation="relu")]
        self.norm = layers.LayerNormalization()

    def call(self, x):
        return x + self.norm(self.blocks[0](self.norm(x)))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def bits(variable):
    value = ops.convert_to_numpy(ops.convert_to_tensor(variable))
    return value.dtype, value.tobytes()


def comes_back(model, path, x=None, **kwargs):
    packed.save(model, path)
    back = packed.load(path, **kwargs)
    assert type(back) is type(model)
    assert [bits(v) for v in back.weights] == [bits(v) for v in model.weights]
    assert not back.compiled
    if x is not None:
        np.testing.assert_array_equal(*(ops.convert_to_numpy(m(x, training=False)) for m in (back, model)))
    return back


def registered():
    model = Residual(6)
    x = np.ones((2, 6), "float32")
    model(x)
    return model, x, None


def two_inputs_two_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(3, name="shared")
    joined = layers.Concatenate()([shared(a), shared(b)])
    model = keras.Model({"a": a, "b": b}, [layers.Dropout(0.5)(joined), layers.Dense(2, dtype="float16")(joined)])
    return model, None, None


def nested_functional():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="d")], name="inner")
    i = keras.Input((4,))
    return keras.Model(i, layers.Add()([inner(inner(i)), layers.Dense(4)(i)])), np.ones((2, 4), "float32"), None


def small_kinds():
    chosen = ("functional, shared, two inputs", "nested", "MultiHeadAttention", "SeparableConv2D", "Embedding")
    chosen += ("GRU", "Bidirectional", "TimeDistributed")
    return {name: KINDS[name] for name in chosen}


BUILDS = {**small_kinds(), "registered": registered, "two inputs, two outputs": two_inputs_two_outputs}
BUILDS["nested functional"] = nested_functional


@pytest.mark.parametrize("build", some(BUILDS, "MultiHeadAttention", "GRU", "registered", "nested functional"))
def test_a_model_comes_back(build, tmp_path):
    model, x, _ = BUILDS[build]()
    comes_back(model, tmp_path / "m.kadmm", x)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "mixed_bfloat16"])
def test_odd_weights_come_back_bit_for_bit(dtype, tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, dtype=dtype), layers.BatchNormalization()])
    kernel = np.array([[0.0, -0.0, np.inf, np.nan], [-np.inf, 1e-7, 1.5, -2], [0, 0, 3, -0.0]], "float32")
    model.layers[0].kernel.assign(ops.cast(kernel, model.layers[0].kernel.dtype))
    comes_back(model, tmp_path / "m.kadmm")


def test_integers_and_booleans(tmp_path):
    class Counts(layers.Layer):
        def build(self, shape):
            for dtype in ("int32", "uint8", "bool"):
                self.add_weight(shape=(5,), dtype=dtype, trainable=False, initializer="zeros", name=dtype)

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((3,)), Counts()])
    values = [-1, 0, 7, 2**30, 5], [0, 255, 3, 0, 1], [True, False, True, False, True]
    for value, variable in zip(values, model.weights, strict=True):
        variable.assign(ops.convert_to_tensor(np.array(value, variable.dtype)))
    comes_back(model, tmp_path / "m.kadmm", custom_objects={"Counts": Counts})


def test_a_layer_that_does_not_tell_its_name_comes_back(tmp_path):
    class Scaled(layers.Layer):
        def __init__(self, by):
            super().__init__()
            self.by = by

        def call(self, x):
            return x * self.by

        def get_config(self):
            return {"by": self.by}

    model = keras.Sequential([keras.Input((3,)), Scaled(2), layers.Dense(1)])
    comes_back(model, tmp_path / "m.kadmm", custom_objects={"Scaled": Scaled})


def test_statistics_and_assets_come_back(tmp_path):
    normal = layers.Normalization()
    normal.adapt(np.arange(12, dtype="float32").reshape(4, 3))
    model = keras.Sequential([keras.Input((3,)), normal, layers.Dense(2)])
    comes_back(model, tmp_path / "m.kadmm", np.ones((2, 3), "float32"))


def test_a_compiled_and_trained_model(tmp_path):
    model, x, y = KINDS["Conv2D"]()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    comes_back(model, tmp_path / "m.kadmm", x)


def test_a_quantized_model(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6)])
    model.layers[0].quantize("int8")
    comes_back(model, tmp_path / "m.kadmm", np.ones((2, 4), "float32"))


@pytest.mark.parametrize("scope", ["tensor", "channel"])
@pytest.mark.parametrize("pruned", [False, True])
def test_clusters_and_0_come_back(scope, pruned, tmp_path):
    """Bit for bit, on no more values than before, 0 among them."""
    model = keras.Sequential([keras.Input((60,)), layers.Dense(50, use_bias=False)])
    w = np.random.default_rng(0).normal(size=(60, 50)).astype("float32")
    w[np.abs(w) < 1.2 * pruned] = 0
    clustered = Codebook(4, scope=scope, zero=True).project(w)
    model.layers[0].kernel.assign(clustered)
    comes_back(model, tmp_path / "m.kadmm", np.ones((2, 60), "float32"))
    again = keras.ops.convert_to_numpy(packed.load(tmp_path / "m.kadmm").layers[0].kernel)
    columns = again.T if scope == "channel" else again.reshape(1, -1)
    assert all(0 in column and len(np.unique(column)) == 4 for column in columns)


def lenet5():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, activation="relu", name="conv1", kernel_initializer="zeros"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, activation="relu", name="conv2", kernel_initializer="zeros"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="fc1", kernel_initializer="zeros"),
            layers.Dense(10, name="fc2", kernel_initializer="zeros"),
        ],
        name="lenet5",
    )


def test_an_architecture_of_standard_layers_is_small():
    # The initializers are not the default ones here, and cost most of it.
    found = packed.sizes(lenet5())
    assert found.architecture < 110
    assert found.data == 0
    assert found.file - found.architecture < 20


def test_sizes_are_those_of_the_file(tmp_path):
    model = KINDS["Conv2D"]()[0]
    path = tmp_path / "m.kadmm"
    packed.save(model, path)
    found = packed.sizes(path)
    assert found == packed.sizes(path.read_bytes())
    assert found[1:] == packed.sizes(model)[1:]
    assert found.file == path.stat().st_size
    assert found.data + found.index + found.side + found.architecture + found.head == pytest.approx(found.file)
    assert [row.shape for row in found.rows] == [tuple(v.shape) for v in model.weights]
    assert found.data == pytest.approx(sum(row.data for row in found.rows))


# Strangers' files -----------------------------------------------------------------------------------------------


def file_of(described, specs=(), tensors=()):
    return codec.write([described], list(specs), list(tensors))[0]


def refused(tmp_path, data, words, **kwargs):
    path = tmp_path / "stranger.kadmm"
    path.write_bytes(data)
    with pytest.raises(packed.PackedFileError, match=words):
        packed.load(path, **kwargs)


def test_a_lambda_is_refused_as_keras_does(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1)])
    packed.save(model, tmp_path / "m.kadmm")
    refused(tmp_path, (tmp_path / "m.kadmm").read_bytes(), "(?i)lambda")
    back = packed.load(tmp_path / "m.kadmm", safe_mode=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(back(np.zeros((1, 3), "float32"))), np.ones((1, 3)))


def test_an_architecture_cannot_take_more_memory_than_the_file_announces(tmp_path):
    # A dense layer of 4 TB, in a file that speaks of no weights.
    chain = [["InputLayer", {"batch_shape": [None, 1_000_000]}], ["Dense", {"units": 1_000_000, "use_bias": False}]]
    refused(tmp_path, file_of(["Sequential", "m", chain]), "more weights than the 0 bytes")


@pytest.mark.parametrize(
    "described, words",
    [
        (3, "describes no model"),
        (["Sequential"], "describes no model"),
        (["Sequential", "m", [["NoLayer", {}]]], "describes no model"),
        ({"module": "os", "class_name": "system", "config": {}, "registered_name": None}, "Keras must be able"),
        ({"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}, "registered_name": None}, "a Dense"),
        (["Sequential", "m", [["InputLayer", {"batch_shape": [None, 3]}], ["Dense", {"units": 2}]]], "announces"),
    ],
)
def test_a_description_of_no_model(tmp_path, described, words):
    refused(tmp_path, file_of(described), words)


def test_loads_in_threads_leave_keras_as_it_was():
    add_weight = layers.Layer.add_weight
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        names = [model.name for model in threads.map(packed.load, [GOLDEN] * 8)]
    assert names == ["golden"] * 8
    assert layers.Layer.add_weight is add_weight


def test_not_there_or_not_ours(tmp_path):
    with pytest.raises(packed.PackedFileError, match="must be there"):
        packed.load(tmp_path / "none.kadmm")
    refused(tmp_path, b"", "another kind")
    refused(tmp_path, GOLDEN.read_bytes(), "max_bytes", max_bytes=10)


@pytest.mark.parametrize("thing, words", [(keras.Sequential([layers.Dense(2)]), "built"), (42, "model of tf_keras")])
def test_what_cannot_be_saved(thing, words, tmp_path):
    with pytest.raises((TypeError, ValueError), match=words):
        packed.save(thing, tmp_path / "m.kadmm")
    assert not list(tmp_path.iterdir())


def test_a_write_that_is_cut_off_leaves_the_old_file(tmp_path, monkeypatch):
    model, path = KINDS["Conv2D"]()[0], tmp_path / "m.kadmm"
    packed.save(model, path)
    before = path.read_bytes()

    def torn(self, data):
        with open(self, "wb") as partial:
            partial.write(data[:10])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", torn)
    with pytest.raises(ValueError, match="no space"):
        packed.save(lenet5(), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# The file of today, for every reader of tomorrow ----------------------------------------------------------------


def golden():
    """A model with a tensor of every kind; its weights by arithmetic, the same on every machine."""
    i = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(6, 3, name="conv", activation="relu")(i)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(9, name="wide")(layers.Dropout(0.5, name="drop")(x))
    model = keras.Model(i, layers.Add(name="sum")([x, layers.Dense(9, name="own", dtype="float16")(x)]), name="golden")
    for number, variable in enumerate(model.weights):
        count = np.arange(np.prod(variable.shape))
        value = (count * 37 % 23 - 11) * (count * 7 % (5 + number) == 0) / np.float32(64 + number)
        variable.assign(value.reshape(variable.shape).astype(variable.dtype))
    return model


def test_the_golden_file_is_read():
    back, model = packed.load(GOLDEN), golden()
    assert [bits(v) for v in back.weights] == [bits(v) for v in model.weights]
    x = np.ones((1, 8, 8, 2), "float32")
    np.testing.assert_allclose(*(ops.convert_to_numpy(m(x)) for m in (back, model)), rtol=1e-6)


def test_the_golden_file_is_written_again():
    # Not its architecture: another zlib deflates otherwise, and another Keras says more.
    old, new = (codec.open_bytes(data) for data in (GOLDEN.read_bytes(), packed.pack(golden())[0]))
    assert bytes(old.stream) == bytes(new.stream)
    assert list(map(bytes, old.sections)) == list(map(bytes, new.sections))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one fresh process is enough")
def test_the_golden_file_in_a_fresh_process():
    program = (
        "import sys\nfrom keras_admm import packed\n"
        "model = packed.load(sys.argv[1])\nprint(model.name, model.count_params())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(GOLDEN)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert run.stdout.split() == ["golden", str(golden().count_params())], run.stderr


@pytest.mark.parametrize(
    "layer, given",
    [
        (layers.Dense(2), {"units"}),
        (layers.Conv2D(2, 3), {"filters", "kernel_size"}),
        (layers.DepthwiseConv2D(3), {"kernel_size"}),
        (layers.LSTM(2), {"units"}),
        (layers.Embedding(3, 2), {"input_dim", "output_dim"}),
        (layers.BatchNormalization(), set()),
        (layers.MaxPooling2D(), set()),
    ],
)
def test_defaults_take_no_room(layer, given):
    """Nothing breaks when Keras's defaults move away from the fixed table, but files grow."""
    described = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert set(architecture._less(described, layer.name)) == given
