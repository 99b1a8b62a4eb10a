"""Models with layers of all kinds whose kernels can be masked, and what tests of masks ask of them."""

import keras
import numpy as np
from keras import layers, ops

from keras_admm import weights
from keras_admm.layers import Masked

JAX = keras.backend.backend() == "jax"


@keras.saving.register_keras_serializable("test_layers")
class Gated(layers.Layer):
    """A custom layer: a weight of its own, sub-layers, statistics, a seed, and a loss."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.norm = layers.BatchNormalization(momentum=0.5)
        self.drop = layers.Dropout(0.5, seed=1)
        self.out = layers.Dense(units, kernel_initializer="ones")

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), initializer="ones", name="w")
        self.norm.build((None, self.units))
        self.out.build((None, self.units))

    def call(self, x, training=None):
        x = self.norm(ops.matmul(x, self.w), training=training)
        self.add_loss(0.25 * ops.sum(ops.square(self.out.kernel)))
        return self.out(self.drop(x, training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def sequential(*parts, shape, dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


# Initial weights that take no time: JAX compiles a random one anew for every shape.
ONES = {"kernel_initializer": "ones"}


RECURRENT = {**ONES, "recurrent_initializer": "ones"}


def attention():
    q, v = keras.Input((4, 6)), keras.Input((3, 6))
    return keras.Model([q, v], layers.MultiHeadAttention(2, 3, **ONES)(q, v))


def text():
    return sequential(
        layers.Embedding(9, 4, mask_zero=True, embeddings_initializer="ones"),
        layers.LSTM(2, return_sequences=True, **RECURRENT),
        layers.GRU(2, **RECURRENT),
        shape=(3,),
        dtype="int32",
    )


def states():
    x = keras.Input((3, 3))
    out, state = layers.SimpleRNN(3, return_sequences=True, return_state=True, **RECURRENT)(x)
    both = layers.Bidirectional(layers.SimpleRNN(3, **RECURRENT))
    return keras.Model(x, both(out, initial_state=[state, layers.Dense(3, **ONES)(state)]))


def graph():
    """Two inputs, two outputs, a shared layer, models in the model, an operation."""
    a, b, x = keras.Input((6,), name="a"), keras.Input((6,), name="b"), keras.Input((6,))
    shared = layers.Dense(6, activation="relu", name="shared", **ONES)
    line = sequential(layers.Dense(6, **ONES), layers.BatchNormalization(), shape=(6,))
    inner = keras.Model(x, line(x) + layers.Dense(6, use_bias=False, **ONES)(x), name="inner")
    left, right = shared(a), inner(shared(b))
    both = layers.Concatenate()([inner(left), ops.tanh(right) * 2.0])
    ends = {"x": layers.Dense(2, name="x", **ONES)(both), "y": layers.Dense(6, name="y", **ONES)(left)}
    return keras.Model({"a": a, "b": b}, ends)


def separable():
    quick = {"depthwise_initializer": "ones", "pointwise_initializer": "ones"}
    return sequential(layers.SeparableConv2D(4, 2, **quick), shape=(4, 4, 3))


KINDS = {
    "Dense": lambda: sequential(layers.Dense(4, **ONES), shape=(5,)),
    "EinsumDense": lambda: sequential(layers.EinsumDense("abc,cd->abd", (3, 4), **ONES), shape=(3, 5)),
    "Conv1D": lambda: sequential(layers.Conv1D(4, 2, activation="relu", **ONES), shape=(5, 3)),
    "Conv2D": lambda: sequential(layers.Conv2D(4, 3, strides=2, **ONES), layers.PReLU(), shape=(5, 5, 2)),
    "Conv2DTranspose": lambda: sequential(layers.Conv2DTranspose(3, 2, **ONES), shape=(3, 3, 2)),
    "DepthwiseConv2D": lambda: sequential(
        layers.DepthwiseConv2D(2, depth_multiplier=2, depthwise_initializer="ones"), shape=(4, 4, 3)
    ),
    "SeparableConv2D": separable,
    "Embedding, LSTM, GRU": text,
    "Bidirectional, states": states,
    "TimeDistributed": lambda: sequential(layers.TimeDistributed(layers.Conv1D(3, 2, **ONES)), shape=(2, 4, 3)),
    "MultiHeadAttention": attention,
    "custom": lambda: sequential(Gated(4), shape=(5,)),
    "spectral": lambda: sequential(layers.SpectralNormalization(layers.Dense(4, **ONES)), shape=(5,)),
    "bfloat16": lambda: sequential(
        layers.Dense(4, dtype="mixed_bfloat16", **ONES), layers.Dense(3, dtype="bfloat16", **ONES), shape=(5,)
    ),
    "graph": graph,
}


def kernels(model):
    return [v for v in weights.kernels(model) if v.trainable]


def pruned(kind, seed=0):
    """The model of a kind with half of its kernels at zero, its other weights not as they were made, and a batch."""
    rng = np.random.default_rng(seed)
    model = KINDS[kind]()
    those = {id(v) for v in weights.kernels(model)}
    for v in model.trainable_variables + [v for v in model.variables if "moving" in v.name]:
        value = rng.uniform(0.5, 1.5, tuple(v.shape)).astype("float32")
        keep = rng.random(value.shape) < 0.5 if id(v) in those else True
        weights.write(v, value * keep)
    return model, batch(one(model.inputs) if isinstance(model, keras.Sequential) else model.input, rng)


def one(items):
    (item,) = items
    return item


def batch(like, rng):
    def draw(x):
        shape = (4, *x.shape[1:])
        return rng.integers(0, 9, shape) if "int" in x.dtype else rng.normal(size=shape).astype("float32")

    return keras.tree.map_structure(draw, like)


def outputs(model, x):
    # On JAX compiled: one operation at a time takes it seconds.
    y = model.predict(x, verbose=0) if JAX else model(keras.tree.map_structure(ops.convert_to_tensor, x))
    return [np.array(ops.convert_to_numpy(ops.cast(each, "float32"))) for each in keras.tree.flatten(y)]


def assert_close(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def masked_layers(model):
    found = {}
    for layer in model.layers:
        if isinstance(layer, Masked):
            found[id(layer)] = layer
        if isinstance(layer, keras.Model):
            found.update((id(each), each) for each in masked_layers(layer))
    return list(found.values())


def masks(model):
    return [ops.convert_to_numpy(each) for layer in masked_layers(model) for each in layer.masks]


def assert_stored_zeros(model, expected):
    """The stored weights are exactly zero under the masks, and moved elsewhere."""
    assert len(masks(model)) == len(expected) > 0
    for layer in masked_layers(model):
        for each in layer.masks:
            value, keep = weights.read(each.of), ops.convert_to_numpy(each)
            assert not value[~keep].any()
            assert value[keep].all()
    for got, keep in zip(masks(model), expected, strict=True):
        assert (got == keep).all()


def tune(model, x, optimizer="sgd", epochs=1, **kwargs):
    like = one(model.outputs) if isinstance(model, keras.Sequential) else model.output
    y = keras.tree.map_structure(lambda out: np.zeros((4, *out.shape[1:]), "float32"), like)
    losses = {name: "mse" for name in y} if isinstance(y, dict) else "mse"
    model.compile(optimizer, losses, **kwargs)
    return model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, shuffle=False)
