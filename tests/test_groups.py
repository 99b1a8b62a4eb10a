"""Coupled groups: which channels live or die together, zero on their way, and what the model that is left costs."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from structured_models import MODELS, change, halved, random_inputs, randomize

from keras_admm import macs, weights
from keras_admm.graph import groups


def activations(found, inputs):
    """The values of all tensors of a model's graph that have labels, by `Tensor`."""
    values = {}

    def compute(call, args, kwargs):
        out = call.layer(*args, **kwargs)
        values.update(zip(call.outputs, keras.tree.flatten(out), strict=True))
        return out

    found.calls.run(keras.tree.map_structure(ops.convert_to_tensor, inputs), compute)
    return {x: ops.convert_to_numpy(values[x]) for x in found.tensors if x in values}


def is_constant(value, width, axis, alive):
    """Whether along an axis the channels of groups that do not stay have one value each: zero, or what it became."""
    dead = np.flatnonzero((width >= 0) & ~np.append(alive, True)[width])
    part = np.moveaxis(np.take(value, dead, axis), axis, -1)
    places = tuple(range(part.ndim - 1))
    # A softmax over places of equal numbers differs in its last bit, by the processor; zeros are zeros.
    return not part.size or bool(np.all(np.ptp(part, axis=places) <= 4e-7 * np.abs(part).max(axis=places)))


def check(model, read=True):
    """The laws of groups, half of those of each family being zero; returns the share of the MACs that is left.

    Their channels are zero on their way, or constant. What reads them may be anything, where none that is read is
    another constant than zero (`read`).
    """
    randomize(model)
    found, inputs = groups.of(model), random_inputs(model)
    alive = halved(found)
    for x, value in activations(found, inputs).items():
        for axis, width in enumerate(found.tensors[x]):
            assert width is None or is_constant(value, width, axis, alive), x.layer.name
    before = [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(inputs))]
    assert all(np.isfinite(y).all() and y.any() for y in before)
    change(found, alive, "reads" if read else "state", lambda part: np.random.normal(size=part.shape))
    for y, after in zip(before, keras.tree.flatten(model(inputs)), strict=True):
        np.testing.assert_array_equal(y, ops.convert_to_numpy(after))
    assert found.parameters() == sum(int(np.prod(v.shape)) for v in model.weights)
    return found.macs(alive) / found.macs()


@pytest.mark.parametrize("name", MODELS)
def test_half_of_all_groups_is_zero_on_its_way_and_read_by_nobody(name):
    assert check(MODELS[name]()) <= 0.6


@pytest.mark.every_backend
@pytest.mark.parametrize("name", ["squeeze and excite", "sequence to sequence", "Transformer", "operations"])
def test_groups_on_every_backend(name):
    assert check(MODELS[name]()) <= 0.6


def dense(units, name, **kwargs):
    return layers.Dense(units, name=name, use_bias=False, **kwargs)


def one_by_one(filters, name, **kwargs):
    return layers.Conv2D(filters, 1, name=name, use_bias=False, **kwargs)


def functional(shape, build):
    def make():
        x = keras.Input(shape)
        return keras.Model(x, build(x))

    return make


def sequential(shape, *rest):
    def build(x):
        for layer in rest:
            x = layer(x)
        return x

    return functional(shape, build)


def shared_twice():
    a, b, shared = keras.Input((3,)), keras.Input((3,)), dense(2, "s")
    return keras.Model([a, b], dense(1, "c")(layers.Concatenate()([shared(a), shared(b)])))


def feeding_itself(x):
    shared = dense(2, "s")
    return dense(1, "c")(shared(shared(dense(2, "a")(x))))


