"""Model kinds, each a name and a function that builds a model for `(x, y)` of its own."""

import keras
import numpy as np
from keras import layers, ops

RNG = np.random.default_rng(0)


def _regress(model, *shapes, integers=False):
    draw = (lambda s: RNG.integers(0, 12, s)) if integers else (lambda s: RNG.normal(size=s).astype("float32"))
    x = [draw((16, *s)) for s in shapes]
    y = RNG.normal(size=(16, *model.output_shape[1:])).astype("float32")
    return model, x[0] if len(x) == 1 else x, y


def _single(layer, *shape, integers=False):
    head = [layers.Flatten(), layers.Dense(3)]
    return _regress(keras.Sequential([keras.Input(shape), layer, *head]), shape, integers=integers)


def functional():
    a, b = keras.Input((6,)), keras.Input((4,))
    shared = layers.Dense(5, activation="relu", name="shared")
    left, right = shared(layers.Dense(4)(a)), shared(b)
    out = layers.Dense(2)(layers.concatenate([left, layers.BatchNormalization()(right)]))
    return _regress(keras.Model([a, b], out), (6,), (4,))


def nested():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(6)], name="inner")
    outer = keras.Sequential([keras.Input((6,)), inner, keras.Sequential([layers.Dense(5)]), inner.layers[1]][:3])
    return _regress(outer, (6,))


class CustomDense(layers.Layer):
    """A layer whose weight is not called a kernel."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, x):
        return ops.matmul(x, self.w) + self.b


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = CustomDense(8)
        self.blocks = [layers.Dense(8, activation="relu") for _ in range(2)]
        self.norm = layers.LayerNormalization()

    def call(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(self.norm(x))
        return x


def subclassed():
    model = Subclassed()
    x = RNG.normal(size=(16, 6)).astype("float32")
    model(x)
    return model, x, RNG.normal(size=(16, 8)).astype("float32")


def attention():
    a = keras.Input((5, 8))
    out = layers.MultiHeadAttention(2, 4)(a, a)
    return _regress(keras.Model(a, layers.LayerNormalization()(out)), (5, 8))


def einsum():
    return _single(layers.EinsumDense("abc,cd->abd", output_shape=(4, 6), bias_axes="d"), 4, 5)


KINDS = {
    "functional, shared, two inputs": functional,
    "nested": nested,
    "subclassed, custom layers": subclassed,
    "MultiHeadAttention": attention,
    "EinsumDense": einsum,
    "Conv1D": lambda: _single(layers.Conv1D(4, 3), 8, 3),
    "Conv2D": lambda: _single(layers.Conv2D(4, 3), 6, 6, 2),
    "Conv3D": lambda: _single(layers.Conv3D(3, 2), 4, 4, 4, 2),
    "Conv1DTranspose": lambda: _single(layers.Conv1DTranspose(4, 3), 6, 3),
    "Conv2DTranspose": lambda: _single(layers.Conv2DTranspose(4, 3), 4, 4, 2),
    "DepthwiseConv2D": lambda: _single(layers.DepthwiseConv2D(3, depth_multiplier=2), 6, 6, 3),
    "SeparableConv2D": lambda: _single(layers.SeparableConv2D(4, 3), 6, 6, 3),
    "Embedding": lambda: _single(layers.Embedding(12, 6), 5, integers=True),
    "SimpleRNN": lambda: _single(layers.SimpleRNN(5), 4, 3),
    "LSTM": lambda: _single(layers.LSTM(5), 4, 3),
    "GRU": lambda: _single(layers.GRU(5), 4, 3),
    "Bidirectional": lambda: _single(layers.Bidirectional(layers.LSTM(4)), 4, 3),
    "TimeDistributed": lambda: _single(layers.TimeDistributed(layers.Dense(4)), 4, 3),
}
