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


def lstm():
    def build(x):
        x = layers.LSTM(6)(layers.LSTM(8, return_sequences=True)(x))
        return layers.Dense(3)(x)

    return _model((7, 4), build)


def bidirectional():
    def build(x):
        x = layers.Bidirectional(layers.GRU(5, return_sequences=True))(layers.Embedding(10, 6)(x))
        x = layers.Bidirectional(layers.SimpleRNN(4), merge_mode="sum")(x)
        return layers.Dense(3)(layers.Dense(6, **RELU)(x))

    return _model((7,), build, dtype="int32")


def sequence_to_sequence():
    """A decoder that starts from the states of an encoder; cells in an RNN."""
    x, y = keras.Input((7, 4)), keras.Input((5, 4))
    _, *states = layers.LSTM(6, return_state=True)(x)
    z = layers.LSTM(6, return_sequences=True)(y, initial_state=states)
    z = layers.RNN([layers.GRUCell(5, reset_after=False), layers.LSTMCell(6)])(z)
    return keras.Model([x, y], layers.Dense(3)(z))


def _encoder(attention, x):
    """One block of a Transformer, normalized before."""
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, attention(y, y)])
    y = layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(x.shape[-1])(y)])


def transformer():
    def build(x):
        x = layers.Dense(8)(x)
        for _ in range(2):
            x = _encoder(layers.MultiHeadAttention(4, 4), x)
        x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
        return layers.Dense(3)(layers.Dense(8, activation="tanh")(x))

    return _model((6, 4), build)


def grouped_query():
    def build(x):
        x = layers.Embedding(10, 8)(x)
        for _ in range(2):
            x = _encoder(layers.GroupQueryAttention(4, 8, 4), x)
        return layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x)))

    return _model((6,), build, dtype="int32")


def operations():
    """A network of `keras.ops`: strided slices and padding as a shortcut, gated units, attention by products."""

    def build(x):
        x = layers.Conv2D(4, 3, padding="same", **RELU)(x)
        y = layers.Conv2D(8, 3, strides=2, padding="same")(x)
        x = ops.relu(y + ops.pad(x[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (2, 2))))
        a, b = ops.split(layers.Conv2D(12, 1)(x), 2, axis=-1)
        x = ops.reshape(a * ops.tanh(b) * 0.5, (-1, 16, 6))
        query, key, value = (layers.Dense(n, use_bias=False)(x) for n in (6, 6, 8))
        scores = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))), axis=-1)
        x = ops.concatenate([ops.einsum("bqk,bkc->bqc", scores, value), x], axis=-1)
        return layers.Dense(3)(ops.mean(x, axis=1))

    return _model((8, 8, 3), build)


def others():
    """Group normalization, slopes for each channel, layers on every step, equations, convolutions in a cell."""

    def build(x):
        x = layers.TimeDistributed(layers.Conv2D(8, 3, padding="same"))(x)
        x = layers.TimeDistributed(layers.GroupNormalization(4))(x)
        x = layers.ConvLSTM2D(6, 3, padding="same")(x)
        x = layers.PReLU(shared_axes=[1, 2])(layers.EinsumDense("bhwc,cd->bhwd", (4, 4, 8), bias_axes="d")(x))
        return layers.Dense(3)(layers.Flatten()(x))

    return _model((3, 4, 4, 2), build)


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
    "LSTM": lstm,
    "bidirectional": bidirectional,
    "sequence to sequence": sequence_to_sequence,
    "Transformer": transformer,
    "grouped-query attention": grouped_query,
    "operations": operations,
    "others": others,
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
    change(groups, alive, "writes", lambda part: 0 * part)
    return alive


def change(groups, alive, role, changed):
    """Has a function of what is there put in the slices of one role of all groups that do not stay."""
    values = {}
    for each in [s for group, stays in zip(groups, alive, strict=True) if not stays for s in group.of(role)]:
        _, value = values.setdefault(id(each.variable), (each.variable, np.array(each.variable)))
        where = (slice(None),) * each.axis + (each.indices,)
        value[where] = changed(value[where])
    for variable, value in values.values():
        variable.assign(value)