# For each model the slices of its first group, each as the variable, the axis, the places, and the role's first letter.
FIRST = {
    "a sum": (
        functional((3,), lambda x: dense(1, "c")(layers.Add()([dense(2, "a")(x), dense(2, "b")(x)]))),
        ["a/kernel 1 0 w", "b/kernel 1 0 w", "c/kernel 0 0 r"],
    ),
    "a tensor joined with itself": (
        functional((3,), lambda x: dense(1, "b")((lambda y: layers.Concatenate()([y, y]))(dense(2, "a")(x)))),
        ["a/kernel 1 0 w", "b/kernel 0 0,2 r"],
    ),
    "a layer called twice": (shared_twice, ["s/kernel 1 0 w", "c/kernel 0 0,2 r"]),
    "a layer that feeds itself": (
        functional((3,), feeding_itself),
        ["a/kernel 1 0 w", "s/kernel 0 0 r", "s/kernel 1 0 w", "c/kernel 0 0 r"],
    ),
    "flattened": (
        sequential((1, 2, 3), one_by_one(2, "a"), layers.Flatten(), dense(1, "b")),
        ["a/kernel 3 0 w", "b/kernel 0 0,2 r"],
    ),
    "flattened, channels first": (
        sequential(
            (3, 1, 2),
            layers.Conv2D(2, 1, data_format="channels_first", use_bias=False, name="a"),
            layers.Flatten(data_format="channels_first"),
            dense(1, "b"),
        ),
        ["a/kernel 3 0 w", "b/kernel 0 0,2 r"],
    ),
    "reshaped, channels first": (
        sequential(
            (3, 1, 2),
            layers.Conv2D(2, 1, data_format="channels_first", use_bias=False, name="a"),
            layers.Reshape((4,)),
            dense(1, "b"),
        ),
        ["a/kernel 3 0 w", "b/kernel 0 0,1 r"],
    ),
    "made an image of": (
        sequential((3,), dense(8, "a"), layers.Reshape((2, 2, 2)), one_by_one(1, "b")),
        ["a/kernel 1 0,2,4,6 w", "b/kernel 2 0 r"],
    ),
    "depthwise": (
        sequential(
            (2, 2, 3),
            one_by_one(2, "a"),
            layers.DepthwiseConv2D(1, depth_multiplier=2, name="d"),
            one_by_one(1, "b"),
        ),
        ["a/kernel 3 0 w", "d/kernel 2 0 w", "d/bias 0 0,1 w", "b/kernel 2 0,1 r"],
    ),
    "two groups of three channels": (
        sequential((2, 2, 3), one_by_one(6, "a"), one_by_one(4, "g", groups=2), one_by_one(1, "b")),
        ["a/kernel 3 0,3 w", "g/kernel 2 0 r"],
    ),
    "what two groups give": (
        sequential((2, 2, 6), one_by_one(4, "g", groups=2), one_by_one(1, "b")),
        ["g/kernel 3 0,2 w", "b/kernel 2 0,2 r"],
    ),
    "three groups of two channels": (
        sequential((2, 2, 3), one_by_one(6, "a"), one_by_one(3, "g", groups=3), one_by_one(1, "b")),
        ["a/kernel 3 0,1 w", "g/kernel 3 0 w", "b/kernel 2 0 r"],
    ),
    "batch normalization": (
        sequential((3,), dense(2, "a"), layers.BatchNormalization(name="n"), dense(1, "b")),
        ["a/kernel 1 0 w", "n/gamma 0 0 w", "n/beta 0 0 w", "n/moving_mean 0 0 s", "n/moving_variance 0 0 s"]
        + ["b/kernel 0 0 r"],
    ),
    "batch normalization without gamma": (
        sequential((3,), dense(2, "a"), layers.BatchNormalization(scale=False, center=False, name="n"), dense(1, "b")),
        ["a/kernel 1 0 w", "n/moving_mean 0 0 w", "n/moving_variance 0 0 s", "b/kernel 0 0 r"],
    ),
    "group normalization": (
        sequential((2, 3), dense(4, "a"), layers.GroupNormalization(2, name="n"), dense(1, "b")),
        ["a/kernel 1 0,1 w", "n/gamma 0 0,1 w", "n/beta 0 0,1 w", "b/kernel 0 0,1 r"],
    ),
    "LSTM": (
        sequential((2, 3), layers.LSTM(2, name="l"), dense(1, "b")),
        ["l/lstm_cell/recurrent_kernel 0 0 r", "l/lstm_cell/kernel 1 0,2,4,6 w"]
        + ["l/lstm_cell/recurrent_kernel 1 0,2,4,6 w", "l/lstm_cell/bias 0 0,2,4,6 w", "b/kernel 0 0 r"],
    ),
    "GRU": (
        sequential((2, 3), layers.GRU(2, name="l"), dense(1, "b")),
        ["l/gru_cell/recurrent_kernel 0 0 r", "l/gru_cell/kernel 1 0,2,4 w"]
        + ["l/gru_cell/recurrent_kernel 1 0,2,4 w", "l/gru_cell/bias 1 0,2,4 w", "b/kernel 0 0 r"],
    ),
    "heads": (
        functional((2, 3), lambda x: layers.MultiHeadAttention(2, 3, use_bias=False, name="m")(x, x)),
        [f"m/{each}/kernel 1 0 w" for each in ("query", "key", "value")] + ["m/attention_output/kernel 0 0 r"],
    ),
    "heads that share keys": (
        functional((2, 3), lambda x: layers.GroupQueryAttention(3, 4, 2, use_bias=False, name="m")(x, x)),
        ["m/query/kernel 1 0,1 w", "m/key/kernel 1 0 w", "m/value/kernel 1 0 w", "m/attention_output/kernel 0 0,1 r"],
    ),
    "zeros of padding": (
        functional(
            (3,),
            lambda x: dense(1, "b")(
                layers.Reshape((3,))(layers.ZeroPadding1D((1, 0))(layers.Reshape((2, 1))(dense(2, "a")(x))))
            ),
        ),
        ["a/kernel 1 0 w", "b/kernel 0 1 r"],
    ),
    "zeros before": (
        functional((3,), lambda x: dense(1, "b")(ops.pad(dense(2, "a")(x), [[0, 0], [1, 0]]))),
        ["a/kernel 1 0 w", "b/kernel 0 1 r"],
    ),
    "pixels of channels": (
        functional((2, 2, 3), lambda x: one_by_one(1, "b")(ops.nn.depth_to_space(one_by_one(8, "a")(x), 2))),
        ["a/kernel 3 0,2,4,6 w", "b/kernel 2 0 r"],
    ),
    "channels shuffled": (
        functional(
            (2, 2, 3),
            lambda x: one_by_one(1, "b")(
                layers.Reshape((2, 2, 4))(
                    layers.Permute((1, 2, 4, 3))(layers.Reshape((2, 2, 2, 2))(one_by_one(4, "a")(x)))
                )
            ),
        ),
        ["a/kernel 3 0,2 w", "b/kernel 2 0,1 r"],
    ),
    "a table of words that also gives words": (
        functional(
            (2,),
            lambda x: (lambda e: e(layers.Dense(2, use_bias=False, name="b")(e(x)), reverse=True))(
                layers.ReversibleEmbedding(5, 2, name="e")
            ),
        ),
        ["e/embeddings 1 0 w", "e/embeddings 1 0 r", "b/kernel 0 0 r", "b/kernel 1 0 w"],
    ),
}


