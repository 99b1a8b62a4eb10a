"""What is a kernel in each layer of keras.layers and of tf_keras, by hand; and in layers that are like them."""

import inspect

import keras
import numpy as np
import pytest

from keras_admm import weights

CELL = ["kernel", "recurrent_kernel"]
# What each layer is built with, the shapes that go into it (a list: of several arguments), and what its kernels are
# called.
ROWS = {
    "AdditiveAttention": ({}, [[(2, 3, 4), (2, 3, 4)]], []),
    "Attention": ({"use_scale": True, "score_mode": "concat"}, [[(2, 3, 4), (2, 3, 4)]], []),
    "BatchNormalization": ({}, (2, 3), []),
    "Bidirectional": ({"layer": ("GRU", 3)}, (2, 3, 4), CELL * 2),
    "Conv1D": ({"filters": 2, "kernel_size": 2}, (2, 5, 3), ["kernel"]),
    "Conv2D": ({"filters": 2, "kernel_size": 2}, (2, 5, 5, 3), ["kernel"]),
    "Conv3D": ({"filters": 2, "kernel_size": 2}, (2, 5, 5, 5, 3), ["kernel"]),
    "Conv1DTranspose": ({"filters": 2, "kernel_size": 2}, (2, 5, 3), ["kernel"]),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": 2}, (2, 5, 5, 3), ["kernel"]),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": 2}, (2, 5, 5, 5, 3), ["kernel"]),
    "ConvLSTM1D": ({"filters": 2, "kernel_size": 2}, (2, 4, 5, 3), CELL),
    "ConvLSTM2D": ({"filters": 2, "kernel_size": 2}, (2, 4, 5, 5, 3), CELL),
    "ConvLSTM3D": ({"filters": 2, "kernel_size": 2}, (2, 4, 5, 5, 5, 3), CELL),
    "Dense": ({"units": 2}, (2, 3), ["kernel"]),
    "DepthwiseConv1D": ({"kernel_size": 2}, (2, 5, 3), ["(depthwise_)?kernel"]),
    "DepthwiseConv2D": ({"kernel_size": 2}, (2, 5, 5, 3), ["(depthwise_)?kernel"]),
    "Discretization": ({"bin_boundaries": [0.0, 1.0]}, (2, 3), []),
    "EinsumDense": ({"equation": "abc,cde->abde", "output_shape": (3, 2, 2), "bias_axes": "de"}, (2, 3, 4), ["kernel"]),
    "Embedding": ({"input_dim": 5, "output_dim": 3}, (2, 3), ["embeddings"]),
    "GRU": ({"units": 3}, (2, 3, 4), CELL),
    "GRUCell": ({"units": 3}, (2, 4), CELL),
    "GroupNormalization": ({"groups": 2}, (2, 4), []),
    "GroupQueryAttention": (
        {"head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 2},
        [(2, 3, 4), (2, 3, 4)],
        ["kernel"] * 4,
    ),
    "LSTM": ({"units": 3}, (2, 3, 4), CELL),
    "LSTMCell": ({"units": 3}, (2, 4), CELL),
    "LayerNormalization": ({"axis": [1, 2]}, (2, 3, 4), []),
    "LocallyConnected1D": ({"filters": 2, "kernel_size": 2}, (2, 5, 3), ["kernel"]),
    "LocallyConnected2D": ({"filters": 2, "kernel_size": 2}, (2, 5, 5, 3), ["kernel"]),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 3}, [(2, 3, 4), (2, 3, 4)], ["kernel"] * 4),
    "Normalization": ({"axis": (1, 2)}, (2, 3, 4), []),
    "PReLU": ({}, (2, 3, 4), []),
    "RMSNormalization": ({"axis": (1, 2)}, (2, 3, 4), []),
    "RNN": ({"cell": ("SimpleRNNCell", 3)}, (2, 3, 4), CELL),
    "ReversibleEmbedding": (
        {"input_dim": 5, "output_dim": 3, "tie_weights": False},
        (2, 3),
        ["embeddings", "reverse_embeddings"],
    ),
    "STFTSpectrogram": ({"frame_length": 4, "fft_length": 4}, (2, 16, 1), ["real_kernel", "imag_kernel"]),
    "SeparableConv1D": ({"filters": 2, "kernel_size": 2}, (2, 5, 3), ["depthwise_kernel", "pointwise_kernel"]),
    "SeparableConv2D": ({"filters": 2, "kernel_size": 2}, (2, 5, 5, 3), ["depthwise_kernel", "pointwise_kernel"]),
    "SimpleRNN": ({"units": 3}, (2, 3, 4), CELL),
    "SimpleRNNCell": ({"units": 3}, (2, 4), CELL),
    "SpectralNormalization": ({"layer": ("Dense", 3)}, (2, 4), ["kernel"]),
    "TimeDistributed": ({"layer": ("Dense", 3)}, (2, 3, 4), ["kernel"]),
}
LIBRARIES = ["keras"] + (["tf_keras"] if keras.backend.backend() == "tensorflow" else [])
# Classes without a row: those that others are derived from, that hold what they are given, and aliases of others.
APART = {"Layer", "AbstractRNNCell", "Wrapper", "StackedRNNCells", "JaxLayer", "FlaxLayer"}
BROKEN = {("tf_keras", "SpectralNormalization")}  # it mixes the two libraries


def layers_of(library):
    return pytest.importorskip(library).layers


