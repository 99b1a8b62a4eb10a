"""The tf_keras twin of a Keras 3 model: every layer of keras.layers, every kind of graph, files and TFMOT."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import rows
from keras import layers, ops

from keras_admm.constraints import Sparse
from keras_admm.export.twin import operations, to_tf_keras, translated
from keras_admm.export.twin.layers import twin_layer
from keras_admm.masking import mask

pytestmark = pytest.mark.tensorflow_only

IMAGE, SEQUENCE, VOLUME, CLIP = (6, 6, 2), (5, 3), (4, 4, 4, 2), (3, 4, 4, 2)
RECURRENT = [
    {"units": 3},
    {"units": 3, "return_sequences": True, "go_backwards": True},
    {"units": 3, "return_state": True, "recurrent_activation": "hard_sigmoid", "activation": "hard_silu"},
    {"units": 3, "use_bias": False, "kernel_regularizer": "l2", "recurrent_constraint": "max_norm"},
    {"units": 3, "stateful": True},
]
RECURRENT_SIMPLE = [{k: v for k, v in each.items() if k != "recurrent_activation"} for each in RECURRENT]
CONV_LSTM = [{"filters": 2, "kernel_size": 2}, {"filters": 2, "kernel_size": 2, "recurrent_activation": "sigmoid"}]
PADDED = [{"pool_size": 2}, {"pool_size": 2, "padding": "same", "strides": 1}]
CONV = [
    {"filters": 4, "kernel_size": 3},
    {"filters": 4, "kernel_size": 2, "strides": 2, "padding": "same", "activation": "relu6"},
    {"filters": 4, "kernel_size": 2, "dilation_rate": 2, "groups": 2, "use_bias": False},
]
TRANSPOSED = [CONV[0], CONV[1]]
SEPARABLE = [CONV[0], CONV[1], {"filters": 4, "kernel_size": 2, "dilation_rate": 2, "depth_multiplier": 2}]
DEPTHWISE = [{k: v for k, v in {**each, "depth_multiplier": 2}.items() if k != "filters"} for each in SEPARABLE]

# Each layer's inputs (one shape or a list of them, without the batch axis) and options to try it with.
CASES = {
    "Activation": ((4,), [{"activation": a} for a in ("hard_sigmoid", "leaky_relu", "log_softmax", "silu", "celu")]),
    "ActivityRegularization": ((4,), [{"l1": 0.1}]),
    "Add": ([(4,), (4,), (4,)], [{}]),
    "AdditiveAttention": ([SEQUENCE, SEQUENCE], [{}, {"use_scale": False}]),
    "AlphaDropout": ((4,), [{"rate": 0.5}]),
    "Attention": ([SEQUENCE, SEQUENCE], [{}, {"use_scale": True, "score_mode": "concat"}]),
    "Average": ([(4,), (4,)], [{}]),
    "AveragePooling1D": (SEQUENCE, PADDED),
    "AveragePooling2D": (IMAGE, PADDED),
    "AveragePooling3D": (VOLUME, PADDED),
    "BatchNormalization": (IMAGE, [{}, {"axis": 1, "epsilon": 1e-6, "scale": False}, {"center": False}]),
    "CategoryEncoding": ((4,), [{"num_tokens": 5}, {"num_tokens": 5, "output_mode": "count"}]),
    "CenterCrop": (IMAGE, [{"height": 4, "width": 3}]),
    "Concatenate": ([IMAGE, IMAGE], [{}, {"axis": 1}]),
    "Conv1D": ((7, 4), [*CONV, {"filters": 4, "kernel_size": 2, "padding": "causal"}]),
    "Conv1DTranspose": ((7, 4), TRANSPOSED),
    "Conv2D": ((7, 7, 4), CONV),
    "Conv2DTranspose": ((7, 7, 4), TRANSPOSED),
    "Conv3D": ((5, 5, 5, 2), [CONV[0], CONV[1]]),
    "Conv3DTranspose": ((5, 5, 5, 2), TRANSPOSED),
    "ConvLSTM1D": ((3, 4, 2), CONV_LSTM),
    "ConvLSTM2D": (CLIP, [*CONV_LSTM, {**CONV_LSTM[0], "return_sequences": True, "padding": "same"}]),
    "ConvLSTM3D": ((3, 4, 4, 4, 2), CONV_LSTM),
    "Cropping1D": (SEQUENCE, [{"cropping": 1}]),
    "Cropping2D": (IMAGE, [{"cropping": ((1, 2), (0, 1))}]),
    "Cropping3D": (VOLUME, [{"cropping": 1}]),
    "Dense": ((4,), [{"units": 3}, {"units": 3, "activation": "hard_silu", "use_bias": False}]),
    "DepthwiseConv1D": ((7, 4), DEPTHWISE),
    "DepthwiseConv2D": ((7, 7, 4), DEPTHWISE),
    "Discretization": ((4,), [{"bin_boundaries": [-0.5, 0.5]}]),
    "Dot": ([SEQUENCE, SEQUENCE], [{"axes": 2}, {"axes": 2, "normalize": True}]),
    "Dropout": ((4,), [{"rate": 0.5}]),
    "EinsumDense": (SEQUENCE, [{"equation": "abc,cd->abd", "output_shape": (None, 4), "bias_axes": "d"}]),
    "ELU": ((4,), [{}, {"alpha": 0.5}]),
    "Embedding": ((4,), [{"input_dim": 5, "output_dim": 3}, {"input_dim": 5, "output_dim": 3, "mask_zero": True}]),
    "Flatten": (IMAGE, [{}, {"data_format": "channels_first"}]),
    "GaussianDropout": ((4,), [{"rate": 0.5}]),
    "GaussianNoise": ((4,), [{"stddev": 0.5}]),
    "GlobalAveragePooling1D": (SEQUENCE, [{}, {"keepdims": True, "data_format": "channels_first"}]),
    "GlobalAveragePooling2D": (IMAGE, [{}, {"keepdims": True, "data_format": "channels_first"}]),
    "GlobalAveragePooling3D": (VOLUME, [{}]),
    "GlobalMaxPooling1D": (SEQUENCE, [{}]),
    "GlobalMaxPooling2D": (IMAGE, [{}, {"keepdims": True, "data_format": "channels_first"}]),
    "GlobalMaxPooling3D": (VOLUME, [{}]),
    "GroupNormalization": (IMAGE, [{"groups": 2}, {"groups": -1, "epsilon": 0.1}]),
    "GRU": (SEQUENCE, [*RECURRENT, {"units": 3, "reset_after": False}]),
    "Identity": ((4,), [{}]),
    "IntegerLookup": ((4,), [{"vocabulary": [1, 2]}, {"vocabulary": [1, 2], "output_mode": "multi_hot"}]),
    "LayerNormalization": (IMAGE, [{}, {"axis": (1, 2), "epsilon": 0.1}, {"scale": False}]),
    "LeakyReLU": ((4,), [{}, {"negative_slope": 0.1}]),
    "LSTM": (SEQUENCE, [*RECURRENT, {"units": 3, "unroll": True}]),
    "Masking": (SEQUENCE, [{}]),
    "Maximum": ([(4,), (4,)], [{}]),
    "MaxPooling1D": (SEQUENCE, PADDED),
    "MaxPooling2D": (IMAGE, PADDED),
    "MaxPooling3D": (VOLUME, PADDED),
    "Minimum": ([(4,), (4,)], [{}]),
    "MultiHeadAttention": ([SEQUENCE, SEQUENCE], [{"num_heads": 2, "key_dim": 3}]),
    "Multiply": ([(4,), (4,)], [{}]),
    "Normalization": ((4,), [{"mean": 1.0, "variance": 4.0}, {}, {"invert": True}]),
    "Permute": (IMAGE, [{"dims": (2, 3, 1)}]),
    "PReLU": (IMAGE, [{}, {"shared_axes": (1, 2)}]),
    "RandomBrightness": (IMAGE, [{"factor": 0.2}]),
    "RandomContrast": (IMAGE, [{"factor": 0.2}]),
    "RandomFlip": (IMAGE, [{}]),
    "RandomRotation": (IMAGE, [{"factor": 0.2}]),
    "RandomTranslation": (IMAGE, [{"height_factor": 0.2, "width_factor": 0.2}]),
    "RandomZoom": (IMAGE, [{"height_factor": 0.2}]),
    "ReLU": ((4,), [{}, {"max_value": 0.5, "negative_slope": 0.1, "threshold": 0.2}]),
    "RepeatVector": ((4,), [{"n": 3}]),
    "Rescaling": (IMAGE, [{"scale": 0.5, "offset": 1.0}]),
    "Reshape": (IMAGE, [{"target_shape": (-1, 4)}]),
    "Resizing": (IMAGE, [{"height": 4, "width": 9}, {"height": 4, "width": 4, "interpolation": "nearest"}]),
    "SeparableConv1D": ((7, 4), SEPARABLE),
    "SeparableConv2D": ((7, 7, 4), SEPARABLE),
    "SimpleRNN": (SEQUENCE, RECURRENT_SIMPLE),
    "Softmax": (SEQUENCE, [{}, {"axis": 1}]),
    "SpatialDropout1D": (SEQUENCE, [{"rate": 0.5}]),
    "SpatialDropout2D": (IMAGE, [{"rate": 0.5}]),
    "SpatialDropout3D": (VOLUME, [{"rate": 0.5}]),
    "StringLookup": ((4,), [{"vocabulary": ["a", "b"]}, {"vocabulary": ["a", "b"], "num_oov_indices": 2}]),
    "Subtract": ([(4,), (4,)], [{}]),
    "TextVectorization": ((1,), [{"vocabulary": ["a", "b"], "output_sequence_length": 3}]),
    "UnitNormalization": (IMAGE, [{}]),
    "UpSampling1D": (SEQUENCE, [{"size": 2}]),
    "UpSampling2D": (IMAGE, [{"size": 2}, {"size": 2, "interpolation": "bilinear"}]),
    "UpSampling3D": (VOLUME, [{"size": 2}]),
    "ZeroPadding1D": (SEQUENCE, [{"padding": (1, 2)}]),
    "ZeroPadding2D": (IMAGE, [{"padding": ((1, 0), (2, 1))}, {"data_format": "channels_first"}]),
    "ZeroPadding3D": (VOLUME, [{}]),
}
HOLDERS = {
    "Bidirectional": [
        lambda: layers.Bidirectional(layers.LSTM(2, recurrent_activation="hard_sigmoid", return_sequences=True)),
        lambda: layers.Bidirectional(layers.GRU(2), merge_mode="sum", backward_layer=layers.GRU(2, go_backwards=True)),
    ],
    "RNN": [lambda: layers.RNN(layers.LSTMCell(3), return_sequences=True)],
    "GRUCell": [lambda: layers.RNN(layers.GRUCell(3))],
    "LSTMCell": [lambda: layers.RNN(layers.LSTMCell(3, activation="hard_silu"))],
    "SimpleRNNCell": [lambda: layers.RNN(layers.SimpleRNNCell(3), go_backwards=True)],
    "StackedRNNCells": [lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(2), layers.LSTMCell(3)]))],
    "TimeDistributed": [
        lambda: layers.TimeDistributed(layers.Dense(2, activation="hard_silu")),
        lambda: layers.TimeDistributed(layers.BatchNormalization()),
        lambda: layers.TimeDistributed(keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])),
    ],
}
# What has no twin, and how to see it refused.
REFUSED = {
    **{f"Adaptive{kind}Pooling{n}D": {"output_size": 2} for kind in ("Average", "Max") for n in (1, 2, 3)},
    **{name: {} for name in ("AugMix", "AutoContrast", "CutMix", "Equalization", "MixUp", "RandAugment")},
    **{name: {} for name in ("ContrastLimitedAdaptiveHistogramEqualization", "RandomElasticTransform")},
    **{name: {} for name in ("RandomErasing", "RandomGaussianBlur", "RandomGrayscale", "RandomInvert")},
    **{name: {} for name in ("RandomPerspective", "RandomShear", "Solarization", "RandomColorJitter")},
    **{name: {"factor": 0.1} for name in ("RandomColorDegeneration", "RandomHue")},
    **{name: {"factor": 0.1} for name in ("RandomSaturation", "RandomSharpness")},
    **{"RMSNormalization": {}, "MelSpectrogram": {}, "STFTSpectrogram": {}, "Lambda": {"function": abs}},
    **{"ReversibleEmbedding": {"input_dim": 5, "output_dim": 3}, "Hashing": {"num_bins": 3}},
    "GroupedQueryAttention": {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1},
    "HashedCrossing": {"num_bins": 3},
    "RandomPosterization": {"factor": 4},
    "RandomCrop": {"height": 4, "width": 4},
    "SpectralNormalization": {"layer": layers.Dense(3)},
    "Pipeline": {"layers": []},
    "MaxNumBoundingBoxes": {"max_number": 2},
}
# Not layers that stand in a graph of the TensorFlow backend by themselves.
NOT_ALONE = {"Layer", "Wrapper", "InputLayer", "FlaxLayer", "JaxLayer", "TorchModuleWrapper", "TFSMLayer"}
INTEGERS = {"CategoryEncoding", "Embedding", "IntegerLookup"}
STRINGS = {"StringLookup", "TextVectorization"}


@pytest.fixture(autouse=True)
def seeded():
    """As in conftest, but without the collection of garbage that takes longer than most of these many tests."""
    keras.utils.set_random_seed(0)


def all_layers():
    found = (getattr(layers, name) for name in dir(layers))
    return {x.__name__: x for x in found if isinstance(x, type) and issubclass(x, layers.Layer)}


def randomized(model):
    """All weights away from their initial values, those that are variances positive."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 0.9, weight.shape).astype(weight.dtype))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return model