@pytest.mark.parametrize("name", FIRST)
def test_what_lives_or_dies_together(name):
    make, expected = FIRST[name]
    (first, *_) = groups.of(make())
    found = [f"{s.variable.path} {s.axis} {','.join(map(str, s.indices))} {s.role[0]}" for s in first.slices]
    assert found == expected


@keras.saving.register_keras_serializable("test_groups")
class Unknown(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        return x @ self.w


class OwnCell(layers.GRUCell):
    """A cell with a step of its own."""

    def call(self, x, states, training=None):
        return super().call(x, states)


class Cell(layers.SimpleRNNCell):
    """A cell of a class of its own."""


def on_images(function):
    """Six channels, what is told, and a kernel that reads what comes of it."""
    return functional((4, 4, 3), lambda x: layers.Dense(2, name="last")(function(one_by_one(6, "first")(x))))


def on_rows(function):
    return functional((4, 3), lambda x: layers.Dense(2, name="last")(function(dense(6, "first")(x))))


def stateful():
    x = keras.Input(batch_shape=(2, 4, 3))
    return keras.Model(x, layers.Dense(1)(layers.LSTM(3, stateful=True)(x)))


def lora():
    inner = layers.Dense(5, name="inner")
    model = on_rows(inner)()
    inner.enable_lora(2)
    return model


def weight_outside():
    kernel = layers.Dense(4)
    kernel.build((None, 6))
    return on_rows(lambda x: ops.matmul(x, kernel.kernel))()


def fused(x):
    """Queries, keys and values of two heads from one kernel."""
    x = ops.reshape(dense(30, "b")(x), (-1, 4, 3, 2, 5))
    query, key, value = ops.unstack(x, axis=2)
    scores = ops.softmax(ops.einsum("bqhd,bkhd->bhqk", query, key) / 5**0.5)
    return ops.reshape(ops.einsum("bhqk,bkhd->bqhd", scores, value), (-1, 4, 10))


def beside_a_constant(function):
    def make():
        x = keras.Input(batch_shape=(2, 4, 3))
        return keras.Model(x, layers.Dense(2)(function([dense(6, "first")(x), np.ones((2, 4, 6))])))

    return make


# What channels pass, with how many groups are left of six, and why fewer are.
PASSED = {
    "relu": (on_images(ops.relu), 6, None),
    "numbers": (on_images(lambda x: ops.tanh(-(2.0 * x) / 3.0) ** 2), 6, None),
    "mean over places": (on_images(lambda x: ops.mean(x, axis=(1, 2))), 6, None),
    "max, axes kept": (on_images(lambda x: ops.max(x, axis=[1, 2], keepdims=True)), 6, None),
    "softmax over places": (on_rows(lambda x: x * ops.softmax(x, axis=1)), 6, None),
    "transposed": (on_images(lambda x: ops.transpose(ops.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1))), 6, None),
    "moved": (on_images(lambda x: ops.moveaxis(ops.swapaxes(x, 1, 3), 1, -1)), 6, None),
    "axes of size 1": (on_images(lambda x: ops.squeeze(ops.expand_dims(x, 1), 1)), 6, None),
    "slices of places": (on_images(lambda x: x[:, 1:, ::2][..., None][:, 0, ..., 0]), 6, None),
    "in equal parts": (on_images(lambda x: ops.subtract(*ops.split(x, 2, axis=-1))), 3, None),
    "stacked": (on_images(lambda x: ops.sum(ops.stack([x, ops.abs(x)], axis=1), axis=1)), 6, None),
    "divided by others": (on_images(lambda x: x / (1 + ops.max(x * x, axis=(1, 2), keepdims=True))), 0, "divides"),
    "divided by one for all": (on_images(lambda x: x / (1 + one_by_one(1, "m")(x) ** 2)), 6, "divides"),
    "pooled": (on_images(lambda x: ops.average_pool(ops.max_pool(x, 2), 2)), 6, None),
    "rows and columns": (on_rows(lambda x: ops.matmul(ops.transpose(x, (0, 2, 1)), x)[:, 0]), 0, "takes one of them"),
    "space to depth": (on_images(lambda x: ops.nn.space_to_depth(x, 2)), 6, None),
    "clipped": (on_images(lambda x: ops.clip(x, -1, 1)), 6, None),
    "repeated": (on_images(lambda x: layers.RepeatVector(3)(layers.GlobalMaxPooling2D()(x))), 6, None),
    "cropped and scaled up": (on_images(lambda x: layers.UpSampling2D()(layers.Cropping2D(1)(x))), 6, None),
    "attention": (on_rows(lambda x: layers.Attention()([x, x])), 6, None),
    "additive attention": (on_rows(lambda x: layers.AdditiveAttention()([x, x])), 6, None),
    "SELU, noise": (on_rows(lambda x: layers.GaussianNoise(1.0)(layers.Activation("selu")(x))), 6, None),
    "both ways, multiplied": (on_rows(layers.Bidirectional(layers.GRU(3), merge_mode="mul")), 9, None),
    "both ways, apart": (
        on_rows(lambda x: layers.Add()(layers.Bidirectional(layers.LSTM(3), merge_mode=None)(x))),
        9,
        None,
    ),
    "layer normalization": (on_images(layers.LayerNormalization()), 0, "normalizes over them"),
    "layer normalization over places": (on_rows(layers.LayerNormalization(axis=1)), 0, "beta along them"),
    "RMS normalization": (on_images(layers.RMSNormalization()), 0, "normalizes over them"),
    "unit normalization": (on_images(layers.UnitNormalization()), 0, "normalizes over them"),
    "batch normalization of places": (on_rows(layers.BatchNormalization(axis=1)), 0, "as places"),
    "softmax": (on_images(layers.Softmax()), 0, "softmax over them"),
    "an activation that is a softmax": (on_images(layers.Activation("softmax")), 0, "activation that goes over"),
    "an activation of one's own": (on_images(layers.Activation(lambda x: x)), 0, "activation that goes over"),
    "max over channels": (on_images(lambda x: ops.max(x, axis=-1, keepdims=True) * x), 0, "goes over them"),
    "some channels": (on_images(lambda x: x[..., :3]), 0, "takes some of them"),
    "one channel": (on_images(lambda x: x[..., :1, None] + 0.0), 0, "takes some of them"),
    "cut in unequal parts": (on_images(lambda x: ops.split(x, [2], axis=-1)[0]), 0, "cuts them at a given place"),
    "padded by ones": (on_images(lambda x: ops.pad(x, [[0, 0]] * 3 + [[1, 1]], constant_values=1)), 0, "not zero"),
    "a constant for each": (on_images(lambda x: x * np.arange(6.0)), 0, "with a constant"),
    "a constant for each place": (on_rows(lambda x: x + np.ones((4, 1))), 0, "with a constant"),
    "times a constant for each place": (on_rows(lambda x: x * np.ones((4, 1))), 6, None),
    "a product with a constant": (on_rows(lambda x: ops.matmul(x, np.ones((6, 5)))), 0, "takes a constant"),
    "a product of a constant": (on_rows(lambda x: ops.matmul(np.ones((3, 4)), x)), 0, "takes a constant"),
    "a product with a tensor that is constant": (on_rows(lambda x: x @ ops.ones((6, 6))), 0, "takes a constant"),
    "a product with a constant vector": (on_rows(lambda x: ops.matmul(x, np.ones(6))), 0, "takes a constant"),
    "an equation of a constant": (on_rows(lambda x: ops.einsum("btc,cd->btd", x, np.ones((6, 5)))), 0, "a constant"),
    "a layer that adds a constant": (on_rows(lambda x: layers.Add()([x, np.ones((1, 4, 6))])), 0, "takes a constant"),
    "joined to a constant": (beside_a_constant(layers.Concatenate()), 0, "takes a constant"),
    "stacked on a constant": (beside_a_constant(ops.stack), 0, "takes a constant"),
    "attention to a constant": (beside_a_constant(layers.Attention()), 0, "takes a constant"),
    "a mask that is a constant": (
        on_rows(lambda x: layers.MultiHeadAttention(2, 3)(x, x, attention_mask=np.tri(4, dtype=bool)[None])),
        6 + 2 + 3 + 3,
        "square root",
    ),
    "weighed by others": (
        on_rows(lambda x: ops.average(x, 1, weights=ops.sigmoid(layers.Dense(6)(x)))),
        0,
        "weighs them",
    ),
    "places weighed by numbers": (on_rows(lambda x: ops.average(x, 1, weights=np.arange(4.0))), 6, None),
    "an equation without an arrow": (on_rows(lambda x: ops.einsum("ijk,ilk", x, dense(6, "b")(x))), 6, None),
    "the diagonal of two": (
        functional((6, 3), lambda x: layers.Dense(2)(ops.einsum("bii->bi", dense(6, "first")(x)))),
        0,
        "what cannot shrink",
    ),
    "one map for all, added": (on_images(lambda x: layers.Add()([x, one_by_one(1, "m")(x)])), 0, "another tensor"),
    "one map for all, multiplied": (
        on_images(lambda x: layers.Multiply()([x, one_by_one(1, "m")(x)])),
        6,
        "it along others",
    ),
    "added to the input": (
        functional((4, 3), lambda x: layers.Dense(2)(layers.Add()([x, dense(3, "first")(x)]))),
        0,
        "what cannot shrink",
    ),
    "added to the input beside others": (
        functional((4, 3), lambda x: dense(2, "c")(dense(5, "b")(x) + layers.concatenate([x, dense(2, "a")(x)]))),
        2,
        "what cannot shrink",
    ),
    "dense over places": (on_rows(lambda x: dense(4, "b")(layers.Permute((2, 1))(x))), 4, None),
    "dense over places and back": (
        on_rows(lambda x: layers.Permute((2, 1))(layers.Dense(4)(layers.Permute((2, 1))(x)))),
        0,
        "a bias along them",
    ),
    "a bias for some axes": (
        on_rows(lambda x: layers.Reshape((4, 6))(layers.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="e")(x))),
        9,
        "a bias along them",
    ),
    "dense over places, no bias": (
        functional(
            (4, 3), lambda x: dense(2, "c")(layers.Flatten()(dense(5, "b")(layers.Permute((2, 1))(dense(6, "a")(x)))))
        ),
        6,
        "one axis of two",
    ),
    "attention from one kernel": (on_rows(fused), 11, None),
    "steps that are masked": (
        functional((4, 3), lambda x: layers.LSTM(5)(layers.LSTM(6, return_sequences=True)(layers.Masking()(x)))),
        6,
        None,
    ),
    "a quantized layer": (on_rows(layers.Dense(5, dtype="int8_from_float32")), 0, "is quantized"),
    "factors of LoRA": (lora, 0, "factors of LoRA"),
    "a weight outside of its layer": (weight_outside, 0, "takes a weight as it is"),
    "a Lambda": (on_images(layers.Lambda(lambda x: x)), 0, "no rule"),
    "a layer of a class without a rule": (on_images(Unknown()), 0, "no rule"),
    "an operation without a rule": (on_rows(lambda x: ops.log(x)), 0, "no rule"),
    "a cell without a rule": (on_rows(layers.RNN(Cell(3))), 0, "cell of a class without a rule, Cell"),
    "states that stay": (stateful, 0, "from batch to batch"),
    "states that are not zero": (on_rows(layers.GRU(3, activation="sigmoid")), 6, "state of zero another"),
    "convolved along": (on_rows(lambda x: layers.Conv1D(2, 3)(layers.Permute((2, 1))(x))), 2, "as places"),
    "the parts of two": (
        functional((4,), lambda x: dense(2, "b")(layers.Flatten()(layers.EinsumDense("ab,bcd->acd", (3, 2))(x)))),
        3,
        "one axis of two",
    ),
}


