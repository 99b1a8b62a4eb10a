"""Masks in the model: outputs unchanged, zeros that last, a file that keeps them, and the way back."""

import keras
import numpy as np
import pytest
from cases import some
from keras import layers, ops

from keras_admm import weights
from keras_admm.layers import Masked, mask, strip

pytestmark = pytest.mark.every_backend

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


def names(model):
    return [layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)]


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


@pytest.mark.parametrize(
    "kind", some(KINDS, "SeparableConv2D", "Embedding, LSTM, GRU", "spectral", "bfloat16", "graph")
)
def test_there_and_back(kind, tmp_path):
    """Same outputs masked and stripped; from the file too, where pruned weights are tampered with, then tuned."""
    model, x = pruned(kind)
    masked = mask(model)
    plain = strip(masked)
    assert len(masks(masked)) == len(kernels(model)) > 0
    assert not any(keep.all() for keep in masks(masked))
    assert names(masked) == names(plain) == names(model)
    assert [type(layer) for layer in plain.layers] == [type(layer) for layer in model.layers]
    assert "keras_admm" not in plain.to_json()
    for got, original in zip(plain.variables, model.variables, strict=True):
        assert (weights.read(got) == weights.read(original)).all()
    expected = outputs(model, x)
    assert_close(outputs(plain, x), expected)

    masked.save(tmp_path / "masked.keras")
    loaded = keras.models.load_model(tmp_path / "masked.keras")
    for layer in masked_layers(loaded):
        for each in layer.masks:
            weights.write(each.of, weights.read(each.of) + ~ops.convert_to_numpy(each))
    assert_close(outputs(loaded, x), expected)
    before = [weights.read(v) for v in kernels(loaded)]
    tune(loaded, x, run_eagerly=not JAX)
    assert_stored_zeros(loaded, masks(masked))
    assert all((weights.read(v) != old).any() for v, old in zip(kernels(loaded), before, strict=True))


def unmasked(model):
    own = {id(each) for layer in masked_layers(model) for each in layer.masks}
    return [v for v in model.variables if id(v) not in own]


@pytest.mark.parametrize("kind", ["Bidirectional, states", "custom", "spectral"])
def test_masks_of_ones_train_as_none(kind):
    """Statistics, seeds, losses of layers and the training flag go through as if the mask were not there."""
    plain, x = pruned(kind)
    wrapped = keras.models.clone_model(plain, clone_function=lambda old: Masked(old.from_config(old.get_config())))
    for variable, value in zip(unmasked(wrapped), plain.variables, strict=True):
        weights.write(variable, weights.storable(value))
    before = [weights.read(v) for v in plain.variables]
    logs = [tune(m, x, keras.optimizers.SGD(0.1), 2, run_eagerly=not JAX).history for m in (plain, wrapped)]
    np.testing.assert_allclose(logs[1]["loss"], logs[0]["loss"], rtol=1e-5)
    for variable, original in zip(unmasked(wrapped), plain.variables, strict=True):
        np.testing.assert_allclose(weights.read(variable), weights.read(original), rtol=1e-4, atol=1e-6)
    moved = {v.name for v, old in zip(plain.variables, before, strict=True) if (weights.read(v) != old).any()}
    assert kind != "custom" or {"moving_mean", "moving_variance", "seed_generator_state"} < moved