def data(model, n=3):
    rng = np.random.default_rng(1)
    kinds = {
        "string": lambda shape: np.array(["a", "b", "c b"])[rng.integers(0, 3, shape)],
        "float32": lambda shape: rng.normal(size=shape).astype("float32"),
    }
    return [kinds.get(x.dtype, lambda s: rng.integers(0, 4, s))((n, *x.shape[1:])) for x in model.inputs]


def numpy(outputs):
    return [ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]


def call(model, x):
    import tensorflow as tf

    x = [tf.constant(each) for each in x]
    return model(x[0] if len(x) == 1 else x, training=False)


def assert_twins(model, twin, x=None):
    x = data(model) if x is None else x
    ours, theirs = numpy(call(model, x)), numpy(call(twin, x))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


def assert_same_weights(model, pairs):
    """Bit for bit, whatever the order in which the two libraries list them."""
    ours = sorted(ops.convert_to_numpy(v).tobytes() for v in model.weights)
    leaves = {id(v): v for _, twin in pairs for v in twin.weights}
    assert ours == sorted(v.numpy().tobytes() for v in leaves.values())


def single(layer, shapes, dtype="float32"):
    stateful = {"batch_size": 3} if getattr(layer, "stateful", False) else {}
    inputs = [keras.Input(s, dtype=dtype, **stateful) for s in ([shapes] if isinstance(shapes, tuple) else shapes)]
    separate = type(layer).__name__ == "MultiHeadAttention"
    outputs = layer(*inputs) if separate or len(inputs) == 1 else layer(inputs)
    return randomized(keras.Model(inputs, outputs))