def built(library, name):
    """A layer that has been called."""
    arguments, shapes, _ = ROWS[name]
    classes = layers_of(library)
    if not hasattr(classes, name) or (library, name) in BROKEN:
        pytest.skip(f"{library} has none")
    made = {k: getattr(classes, v[0])(*v[1:]) if k in ("layer", "cell") else v for k, v in arguments.items()}
    layer = getattr(classes, name)(**made)
    if name.endswith("Cell"):
        layer.build(shapes)
        return layer
    layer(*keras.tree.map_shape_structure(np.ones, shapes if isinstance(shapes, list) else [shapes]))
    return layer


def own_names(variables):
    return [weights.path(v).split("/")[-1] for v in variables]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ROWS)
def test_the_kernels_of_each_layer(library, name):
    layer = built(library, name)
    expected = ROWS[name][2]
    if "(depthwise_)?kernel" in expected:
        expected = ["depthwise_kernel" if library == "tf_keras" else "kernel"]
    assert sorted(own_names(weights.kernels(layer))) == sorted(expected)
    assert all("bias" in n for n in own_names(weights.biases(layer)))
    assert len(weights.biases(layer)) == sum("bias" in n for n in own_names(layer.variables))


# The axes of inputs, outputs and groups of each kernel, by hand; other layers have what `Dense` has.
AXES = {
    "Dense": [((0,), (1,), ())],
    "Conv2D": [((2,), (3,), ())],
    "Conv1DTranspose": [((2,), (1,), ())],
    "Conv2DTranspose": [((3,), (2,), ())],
    "Conv3DTranspose": [((4,), (3,), ())],
    "DepthwiseConv1D": [((), (2,), (1,))],
    "DepthwiseConv2D": [((), (3,), (2,))],
    "SeparableConv2D": [((), (3,), (2,)), ((2,), (3,), ())],
    "EinsumDense": [((0,), (1, 2), ())],
    "Embedding": [((0,), (1,), ())],
    "LSTM": [((0,), (1,), ())] * 2,
    "ConvLSTM2D": [((2,), (3,), ())] * 2,
    "Bidirectional": [((0,), (1,), ())] * 4,
    "MultiHeadAttention": [((0,), (1, 2), ())] * 3 + [((0, 1), (2,), ())],
    "TimeDistributed": [((0,), (1,), ())],
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", AXES)
def test_the_axes_of_each_kernel(library, name):
    layer = built(library, name)
    kernels = {str(i): v for i, v in enumerate(weights.kernels(layer))}
    axes = weights.axes(layer, kernels)
    assert [tuple(axes[n].of(len(v.shape))) for n, v in kernels.items()] == AXES[name]


def test_axes_of_an_equation_with_weights_for_each_place():
    layer = keras.layers.EinsumDense("bgi,gio->bgo", output_shape=(2, 5))
    layer.build((None, 2, 4))
    assert tuple(weights.axes(layer, {"k": layer.kernel})["k"]) == ((1,), (2,), (0,))


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_layer_with_weights_has_a_row(library):
    classes = {c for c in vars(layers_of(library)).values() if inspect.isclass(c)}
    base = layers_of(library).Layer
    of = {c for c in classes if issubclass(c, base) and c.__module__.startswith(library)}
    makes = {c.__name__ for c in of if any(_makes_weights(k) for k in c.__mro__[: c.__mro__.index(base)])}
    assert makes - APART <= ROWS.keys()


def _makes_weights(c):
    return "self.add_weight(" in inspect.getsource(c)


class Renamed(keras.layers.Dense):
    """A kernel whose name says that it is none, and a weight of its own whose name says nothing."""

    def build(self, shape):
        self._kernel = self.add_weight(shape=(shape[-1], self.units), name="table_scale")
        self.bias = self.add_weight(shape=(self.units,), name="b")
        self.own = self.add_weight(shape=(shape[-1], self.units), name="w")
        self.gain = self.add_weight(shape=(shape[-1], self.units), name="gain_scale")
        self.built = True

    def call(self, x):
        return x @ (self.kernel + self.own * self.gain) + self.bias


class Shifted(keras.layers.LayerNormalization):
    """What normalizes, of rank 2 and called a kernel."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=shape[1:], name="kernel")
        self.beta = self.add_weight(shape=shape[1:], name="weight")
        self.built = True


@pytest.mark.parametrize("layer, kernels", [(Renamed(3), ["table_scale", "w"]), (Shifted(axis=(1, 2)), [])])
def test_a_role_in_a_known_layer_counts_before_the_name(layer, kernels):
    layer.build((2, 4, 5))
    assert own_names(weights.kernels(layer)) == kernels


def test_the_bias_of_a_known_layer_is_one_by_its_role():
    layer = Renamed(3)
    layer.build((2, 4))
    assert own_names(weights.biases(layer)) == ["b"]


@pytest.mark.parametrize("name", ["Dense", "EinsumDense", "Embedding", "Conv2D"])
def test_lora_factors_are_none_and_the_layers_own_kernel_is_one(name):
    layer = built("keras", name)
    layer.enable_lora(2)
    assert own_names(weights.kernels(layer)) == ROWS[name][2]


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.parametrize("name", ["Dense", "EinsumDense"])
def test_scales_of_quantization_are_none(name, mode):
    layer = built("keras", name)
    layer.quantize(mode)
    assert own_names(weights.kernels(layer)) == ["kernel"]