@pytest.mark.filterwarnings("ignore:.*Lambda")
@pytest.mark.parametrize("name", PASSED)
def test_what_channels_pass(name):
    """Groups that are left keep the laws; that there are fewer is told with the layer's name."""
    make, count, reason = PASSED[name]
    model = make()
    found = groups.of(model)
    assert len(found) == count == len({group.name for group in found})
    assert [why for _, why in found.frozen if reason and reason in why] or not reason and not found.frozen
    assert all(any(name == call.layer.name for call in found.calls) for name, _ in found.frozen)
    if count:
        check(model)


def test_layers_of_one_name_are_families_apart():
    inner = keras.Sequential([keras.Input((4, 6)), layers.Dense(5, name="first")])
    found = groups.of(on_rows(lambda x: inner(x))())
    assert [group.family for group in found] == ["first"] * 6 + ["first_2"] * 5


def test_layers_that_are_chosen_or_left_out():
    """A group leaves only if all kernels that write it may; what reads it is not asked."""
    x = keras.Input((3,))
    y = layers.Add()([dense(2, "a")(x), dense(2, "b")(x)])
    model = keras.Model(x, dense(1, "d")(dense(4, "c")(y)))

    def families(**which):
        return [group.family for group in groups.of(model, **which)]

    assert families() == ["a"] * 2 + ["c"] * 4
    assert families(layers=["a", "b"]) == families(exclude="c") == ["a"] * 2
    assert families(layers="[ac]") == families(exclude="b") == ["c"] * 4
    assert not groups.of(model, layers="[ac]").frozen  # as was asked
    with pytest.raises(ValueError, match="each entry must choose at least one variable. Received: 'z'"):
        families(layers="z")