@pytest.mark.parametrize("name, i", [(name, i) for name, (_, each) in CASES.items() for i in range(len(each))])
def test_layer(name, i):
    shapes, options = CASES[name][0], CASES[name][1][i]
    dtype = "int32" if name in INTEGERS else "string" if name in STRINGS else "float32"
    model = single(getattr(layers, name)(**options), shapes, dtype)
    twin, pairs = translated(model)
    assert_twins(model, twin)
    assert_same_weights(model, pairs)


@pytest.mark.parametrize("name, i", [(name, i) for name, each in HOLDERS.items() for i in range(len(each))])
def test_layer_that_holds_layers(name, i):
    model = single(HOLDERS[name][i](), SEQUENCE)
    twin, pairs = translated(model)
    assert_twins(model, twin)
    assert_same_weights(model, pairs)


@pytest.mark.parametrize("name", REFUSED)
def test_layer_without_twin_is_refused(name):
    with pytest.raises(NotImplementedError, match="tf_keras|Keras 3"):
        twin_layer(all_layers()[name](**REFUSED[name]), None)


def test_every_layer_is_covered_or_refused():
    known = [*CASES, *HOLDERS, *REFUSED, *NOT_ALONE]
    assert sorted(known) == sorted(all_layers()), "give a new layer of Keras a case, or refuse it"


