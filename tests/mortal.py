"""Models of many kinds whose neurons can die, and a way to prune them so that many do."""

import keras
import numpy as np
from keras import layers

from keras_admm import weights

RELU = {"activation": "relu"}


def lenet():
    return [
        layers.Conv2D(6, 3, **RELU),
        layers.MaxPooling2D(),
        layers.Conv2D(8, 3, **RELU),
        layers.AveragePooling2D(2, padding="same"),
        layers.Flatten(),
        layers.Dense(12, **RELU),
        layers.Dropout(0.5),
        layers.Dense(3, activation="softmax"),
    ]


def strides():
    return [
        layers.ZeroPadding2D(),
        layers.Conv2D(8, 3, strides=2, padding="same", groups=2, activation="sigmoid"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, **RELU),
        layers.SeparableConv2D(6, 3, padding="same", activation="tanh"),
        layers.PReLU(),
        layers.Conv2DTranspose(4, 3, strides=2),
        layers.LeakyReLU(),
        layers.UpSampling2D(),
        layers.Cropping2D(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]


def decoder():
    return [
        layers.Flatten(),
        layers.Dense(32, **RELU),
        layers.Reshape((4, 8)),
        layers.Conv1D(4, 3, padding="causal", activation="softplus"),
        layers.Conv1D(6, 1, padding="same", use_bias=False),
        layers.ELU(),
        layers.Dense(4, activation="gelu"),
        layers.Reshape((16,)),
        layers.Dense(2),
    ]


def residual():
    def build(x):
        for filters in (8, 8):
            y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            y = layers.Activation("relu")(layers.BatchNormalization()(y))
            y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
            gate = layers.Dense(filters, activation="sigmoid")(layers.GlobalMaxPooling2D(keepdims=True)(y))
            x = layers.ReLU()(layers.Add()([layers.Multiply()([y, gate]), layers.Dense(filters)(x)]))
        x = layers.Concatenate()([x, layers.Maximum()([x, y]), layers.Subtract()([x, y])])
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Average()([x, layers.Dense(24)(x)])))

    return build


def nested():
    inner = keras.Sequential([keras.Input((10, 10, 2)), layers.Conv2D(6, 3, **RELU), layers.Conv2D(6, 3, **RELU)])
    return [inner, layers.Flatten(), layers.Dense(3)]


def nested_of_two_inputs():
    def build(x):
        a, b = keras.Input((12,), name="a"), keras.Input((12,), name="b")
        joined = layers.Add()([layers.Dense(8, **RELU)(a), layers.Dense(8, **RELU)(b)])
        inner = keras.Model({"a": a, "b": b}, layers.Dense(6, **RELU)(joined))
        x = layers.Flatten()(x)
        return layers.Dense(3)(inner({"b": layers.Dense(12, **RELU)(x), "a": layers.Dense(12, **RELU)(x)}))

    return build


def attention():
    def build(x):
        y = layers.Dense(6, **RELU)(layers.Dense(6, **RELU)(layers.Reshape((20, 10))(x)))
        y = layers.Dense(4, **RELU)(layers.Dense(4, **RELU)(layers.MultiHeadAttention(2, 3)(y, y)))
        return layers.Dense(2)(layers.LayerNormalization()(y))

    return build


def chain(*parts, shape=(10, 10, 2), dtype="float32"):
    """A model of a list of layers, or of a function of its input."""
    x = out = keras.Input(shape, dtype=dtype)
    for part in parts:
        out = part(out)
    return keras.Model(x, out, name="m")


def made(kind):
    parts = kind()
    return chain(parts) if callable(parts) else chain(*parts)


MADE = {kind.__name__: kind for kind in (lenet, strides, decoder, residual, nested, nested_of_two_inputs, attention)}


def pruned(model, sparsity=0.8, seed=0):
    """Most weights are zero, biases of every sign are not: many neurons die, for each kernel two at least."""
    rng, kernels = np.random.default_rng(seed), {id(v) for v in weights.kernels(model)}
    for v in model.variables:
        if "float" in str(v.dtype):
            value = rng.normal(size=v.shape)
            alive = rng.random(v.shape) >= (sparsity if id(v) in kernels or "gamma" in v.name else 0)
            if id(v) in kernels:
                alive[..., 0] = alive[..., -1, :] = False
            weights.write(v, np.abs(value) if "variance" in v.name else value * alive)
    return model