def test_what_is_left_costs_what_a_smaller_model_costs():
    """By hand: of 4 filters 3 stay, of 6 units 2: 3 x 3 x 3 x 3 weights at 16 places, then 48 x 2 and 2 x 5."""
    x = keras.Input((4, 4, 3))
    y = layers.Conv2D(4, 3, padding="same", name="a")(x)
    model = keras.Model(x, layers.Dense(5)(layers.Dense(6, name="b")(layers.Flatten()(y))))
    found = groups.of(model)
    alive = [group.name not in ("a[1]", "b[0]", "b[2]", "b[3]", "b[5]") for group in found]
    assert found.macs(alive) == 16 * 81 + 96 + 10
    assert found.parameters(alive) == 81 + 3 + 96 + 2 + 10 + 5
    assert found.macs() == 16 * 108 + 64 * 6 + 30 and found.parameters() == model.count_params()
    kernel = model.get_layer("b").kernel
    assert [axis.sum() for axis in found.kept(kernel, alive)] == [48, 2]


@pytest.mark.parametrize("name", ["chain", "shared", "bidirectional", "Transformer", "others"])
def test_macs_are_those_of_reports(name):
    model = MODELS[name]()
    counted, _ = macs.uses(model)
    expected = sum(counted.get(id(v), 0) * int(np.prod(v.shape)) for v in weights.kernels(model))
    assert groups.of(model).macs() == expected