def branches():
    """Inputs and outputs by name; a shared layer, and a model in a model, both called twice."""
    a, b = keras.Input((8, 8, 4), name="a"), keras.Input((8, 8, 4), name="b")
    shared = layers.Conv2D(4, 3, activation="hard_silu", name="shared")
    deepest = keras.Sequential([keras.Input((6, 6, 4)), shared, layers.BatchNormalization()])
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 1, name="shared"), deepest])
    x, y = inner(shared(a)), inner(shared(b))
    z = layers.Concatenate()([x, y, layers.add([x, y])])
    return keras.Model({"a": a, "b": b}, {"x": layers.GlobalMaxPooling2D()(z), "y": [y, layers.Flatten()(z)]})


def test_graph_keeps_its_structure():
    model = randomized(branches())
    twin, pairs = translated(model)
    x = dict(zip("ab", data(model), strict=True))
    ours, theirs = model.predict(x, verbose=0), twin.predict(x, verbose=0)
    assert theirs.keys() == {"x", "y"} and len(theirs["y"]) == 2
    for a, b in zip(numpy(ours), numpy(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)
    assert_same_weights(model, pairs)
    assert twin.count_params() == model.count_params()
    assert len({layer.name for layer in twin.layers}) == len(twin.layers) == 9
    assert not [layer for layer in twin.layers if hasattr(layer, "layers")]
    assert not getattr(twin, "optimizer", None) and not twin._is_compiled


def test_model_shared_by_two_models_is_read_from_the_right_one():
    """The inner model's layers have nodes of other graphs too."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x = keras.Input((4,))
    keras.Model(x, layers.RMSNormalization()(inner(x)))
    model = randomized(keras.Model(x, inner(x * 2.0)))
    assert_twins(model, to_tf_keras(model))


OPERATIONS = [
    *(ops.abs, ops.negative, ops.sign, ops.square, ops.sqrt, ops.rsqrt, ops.exp, ops.expm1, ops.log, ops.log1p),
    *(ops.sin, ops.cos, ops.floor, ops.ceil, ops.round, ops.erf, ops.reciprocal, ops.stop_gradient),
    *(ops.relu, ops.relu6, ops.sigmoid, ops.tanh, ops.silu, ops.selu, ops.softplus, ops.softsign, ops.hard_sigmoid),
    *(ops.hard_silu, ops.hard_tanh, ops.tanh_shrink, ops.log_sigmoid, ops.zeros_like, ops.ones_like),
    *(lambda x: x + ops.abs(x), lambda x: 1.0 - x, lambda x: x * np.array([1.0, 2.0, 3.0], "float32")),
    *(lambda x: ops.maximum(x, 0.4), lambda x: ops.minimum(0.4, x), lambda x: x / 3.0, lambda x: 3.0 / x),
    *(lambda x: ops.divide(x, 2.0), lambda x: x // 0.2, lambda x: x % 0.2, lambda x: x**2.5),
    *(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), lambda x: ops.equal(x, x), lambda x: ops.not_equal(x, 0.0)),
    *(lambda x: x < 0.5, lambda x: x <= 0.5, lambda x: x > 0.5, lambda x: x >= 0.5),
    *(lambda x: ops.logical_and(x > 0.2, x < 0.8), lambda x: ops.logical_or(x < 0.2, x > 0.8)),
    *(lambda x: ops.logical_not(x > 0.5), lambda x: ops.where(x > 0.5, x, -1.0)),
    *(lambda x: ops.mean(x, axis=1), lambda x: ops.sum(x, -1, keepdims=True), lambda x: ops.max(x, (1, 2))),
    *(lambda x: ops.min(x, 2), lambda x: ops.prod(x, 2), lambda x: ops.std(x, 2), lambda x: ops.var(x, 1)),
    *(lambda x: ops.any(x > 0.9, 2), lambda x: ops.all(x > 0.1, 2), lambda x: ops.logsumexp(x, 2)),
    *(lambda x: ops.argmax(x, 2), lambda x: ops.cast(x * 9.0, "int32"), lambda x: ops.clip(x, 0.2, 0.8)),
    *(lambda x: ops.expand_dims(x, 1), lambda x: ops.squeeze(x[:, :1], 1), lambda x: ops.reshape(x, (-1, 5))),
    *(
        lambda x: ops.stack([x, x], 1),
        lambda x: ops.concatenate([x, x], 1),
        lambda x: ops.broadcast_to(ops.mean(x, 0), (3, 5, 3)),
    ),
    *(lambda x: ops.leaky_relu(x - 0.5, 0.3), lambda x: ops.gelu(x), lambda x: ops.gelu(x, approximate=False)),
    *(lambda x: ops.softmax(x, 1), lambda x: ops.log_softmax(x), lambda x: x[:, -1, ::2], lambda x: x[..., None]),
    lambda x: ops.einsum("btc,bsc->bts", x, x),
    *(
        lambda x: ops.subtract(x, x * x),
        lambda x: x * x,
        lambda x: ops.maximum(x, x * 2.0),
        lambda x: ops.minimum(x, x * x),
    ),
]


def test_operations():
    x = keras.Input(SEQUENCE)
    model = keras.Model(x, [operation(x) for operation in OPERATIONS])
    tried = {type(each).__name__ for each in model.operations}
    assert {*operations.PLAIN, *operations.REDUCTIONS, *operations.OPTIONS, *operations.ACTIVATIONS} <= tried
    assert_twins(
        model, to_tf_keras(model), [np.random.default_rng(0).uniform(0.05, 1, (3, *SEQUENCE)).astype("float32")]
    )


@pytest.mark.parametrize(
    "name", rows(lambda name: name == "EfficientNetB0", ["EfficientNetB0", "MobileNetV2", "ResNet50"])
)
def test_application(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=5)
    twin, pairs = translated(model)
    assert_twins(model, twin)
    assert_same_weights(model, pairs)


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")  # Keras 3 passes it on all the same
def test_keras_masks_go_the_same_way():
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(6, 4, mask_zero=True)(tokens)
    inner = keras.Sequential([keras.Input((5, 4)), layers.GRU(4, return_sequences=True)])
    y = layers.Bidirectional(layers.LSTM(3))(x)
    z = layers.add([x, layers.MultiHeadAttention(2, 2)(x, x), layers.LSTM(4, return_sequences=True)(x)])
    z = layers.LayerNormalization()(z)
    sequences = [z, inner(x), x + x, ops.concatenate([x, x]), ops.relu(x), ops.hard_silu(x)]
    pooled = [layers.GlobalAveragePooling1D()(each) for each in sequences]
    own = layers.LSTM(2)(x, mask=ops.not_equal(tokens, 3), initial_state=[y[:, :2], y[:, 2:4]])
    model = randomized(keras.Model(tokens, [y, own, *pooled]))
    twin = to_tf_keras(model)
    assert_twins(model, twin)
    assert sum("not_equal" in layer.name for layer in twin.layers) == 1


def test_merged_masks_that_differ_are_refused():
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(6, 4, mask_zero=True)(tokens)
    y = layers.Add(name="sum")([x, layers.Embedding(6, 4)(tokens)])
    with pytest.raises(ValueError, match=r"sum \(Add\): it merges tensors with different Keras masks"):
        to_tf_keras(keras.Model(tokens, layers.GlobalAveragePooling1D()(y)))


@pytest.mark.filterwarnings("ignore:.*was passed an input with a mask:UserWarning")
def test_models_in_the_model_that_are_called_in_ways_of_their_own_are_refused():
    x = keras.Input(SEQUENCE)
    inner = keras.Sequential([keras.Input(SEQUENCE), layers.LSTM(2)], name="inner")
    with pytest.raises(ValueError, match=r"inner \(Sequential\): a model in a model takes no mask here"):
        to_tf_keras(keras.Model(x, inner(x, mask=ops.not_equal(x[:, :, 0], 0.0))))
    column = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="column")
    y = keras.Input((4, 1))
    with pytest.raises(ValueError, match=r"column \(Sequential\): a model in a model takes its inputs, of their own"):
        to_tf_keras(keras.Model(y, column(y)))


def test_boundaries_that_a_layer_was_adapted_to():
    bins = layers.Discretization(num_bins=4)
    bins.adapt(np.arange(12.0).reshape(4, 3) ** 2)
    model = randomized(keras.Sequential([keras.Input((4,)), bins, layers.Dense(2)]))
    assert_twins(model, to_tf_keras(model))


def test_names_that_tensorflow_takes_in_no_scope_are_made_to_fit():
    x = keras.Input(SEQUENCE, name="_x")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="_in it")], name="an inner")
    y = layers.TimeDistributed(layers.Dense(3, name="?"), name="_each")(layers.Dense(3, name="-")(x))
    model = randomized(keras.Model(x, layers.TimeDistributed(inner, name="e")(y), name="mine, at best"))
    twin = to_tf_keras(model)
    assert_twins(model, twin)
    assert twin.name == "mine__at_best"
    assert [layer.name for layer in twin.layers] == ["layer_x", "layer-", "layer_each", "e"]
    assert twin.layers[2].layer.name == "layer_" and twin.layers[3].layer.layers[-1].name == "layer_in_it"


def test_attention_with_scores_and_causal_mask():
    x = keras.Input(SEQUENCE)
    attention = layers.MultiHeadAttention(2, 3, value_dim=2, output_shape=4)
    model = randomized(keras.Model(x, attention(x, x, return_attention_scores=True, use_causal_mask=True)))
    assert_twins(model, to_tf_keras(model))


def test_layers_in_a_fixed_phase_and_frozen_ones():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.BatchNormalization()])
    x = keras.Input((4,))
    y = layers.RandomFlip()(layers.Reshape((2, 2, 1))(layers.BatchNormalization()(inner(x, training=False))))
    model = randomized(keras.Model(x, layers.Dense(1)(layers.Flatten()(y))))
    inner.layers[0].trainable = False
    model.layers[-1].trainable = False
    twin, pairs = translated(model)
    assert [new.trainable for _, new in pairs] == [old.trainable for old, _ in pairs]
    assert len(twin.trainable_variables) == 4
    assert_twins(model, twin)
    twin(data(model)[0], training=True)
    same = [
        np.array_equal(numpy(old.weights[2])[0], new.weights[2].numpy()) for old, new in pairs if len(new.weights) == 4
    ]
    assert same == [True, False]


def test_regularizers_and_constraints_come_along():
    layer = layers.Dense(2, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2), bias_constraint="non_neg")
    model = single(layer, (3,))
    twin = to_tf_keras(model)
    assert float(sum(twin.losses)) == pytest.approx(float(sum(model.losses)))
    assert type(twin.layers[-1].bias_constraint).__name__ == "NonNeg"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16"])
def test_types_are_kept(policy):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(3, dtype=policy)(x))
    twin, pairs = translated(model)
    assert twin.layers[-1].dtype_policy.name == policy
    assert_same_weights(model, pairs)


def test_masked_layers_become_plain_and_zero():
    model = randomized(keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.LSTM(2)][:2]))
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.eye(4, 3), 0, ops.convert_to_numpy(kernel)))
    masked = mask(model)
    twin = to_tf_keras(masked)
    assert (twin.get_layer("a").kernel.numpy() == ops.convert_to_numpy(kernel)).all()
    assert_twins(masked, twin)


def test_names_leave_room_for_those_that_tf_keras_makes_up():
    import tf_keras

    x = keras.Input((8, 8, 3))
    y = layers.SeparableConv2D(4, 3, name="separable")(layers.Conv2D(3, 1, name="depthwise_conv2d_7")(x))
    twin = to_tf_keras(keras.Model(x, layers.Conv2D(2, 1, name="conv2d")(y)))
    made_up = {tf_keras.layers.DepthwiseConv2D(1).name, tf_keras.layers.Conv2D(1, 1).name}
    assert not made_up & {layer.name for layer in twin.layers}
    assert {"depthwise_conv2d_7", "conv2d", "separable"} <= {layer.name for layer in twin.layers}


def test_clone_has_the_same_outputs():
    import tf_keras

    model = randomized(branches())
    twin = to_tf_keras(model)
    clone = tf_keras.models.clone_model(twin)
    clone.set_weights(twin.get_weights())
    x = dict(zip("ab", data(model), strict=True))
    for a, b in zip(numpy(twin(x)), numpy(clone(x)), strict=True):
        np.testing.assert_array_equal(a, b)


class Own(layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def test_all_that_has_no_twin_is_named_before_anything_is_built(monkeypatch):
    import tf_keras

    x = keras.Input((4,))
    tied = layers.Dense(4, name="tied")
    inner = keras.Sequential([keras.Input((4,)), Own(4, name="own"), layers.Dense(4, activation="glu", name="glu")])
    y = ops.matmul(layers.RMSNormalization(name="rms")(tied(inner(x))), tied.kernel)
    y = layers.Dense(2, kernel_constraint=Sparse(0.5), name="bound")(ops.cumsum(y, axis=1))
    y = layers.LayerNormalization(name="ln")(layers.TimeDistributed(Own(3), name="td")(y[:, None]))
    model = keras.Model(x, ops.mean(ops.cast(y, "int32"), axis=1))
    monkeypatch.setattr(tf_keras, "Input", lambda *args, **kwargs: pytest.fail("built"))
    with pytest.raises(ValueError) as error:
        to_tf_keras(model)
    lines = str(error.value).splitlines()[1:]
    named = [re.sub(r"_\d+ ", " ", line.split(": ")[0]) for line in lines]  # operations are numbered
    assert named[:4] == ["own (Own)", "glu (Dense)", "rms (RMSNormalization)", "matmul (Matmul)"]
    assert named[4:] == ["cumsum (Cumsum)", "bound (Dense)", "td (TimeDistributed)", "mean (Mean)"]
    assert "no activation glu" in lines[1] and "variable of another layer" in lines[3]


def test_what_is_no_keras_model_is_refused():
    twin = to_tf_keras(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))
    with pytest.raises(TypeError, match="a tf_keras model already"):
        to_tf_keras(twin)
    with pytest.raises(TypeError, match="Received: model=3"):
        to_tf_keras(3)
    with pytest.raises(ValueError, match="Received: a Subclassed, with a `call` of its own"):
        to_tf_keras(Subclassed())
    with pytest.raises(ValueError, match="must be built"):
        to_tf_keras(keras.Sequential([layers.Dense(1)]))


def run(code, *arguments, **environment):
    """A script in a fresh process; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


LOAD = """
import os, sys, numpy as np, tf_keras
custom_objects = None
for path in sys.argv[1:]:
    if path == "own":
        from keras_admm.export.twin import custom_objects
        custom_objects = custom_objects()
        continue
    model = tf_keras.models.load_model(path, compile=False, custom_objects=custom_objects)
    x, y = (np.load(os.path.join(os.path.dirname(path), name)) for name in ("x.npy", "y.npy"))
    assert np.allclose(model(x), y, atol=1e-6), path
    print(path)
"""


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_load_in_a_fresh_process(tmp_path):
    """Those with an activation that tf_keras lacks, when they are given ours."""
    tokens = np.random.default_rng(0).integers(0, 6, (4, 5)).astype("int32")
    paths = {}
    for activation in ("silu", "hard_silu"):
        x = keras.Input((5,), dtype="int32")
        y = layers.Dense(3, activation=activation)(layers.Embedding(6, 4)(x))
        twin = to_tf_keras(randomized(keras.Model(x, layers.Flatten()(ops.relu6(y)))))
        folder = tmp_path / activation
        folder.mkdir()
        np.save(folder / "x.npy", tokens)
        np.save(folder / "y.npy", twin(tokens).numpy())
        paths[activation] = [str(folder / name) for name in ("model.keras", "saved_model", "model.h5")]
        for path in paths[activation]:
            twin.save(path)
    own = paths["hard_silu"][:2]  # tf_keras itself cannot load an activation that is not its own from .h5
    assert run(LOAD, *paths["silu"], "own", *own).split() == [*paths["silu"], *own]


def test_tfmot_takes_it(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")  # TFMOT sets it
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    line = [layers.DepthwiseConv2D(3), layers.SeparableConv2D(4, 2), layers.Conv2D(4, 3), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *line, layers.Dense(2)])
    aware = tfmot.quantization.keras.quantize_model(to_tf_keras(model))
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    assert aware(x).shape == model(x).shape


OTHER_BACKEND = """
import keras, numpy as np
from keras_admm.export.twin import to_tf_keras
L = keras.layers
x = keras.Input((8, 8, 3))
y = L.BatchNormalization()(L.Conv2D(4, 3, activation="hard_silu")(x))
y = L.LSTM(3)(L.Reshape((-1, 4))(y + keras.ops.relu(y) * np.array([1, 2, 3, 4], "float32")))
model = keras.Model(x, y)
data = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
ours = model.predict(data, verbose=0)
print(keras.backend.backend(), np.abs(to_tf_keras(model)(data) - ours).max() < 1e-5)
"""


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.nightly)])
def test_on_other_backends(backend):
    assert run(OTHER_BACKEND, KERAS_BACKEND=backend).split() == [backend, "True"]


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_inputs_of_a_kind_stay_so(kind):
    x = keras.Input((None, 4) if kind == "ragged" else (4,), **{kind: True})
    spec = to_tf_keras(keras.Model(x, layers.Dense(2)(x))).inputs[0].type_spec
    assert kind in type(spec).__name__.lower()