OPTIMIZERS = {
    "muon": lambda: keras.optimizers.Muon(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_zeros_outlast_optimizers(optimizer):
    model, x = pruned("Dense")  # of rank 2, as Muon leaves others to Adam
    masked = mask(model)
    keep = masks(masked)
    tune(masked, x, OPTIMIZERS[optimizer](), epochs=2)
    assert_stored_zeros(masked, keep)
    tune(masked, x, OPTIMIZERS[optimizer]())
    assert_stored_zeros(masked, keep)


def test_even_infinity_is_masked():
    model, x = pruned("Dense")
    masked, expected = mask(model), outputs(model, x)
    (keep,), kernel = masks(masked), masked.layers[0].layer.kernel
    weights.write(kernel, np.where(keep, weights.read(kernel), np.inf))
    assert_close(outputs(masked, x), expected)
    assert_close(outputs(strip(masked), x), expected)
    tune(masked, x)
    assert_stored_zeros(masked, [keep])


def test_constraint_of_the_layer_holds_too():
    layer = Masked(layers.Dense(2, kernel_constraint="non_neg", **ONES), masks=[[[1, 0], [1, 1]]])
    model = sequential(layer, shape=(2,))
    tune(model, np.ones((4, 2), "float32"), keras.optimizers.SGD(9.0))
    assert (weights.read(layer.layer.kernel) == 0).all()


def test_inference_assigns_nothing(monkeypatch):
    model, x = pruned("custom")
    masked, assigned = mask(model), []
    assign = keras.Variable.assign
    monkeypatch.setattr(keras.Variable, "assign", lambda self, value: assigned.append(self.name) or assign(self, value))
    masked(ops.convert_to_tensor(x), training=False)
    assert not assigned
    masked(ops.convert_to_tensor(x), training=True)
    assert set(assigned) == {"moving_mean", "moving_variance", "seed_generator_state"}


def test_state_of_a_layer_lasts():
    layer = layers.LSTM(2, stateful=True, **RECURRENT)
    model = keras.Sequential([keras.Input(batch_shape=(4, 3, 2)), Masked(layer)])
    assert [mask.of.name for mask in model.layers[0].masks] == ["kernel", "recurrent_kernel"]
    x = ops.ones((4, 3, 2))
    first, second = ops.convert_to_numpy(model(x)), ops.convert_to_numpy(model(x))
    assert (first != second).all()


class Holder(layers.Layer):
    """A layer that cannot be made again from its config."""

    def __init__(self, held, **kwargs):
        super().__init__(**kwargs)
        self.held = held

    def call(self, x):
        return self.held(x)


def test_parts_in_float32_get_weights_that_are_not_rounded():
    held = layers.Dense(1, dtype="float32", kernel_initializer=keras.initializers.Constant(1.001))
    model = sequential(Masked(Holder(held, dtype="mixed_bfloat16")), shape=(1,))
    assert outputs(model, np.ones((4, 1), "float32"))[0][0] == np.float32(1.001)


def test_wrapper_adds_nothing_of_its_own():
    """No cast of the inputs, and a Keras mask only where the layer passes one on."""
    assert "float16" in str(Masked(layers.Lambda(lambda x: x, autocast=False))(ops.ones((2,), "float16")).dtype)
    assert Masked(layers.Dense(2)).supports_masking and not Masked(Gated(2)).supports_masking


def test_frozen_layers_are_masked_and_stay_frozen(tmp_path):
    model, x = pruned("graph")
    expected = outputs(model, x)
    model.get_layer("inner").trainable = False
    model.get_layer("x").bias.trainable = False
    masked = mask(model)
    assert not masked.get_layer("x").layer.bias.trainable
    masked.get_layer("x").layer.bias.trainable = model.get_layer("x").bias.trainable = True
    again = keras.models.clone_model(masked)
    again.set_weights(masked.get_weights())
    masked.save(tmp_path / "masked.keras")
    for new in (masked, strip(masked), again, keras.models.load_model(tmp_path / "masked.keras")):
        assert not new.get_layer("inner").trainable
        assert len(new.trainable_variables) == len(model.trainable_variables) == 6
        assert_close(outputs(new, x), expected)
    assert len(masks(masked)) == len(masks(again)) == 5


@pytest.mark.parametrize("how", ["a part", "a variable", "all but a part"])
def test_what_is_frozen_in_a_layer_is_masked_too_and_stays_frozen(how):
    """A layer made again from its config knows nothing of what was frozen in it."""
    model = sequential(Gated(3), layers.Dense(2), shape=(4,))
    gated = model.layers[0]
    for variable in (gated.w, gated.out.kernel):
        variable.assign(variable * (ops.arange(3) > 0))
    if how == "a variable":
        gated.w.trainable = False
    else:
        gated.trainable, gated.out.trainable = how == "a part", how != "a part"
    masked = mask(model)
    assert len(masks(masked)) == 2
    for new in (masked, strip(masked)):
        assert [v.trainable for v in new.variables if v.dtype != "bool"] == [v.trainable for v in model.variables]
        copy = getattr(new.layers[0], "layer", new.layers[0])
        assert (copy.trainable, copy.out.trainable) == (gated.trainable, gated.out.trainable)


def test_part_frozen_after_masking_loads(tmp_path):
    model, x = pruned("Bidirectional, states")
    masked = mask(model)
    masked.layers[-1].layer.forward_layer.trainable = False
    masked.save(tmp_path / "masked.keras")
    loaded = keras.models.load_model(tmp_path / "masked.keras")
    assert len(loaded.layers[-1].masks) == 4
    assert len(loaded.trainable_variables) == len(masked.trainable_variables)


def test_shared_layers_stay_shared():
    masked = mask(pruned("graph")[0])
    assert len(masked_layers(masked)) == 5
    shared, x = layers.Dense(2, **ONES), keras.Input((2,))
    across = mask(keras.Model(x, sequential(shared, shape=(2,))(shared(x))))
    assert not masked_layers(across)
    weights.write(shared.kernel, np.eye(2, dtype="float32"))
    across = mask(keras.Model(x, sequential(shared, shape=(2,))(shared(x))))
    assert len(masked_layers(across)) == 1


def test_compiled_model_stays_so_and_copy_is_not():
    model, _ = pruned("graph")
    model.compile("sgd", lambda y, p: ops.mean(y - p))
    model.get_layer("inner").compile("sgd", lambda y, p: ops.mean(y - p))
    masked = mask(model)
    assert model.compiled and model.get_layer("inner").compiled
    assert not masked.compiled and not masked.get_layer("inner").compiled


def test_masking_again_follows_the_weights():
    model, x = pruned("Dense")
    masked = mask(model)
    kernel = masked.layers[0].layer.kernel
    value = weights.read(kernel)
    value[0] = 0
    weights.write(kernel, value)
    again = mask(masked)
    assert isinstance(again.layers[0].layer, layers.Dense)
    assert (masks(again)[0] == (value != 0)).all()
    assert_close(outputs(again, x), outputs(masked, x))
    assert not masked_layers(mask(strip(KINDS["Dense"]())))


def test_masks_anywhere_are_stripped():
    keep = [[1, 0], [0, 1]]
    deep = Masked(Masked(layers.Dense(2, **ONES), [[[1, 1], [0, 1]]]), [keep])
    model = sequential(layers.TimeDistributed(deep), Masked(keras.Sequential([layers.Dense(2, **ONES)])), shape=(3, 2))
    plain = strip(model)
    x = np.ones((4, 3, 2), "float32")
    assert "keras_admm" not in plain.to_json()
    assert (weights.read(plain.layers[0].layer.kernel) == np.array(keep)).all()
    assert_close(outputs(plain, x), outputs(model, x))
    assert_close(outputs(mask(model), x), outputs(model, x))


def test_masks_that_move_are_kept_after_compile():
    model, x = pruned("Dense")
    masked = mask(model)
    tune(masked, x, keras.optimizers.Muon(0.1))
    keep = ~masks(masked)[0]
    masked.set_weights([keep, *masked.get_weights()[1:]])
    tune(masked, x, keras.optimizers.Muon(0.1), epochs=2)
    assert_stored_zeros(masked, [keep])


def test_state_that_is_not_in_variables():
    norm = layers.Normalization()
    norm.adapt(np.arange(12.0, dtype="float32").reshape(4, 3))
    model = sequential(norm, layers.Lambda(lambda x: 2 * x), layers.Dense(2, **ONES), shape=(3,))
    weights.write(model.layers[-1].kernel, np.eye(3, 2, dtype="float32"))
    x = np.ones((4, 3), "float32")
    assert_close(outputs(mask(model), x), outputs(model, x))


def doubled(x):
    return SCALE * x


SCALE = 2.0


@pytest.mark.parametrize(
    "own",
    [
        lambda: layers.Dense(2, activation=doubled, **ONES),
        lambda: layers.Dense(2, kernel_constraint=doubled, **ONES),
        lambda: layers.Lambda(doubled),
        lambda: layers.Lambda(lambda x: SCALE * x),  # its code alone does not know what SCALE is
    ],
)
def test_functions_of_ones_own_are_handed_over(own):
    model = sequential(own(), layers.Dense(2, **ONES), shape=(3,))
    x = np.ones((4, 3), "float32")
    masked = mask(model)
    assert_close(outputs(masked, x), outputs(model, x))
    assert_close(outputs(strip(masked), x), outputs(model, x))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has strings in a model")
def test_vocabulary_is_copied():
    lookup = layers.StringLookup()
    lookup.adapt(np.array(["a", "b", "b"]))
    model = sequential(lookup, layers.Embedding(4, 2), shape=(2,), dtype="string")
    weights.write(model.layers[-1].embeddings, np.array([[1, 2], [3, 0], [5, 6], [7, 8]], "float32"))
    x = np.array([["a", "b"], ["c", "a"]])
    assert_close(outputs(mask(model), x), outputs(model, x))


class Plain(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = Masked(layers.Dense(2, **ONES), masks=[[[1, 0]]])

    def call(self, x):
        return self.dense(x)


def test_in_a_subclassed_model(tmp_path):
    model, x = Plain(), np.ones((4, 1), "float32")
    model(x)
    model.compile(keras.optimizers.Muon(0.1), "mse", run_eagerly=not JAX)
    model.fit(x, np.zeros((4, 2)), verbose=0)
    assert (weights.read(model.dense.layer.kernel) != 0).tolist() == [[True, False]]
    model.save_weights(tmp_path / "a.weights.h5")
    other = Plain()
    other(x)
    other.dense.masks[0].assign(np.zeros((1, 2), bool))
    other.load_weights(tmp_path / "a.weights.h5")
    assert ops.convert_to_numpy(other.dense.masks[0]).tolist() == [[True, False]]
    with pytest.raises(ValueError, match="only a Sequential or Functional model .* Received: a Plain"):
        mask(model)


class Own(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x)


class Liar(Gated):
    def get_config(self):
        return {**super().get_config(), "units": self.units + 1}


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_errors_are_sentences():
    with pytest.raises(TypeError, match="must be a keras.layers.Layer. Received: layer=3"):
        Masked(3)
    with pytest.raises(ValueError, match=r"d: .* of shapes \[\(2, 3\)\]. Received: arrays of shapes \[\(3, 2\)\]"):
        Masked(layers.Dense(3, name="d"), masks=[np.ones((3, 2))]).build((None, 2))
    with pytest.raises(ValueError, match=r"Received: arrays of shapes \[\]"):
        Masked(layers.Dense(3, name="d"), masks=[]).build((None, 2))
    for act in (mask, strip):
        with pytest.raises(ValueError, match="must be built"):
            act(keras.Sequential([layers.Dense(2)]))
    for broken in (Own([keras.Input((2,)), layers.Dense(2)]), sequential(Own([layers.Dense(2)]), shape=(2,))):
        with pytest.raises(ValueError, match="Received: a Own, with a `call` of its own"):
            mask(broken)
    with pytest.raises(ValueError, match=r"liar: .* of shapes \[\(2, 3\), .* Correct its get_config"):
        mask(sequential(Liar(3, name="liar"), shape=(2,)))
    with pytest.raises(ValueError, match="thing: it must be possible to make a layer again .* Holder"):
        mask(sequential(Holder(layers.Dense(2), name="thing"), shape=(2,)))
    nameless = sequential(layers.Dense(2, activation=lambda x: x, name="nameless"), shape=(2,))
    with pytest.raises(
        ValueError, match=r"^nameless: [^{]*\(Could not interpret activation [^{]* names to its functions"
    ):
        mask(nameless)


def test_quantized_is_saved_stripped(tmp_path):
    model, x = pruned("EinsumDense")
    masked = mask(model)
    masked.layers[0].layer.quantize("int8")
    with pytest.raises(ValueError, match="einsum_dense.*Save keras_admm.strip"):
        masked.save(tmp_path / "masked.keras")
    strip(masked).save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    assert_close(outputs(loaded, x), outputs(masked, x))