# For each layer its MACs by hand, on 2 x 4 vectors of 3 and with 1 unit behind it.
NESTED = {
    "twice": (layers.TimeDistributed(layers.Dense(5)), 8 * (15 + 5)),
    "both ways": (layers.Bidirectional(layers.GRU(5)), 8 * 2 * 3 * (15 + 25) + 2 * 10),
    "a cell": (layers.RNN(layers.LSTMCell(5), return_sequences=True), 8 * (4 * (15 + 25) + 5)),
}


@pytest.mark.parametrize("name", NESTED)
def test_layers_in_layers_in_each_step_are_counted_by_hand(name):
    layer, expected = NESTED[name]
    model = functional((2, 4, 3), lambda x: layers.Dense(1)(layers.TimeDistributed(layer)(x)))()
    counted, _ = macs.uses(model)
    reported = sum(counted[id(v)] * int(np.prod(v.shape)) for v in weights.kernels(model))
    assert groups.of(model).macs() == expected == reported


def test_steps_that_are_open_leave_all_open_that_is_in_them():
    inner = layers.TimeDistributed(layers.TimeDistributed(layers.Dense(2, name="d")))
    for shape in ((None, 4, 3), (4, None, 3)):
        with pytest.raises(ValueError, match="d: its MACs must be known"):
            groups.of(functional(shape, inner)()).macs()