def test_factors_of_lora_are_added_to_the_kernels():
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(9, 4), layers.Dense(5)])
    for layer in model.layers:
        layer.enable_lora(2)
    twin = to_tf_keras(randomized(model))
    x = np.array([[1, 2, 8]])
    np.testing.assert_allclose(twin(x).numpy(), ops.convert_to_numpy(model(x)), rtol=1e-5)
    assert [len(layer.weights) for layer in twin.layers] == [0, 1, 2]


class Wide(layers.Dense):
    """Made in its own way, and with a method of its own, it computes as a Dense does."""

    def __init__(self, factor=2, units=None, **kwargs):
        super().__init__(units or 2 * factor, **{"activation": "relu", **kwargs})
        self.factor = factor

    def describe(self):
        return self.name

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Conv(layers.Conv2D):
    pass


class Memory(layers.LSTM):
    pass


class DoublingKernel(layers.Conv2D):
    @property
    def kernel(self):
        return 2 * self._kernel


def test_a_subclass_that_computes_as_its_base_becomes_that():
    line = [Conv(4, 3, padding="same"), layers.Reshape((4, 16)), Memory(3, return_sequences=True)]
    model = keras.Sequential([keras.Input((4, 4, 3)), *line, layers.TimeDistributed(Wide(3, name="wide"))])
    twin = to_tf_keras(randomized(model))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(twin(x).numpy(), ops.convert_to_numpy(model(x)), rtol=1e-4, atol=1e-6)
    assert [type(layer).__name__ for layer in twin.layers[1:]] == ["Conv2D", "Reshape", "LSTM", "TimeDistributed"]


@pytest.mark.parametrize("layer, own", [(Own(4, name="own"), "call"), (DoublingKernel(4, 1, name="own"), "kernel")])
def test_a_subclass_that_computes_in_its_own_way_is_named(layer, own):
    model = keras.Sequential([keras.Input((4, 4, 3)), layer])
    with pytest.raises(ValueError, match=rf"own .*it computes by {own} of its own.*skip=True"):
        to_tf_keras(model)
