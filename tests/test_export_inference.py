"""Ways out compute inference and leave the model as it was; inputs and precisions of every kind."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_admm import inference
from keras_admm.errors import reason
from keras_admm.export import litert, to_tf_keras
from keras_admm.export.tflite import data
from keras_admm.reporting import report

pytestmark = pytest.mark.tensorflow_only

RNG = np.random.default_rng(0)
X = RNG.random((4, 6)).astype("float32")


def functional(*inner):
    x = inputs = keras.Input((6,))
    for layer in inner:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2)(x))


class Counting(layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros")

    def call(self, inputs):
        self.calls.assign_add(1)
        return inputs + 1.0


def test_variables_come_back_whatever_happens():
    model = functional(Counting())
    with pytest.raises(RuntimeError), inference.unchanged(model):
        model(X)
        raise RuntimeError
    assert int(ops.convert_to_numpy(model.layers[1].calls)) == 0
    model(X)
    assert int(ops.convert_to_numpy(model.layers[1].calls)) == 1


def half_net(policy, last="float32"):
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "relu", dtype=policy), layers.Dense(2, dtype=last, name="head")]
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_half_precision_is_converted_in_float32_and_said(policy, tmp_path):
    model = half_net(policy, policy)
    with pytest.warns(UserWarning, match="float32 copy"):
        report = litert(model, tmp_path / "m.tflite", check_data=X)
    assert policy in report.note and "head" in report.note and report.note in str(report)
    assert [layer.dtype_policy.name for layer in model.layers] == [policy] * 2
    assert report.relative < 1e-5


def test_float64_is_refused_before_the_converter(tmp_path):
    with pytest.raises(
        ValueError, match="head: .* a Dense with weights in float64. Build the model with dtype='float32'"
    ):
        litert(half_net("float32", "float64"), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_the_whole_model_in_half_precision(tmp_path):
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    finally:
        keras.config.set_floatx(before)
    with pytest.warns(UserWarning, match="float16"):
        assert litert(model, tmp_path / "m.tflite", check_data=X).relative < 1e-5
    assert model.inputs[0].dtype == "float16"


def test_quantized_layers_are_named(tmp_path):
    model = half_net("float32")
    model.layers[-1].quantize("int8")
    with pytest.raises(ValueError, match="head: .*before quantize"):
        litert(model, tmp_path / "m.tflite")


def test_text_is_refused_with_the_layer_that_reads_it(tmp_path):
    vectorize = layers.TextVectorization(vocabulary=["cat", "dog"], output_sequence_length=3, name="words")
    text = keras.Input((1,), dtype="string")
    model = keras.Model(text, layers.Embedding(4, 2)(vectorize(text)))
    with pytest.raises(ValueError, match=r"dtype=string.*words \(TextVectorization\)"):
        litert(model, tmp_path / "m.tflite")


def test_sparse_inputs_are_refused(tmp_path):
    inputs = keras.Input((6,), sparse=True, name="counts")
    with pytest.raises(ValueError, match="counts: .*sparse=True"):
        litert(keras.Model(inputs, layers.Dense(2)(inputs)), tmp_path / "m.tflite")


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_inputs_that_are_no_floats(dtype, tmp_path):
    inputs = keras.Input((6,), dtype=dtype)
    model = keras.Model(inputs, layers.Dense(2)(ops.cast(inputs, "float32")))
    assert litert(model, tmp_path / "m.tflite").relative < 1e-5


class Tied(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(20, 8)

    def call(self, inputs):
        return ops.matmul(self.embedding(inputs), ops.transpose(self.embedding.embeddings))


def test_zeros_that_cannot_be_left_out_are_stored_and_it_is_said(tmp_path):
    model, x = Tied(), np.arange(12).reshape(2, 6)
    model(x)
    model.embedding.embeddings.assign(RNG.normal(size=(20, 8)) * (RNG.random((20, 8)) > 0.8))
    report = litert(model, tmp_path / "m.tflite", check_data=x)
    assert "cannot be left out here: " in report.sparse and len(report.sparse) > 60
    with pytest.raises(ValueError, match="error of its converter, .{10}"):
        litert(model, tmp_path / "m.tflite", check_data=x, sparse=True)


class Named(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2)

    def call(self, inputs):
        return self.head(inputs["b"]) - inputs["a"]


@pytest.mark.parametrize("how", ["dict", "iterator", "function of dicts", "function of lists"])
def test_the_forms_of_representative_data(how, tmp_path):
    given = {"a": X[:, :2], "b": X}
    model = Named()
    model(given)
    if how == "function of lists":
        model = functional(layers.Dense(3))
    rows = [{k: v[i : i + 1] for k, v in given.items()} for i in range(4)]
    forms = {"dict": given, "iterator": iter(rows), "function of dicts": lambda: iter(rows)}
    samples = forms.get(how, lambda: ([X[i : i + 1]] for i in range(4)))
    report = litert(model, tmp_path / "m.tflite", quantize="int8", representative_data=samples)
    assert report.samples == 4 and report.relative < 0.1


def test_targets_are_left_out_and_signatures_too():
    assert data.batches([(X, 1)][:1] and iter([(X, 1)]))[0] is X
    assert data.batches(lambda: [("serving_default", {"a": X})])[0] == {"a": X}
    assert data.batches(lambda: [(X, X)], 2)[0] == (X, X)


def test_a_twin_of_a_fixed_batch_size():
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(2)])
    twin = to_tf_keras(model, batch_size=1)
    assert tuple(twin.inputs[0].shape) == (1, 5, 3)
    with pytest.raises(ValueError, match="batch_size=0"):
        to_tf_keras(model, batch_size=0)
    with pytest.raises(TypeError, match="batch_size=True"):
        to_tf_keras(model, batch_size=True)


@pytest.mark.nightly
def test_a_crash_of_the_converter_is_a_sentence(tmp_path):
    inputs = keras.Input((7, 4))
    _, *state = layers.LSTM(3, return_state=True)(inputs)
    model = keras.Model(inputs, layers.LSTM(3, name="second")(inputs, initial_state=state))
    x = RNG.random((4, 7, 4)).astype("float32")
    with pytest.raises(ValueError, match="second: .*child process"):
        litert(to_tf_keras(model, 1), tmp_path / "m.tflite", quantize="int8", representative_data=x)


def test_a_reason_is_never_empty():
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise RuntimeError("  ") from error
    except RuntimeError as error:
        assert reason(error) == "'inner'"
    assert reason(AssertionError()) == "AssertionError without a message"


def test_a_reason_leaves_out_the_configs_of_keras():
    told = "A. config={'x': 1}.\n\nException encountered: B.\n\nException encountered: No f. Full object config: {}"
    assert reason(ValueError(told)) == "No f."
    assert reason(ValueError("Could not interpret activation identifier: {'value': 1}")) == (
        "Could not interpret activation"
    )


@pytest.mark.parametrize("product", ["matmul", "einsum", "unknown"])
def test_macs_of_an_embedding_that_is_multiplied_too(product):
    import tensorflow as tf

    class Head(Tied):
        def call(self, inputs):
            x, table = self.embedding(inputs), self.embedding.embeddings
            if product == "matmul":
                return ops.matmul(x, ops.transpose(table))
            return ops.einsum("btd,vd->btv", x, table) if product == "einsum" else tf.matmul(x[0], table, False, True)

    model = Head()
    model(np.zeros((1, 6), "int32"))
    counted = report(model)
    assert counted.total.macs == (None if product == "unknown" else 6 * 20 * 8)
    assert counted.macs_complete == (product != "unknown")


def test_macs_of_sequences_of_any_length():
    model = keras.Sequential([keras.Input((None, 3)), layers.Dense(2)])
    assert report(model).total.macs is None
    assert report(model, input_shape=(None, 5, 3)).total.macs == 5 * 6
    a, ids = keras.Input((None, 3), name="b"), keras.Input((None,), dtype="int32", name="a")
    y = layers.Dense(2)(a) + layers.Embedding(4, 2)(ids)
    for inputs in ([a, ids], {"b": a, "a": ids}):
        for shape in ({"b": (1, 5, 3), "a": (1, 5)}, {"a": (1, 5), "b": (1, 5, 3)}):
            assert report(keras.Model(inputs, y), input_shape=shape).rows[0].macs == 5 * 6
    with pytest.raises(TypeError, match="input_shape='x'"):
        report(model, input_shape="x")