def own_steps():
    return on_rows(layers.RNN(OwnCell(5), name="own"))()


def words_of_two_tables():
    table = layers.ReversibleEmbedding(9, 5, tie_weights=False, name="own")
    return functional((4,), lambda x: table(layers.Dense(5)(table(x)), reverse=True))()


@pytest.mark.parametrize("make, expected", [(own_steps, 4 * 3 * 6 + 5 * 2), (words_of_two_tables, 4 * 5 * 5)])
def test_what_a_kind_cannot_count_is_named_beside_the_rest(make, expected):
    """All sizes are given."""
    found = groups.of(make())
    assert found.uncounted == ["own"] and found.macs() == expected


def test_layers_whose_macs_are_not_known_are_named():
    found = groups.of(on_rows(Unknown(name="own"))())
    assert found.uncounted == ["own"] and found.macs() == 4 * (3 * 6 + 3 * 2)
    assert groups.of(MODELS["others"]()).uncounted == []


def test_a_model_on_each_step_is_counted_though_it_stays():
    inner = keras.Sequential([keras.Input((6,)), dense(5, "a"), dense(2, "b")])
    found = groups.of(on_rows(layers.TimeDistributed(inner))())
    assert not len(found) and not found.uncounted and found.macs() == 4 * (18 + 30 + 10 + 4)


