"""Small models of many kinds of which channels, units, heads and branches can leave, by name."""

import keras
import numpy as np
from keras import layers, ops

RELU = {"activation": "relu"}


def _model(shape, build, **kwargs):
    x = keras.Input(shape, **kwargs)
    return keras.Model(x, build(x))


def chain():
    def build(x):
        x = layers.BatchNormalization()(layers.Conv2D(6, 3, use_bias=False)(x))
        x = layers.Conv2D(8, 3, strides=2, padding="same", **RELU)(layers.ReLU()(x))
        x = layers.Dense(10, **RELU)(layers.Flatten()(layers.MaxPooling2D()(x)))
        return layers.Dense(3, activation="softmax")(layers.Dropout(0.5)(x))

    return _model((12, 12, 3), build)


def residual():
    def block(x, filters, strides):
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x))
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(layers.ReLU()(y))
        y = layers.BatchNormalization()(y)
        x = layers.Conv2D(filters, 1, strides=strides)(x) if strides > 1 else x
        return layers.ReLU()(layers.Add()([x, y]))

    def build(x):
        x = block(layers.Conv2D(4, 3, padding="same", **RELU)(x), 4, 1)
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(block(x, 8, 2)))

    return _model((8, 8, 3), build)


def option_a():
    """A ResNet whose shortcuts have no weights: every second place, and channels of zeros on both sides."""

    def shortcut(x):
        x = layers.Permute((3, 1, 2))(layers.AveragePooling2D(1, strides=2)(x))
        return layers.Permute((2, 3, 1))(layers.ZeroPadding2D(((2, 2), (0, 0)))(x))

    def build(x):
        x = layers.Conv2D(4, 3, padding="same", **RELU)(x)
        y = layers.Conv2D(8, 3, strides=2, padding="same", **RELU)(x)
        y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(y))
        x = layers.ReLU()(layers.Add()([shortcut(x), y]))
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))

    return _model((8, 8, 3), build)


def squeeze_excite():
    """Inverted residual blocks as in MobileNetV3 and EfficientNet."""

    def build(x):
        x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
        y = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(x))
        y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(layers.ReLU()(y)))
        y = layers.Activation("silu")(y)
        gate = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(y))
        gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(4, 1, **RELU)(gate))
        y = layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(layers.Multiply()([y, gate])))
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Add()([x, y])))

    return _model((8, 8, 3), build)


def dense_blocks():
    """As in DenseNet: every layer takes what all before it gave."""

    def build(x):
        x = layers.Conv2D(4, 3, padding="same")(x)
        for _ in range(3):
            y = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same", use_bias=False)(y)])
        x = layers.AveragePooling2D(2)(layers.Conv2D(8, 1, use_bias=False)(x))
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))

    return _model((8, 8, 3), build)


def unet():
    def build(x):
        a = layers.Conv2D(4, 3, padding="same", **RELU)(x)
        b = layers.Conv2D(8, 3, padding="same", **RELU)(layers.MaxPooling2D()(a))
        c = layers.Conv2D(16, 3, padding="same", **RELU)(layers.MaxPooling2D()(b))
        up = layers.Conv2DTranspose(8, 2, strides=2)(c)
        up = layers.Conv2D(8, 3, padding="same", **RELU)(layers.Concatenate()([up, b]))
        up = layers.UpSampling2D()(up)
        up = layers.Conv2D(4, 3, padding="same", **RELU)(layers.Concatenate()([up, a]))
        return layers.Conv2D(2, 1, activation="sigmoid")(up)

    return _model((8, 8, 3), build)


def tcn():
    def build(x):
        for rate in (1, 2):
            y = layers.Conv1D(6, 3, padding="causal", dilation_rate=rate, **RELU)(x)
            y = layers.Conv1D(6, 3, padding="causal", dilation_rate=rate, **RELU)(layers.SpatialDropout1D(0.1)(y))
            x = layers.Add()([layers.Conv1D(6, 1)(x), y])
        return layers.Dense(3)(layers.GlobalMaxPooling1D()(x))

    return _model((12, 3), build)


def autoencoder():
    def build(x):
        x = layers.Conv2D(4, 3, strides=2, padding="same", **RELU)(x)
        x = layers.Dense(6, **RELU)(layers.Flatten()(x))
        x = layers.Reshape((4, 4, 5))(layers.Dense(80, **RELU)(x))
        x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", **RELU)(x)
        return layers.Conv2D(3, 3, padding="same")(x)

    return _model((8, 8, 3), build)


def grouped():
    def build(x):
        x = layers.Conv2D(8, 1, **RELU)(x)
        x = layers.Conv2D(8, 3, groups=2, padding="same", **RELU)(x)  # the same channel of both groups
        x = layers.Conv2D(8, 3, groups=4, padding="same", **RELU)(x)  # whole groups
        x = layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="same", **RELU)(x)
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, depth_multiplier=2)(x)))

    return _model((8, 8, 3), build)


def shared():
    """One layer called twice, a model in the model called twice, and a tensor joined to itself."""
    both = layers.Dense(6, **RELU, name="both")
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(8, **RELU), layers.Dense(4, **RELU)], name="inner")
    a, b = keras.Input((5,)), keras.Input((5,))
    x, y = inner(both(a)), inner(both(b))
    x = layers.Concatenate()([x, y, layers.Subtract()([x, y]), x])
    return keras.Model([a, b], layers.Dense(2)(layers.Dense(6, **RELU)(x)))


MODELS = {
    "chain": chain,
    "residual": residual,
    "option A": option_a,
    "squeeze and excite": squeeze_excite,
    "dense blocks": dense_blocks,
    "U-Net": unet,
    "TCN": tcn,
    "autoencoder": autoencoder,
    "grouped convolutions": grouped,
    "shared": shared,
}


def random_inputs(model, batch=2, seed=0):
    """An array for each of a model's inputs, in a list if there are several; integers where they are looked up."""
    rng = np.random.default_rng(seed)

    def draw(x):
        shape = [batch, *(size or 7 for size in x.shape[1:])]
        return rng.integers(0, 10, shape) if "int" in x.dtype else rng.normal(size=shape).astype("float32")

    drawn = [draw(x) for x in model.inputs]
    return drawn[0] if len(drawn) == 1 else drawn


def randomize(model, seed=0):
    """Gives every weight, biases and moving means too, a random value: none is zero by chance of its initializer."""
    rng = np.random.default_rng(seed)
    for v in model.weights:
        value = rng.normal(size=v.shape) / np.sqrt(max(1, np.prod(v.shape[:-1])))
        v.assign(np.abs(value) + 0.5 if "variance" in v.name else value)


def halved(groups, seed=0):
    """Sets all that half of the groups of each family write to zero; returns which groups stay, as bools."""
    rng, alive, seen = np.random.default_rng(seed), np.ones(len(groups), bool), {}
    for i in rng.permutation(len(groups)):
        family = groups.groups[i].family
        alive[i] = seen[family] = not seen.get(family, True)
    for zero in [s for group, stays in zip(groups, alive, strict=True) if not stays for s in group.of("writes")]:
        value = np.array(ops.convert_to_numpy(zero.variable))
        value[(slice(None),) * zero.axis + (zero.indices,)] = 0
        zero.variable.assign(value)
    return alive