def test_sizes_that_are_open_have_groups_but_no_macs():
    found = groups.of(functional((None, 3), lambda x: layers.Conv1D(2, 3)(layers.Conv1D(4, 3, name="a")(x)))())
    assert len(found) == 4 and found.parameters([True] * 3 + [False]) == 9 * 3 + 3 + 9 * 2 + 2
    with pytest.raises(ValueError, match=r"a: its MACs must be known. Received: inputs of shape \(None, None, 3\)"):
        found.macs()


def test_models_that_have_no_graph_are_told():
    with pytest.raises(ValueError, match="only a Sequential or Functional model has a graph"):
        groups.of(type("Own", (keras.Model,), {})())
    with pytest.raises(TypeError, match="model"):
        groups.of(3)


@pytest.mark.tensorflow_only
def test_models_of_tf_keras():
    import tf_keras

    x = tf_keras.Input((8, 8, 3))
    y = tf_keras.layers.BatchNormalization()(tf_keras.layers.Conv2D(4, 3, padding="same")(x))
    y = tf_keras.layers.ReLU()(tf_keras.layers.DepthwiseConv2D(3, padding="same")(y))
    y = tf_keras.layers.Flatten()(tf_keras.layers.Add()([y, tf_keras.layers.SeparableConv2D(4, 3, padding="same")(x)]))
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Dense(6, activation="relu")(y)))
    found = groups.of(model)
    assert len(found) == 10 and not found.frozen and "conv2d/kernel" in repr(found.groups[0].slices[0])
    assert found.parameters() == model.count_params()


APPLICATIONS = {
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "ResNet50": 64,
    "DenseNet121": 64,
    "InceptionV3": 96,
    "ConvNeXtTiny": 64,
    "NASNetMobile": 64,
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", APPLICATIONS)
def test_networks_of_keras_applications(name):
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not have it on torch")
    size = APPLICATIONS[name]
    build = getattr(keras.applications, name)
    assert check(build(weights=None, input_shape=(size, size, 3), classes=10)) <= 0.6


@pytest.mark.nightly
@pytest.mark.parametrize("depth", [20, 56])
def test_resnets_whose_shortcuts_have_no_weights(depth, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    import cifar_given

    model = cifar_given.resnet(depth)
    assert check(model) <= 0.6
    first = groups.of(model).groups[0]  # from the first layer on to the end, through sums and padding
    assert {s.variable.path for s in first.of("writes")} >= {"conv1/kernel", "layer3_0_conv2/kernel"}
