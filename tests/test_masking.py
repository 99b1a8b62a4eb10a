"""Masks on the layers of a model: outputs unchanged, zeros that last, a file that keeps them, and the way back."""

import functools
import inspect

import keras
import numpy as np
import pytest
from cases import some
from keras import layers, ops
from maskable import (
    JAX,
    KINDS,
    ONES,
    Gated,
    assert_close,
    assert_stored_zeros,
    kernels,
    masked_layers,
    masks,
    outputs,
    pruned,
    sequential,
    tune,
)

from keras_admm import weights
from keras_admm.constraints import Sparse
from keras_admm.layers import Masked
from keras_admm.masking import mask, strip

pytestmark = pytest.mark.every_backend


def names(model):
    return [layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)]


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


@keras.saving.register_keras_serializable("tests")
class Scaler(layers.Layer):
    """A layer whose state is an array, which it gives to Keras's files itself."""

    scale = 1.0

    def adapt(self, x):
        self.scale = 1 / np.std(x, axis=0)

    def save_own_variables(self, store):
        store["scale"] = self.scale

    def load_own_variables(self, store):
        self.scale = np.array(store["scale"])

    def call(self, x):
        return x * ops.convert_to_tensor(self.scale, x.dtype)


TEXT = np.array([["a b c"], ["b b c"], ["c"], ["a d"]])
NUMBERS = np.arange(12.0, dtype="float32").reshape(4, 3) ** 2
# Each: a layer to adapt, and what it is adapted to.
ADAPTED = {
    "constants of weights": (layers.Normalization, NUMBERS),
    "boundaries": (lambda: layers.Discretization(num_bins=4), NUMBERS),
    "an array": (Scaler, NUMBERS),
    "vocabulary": (lambda: layers.TextVectorization(output_mode="multi_hot"), TEXT),
    "vocabulary with weights": (lambda: layers.TextVectorization(output_mode="tf_idf"), TEXT),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("case", some(ADAPTED, "constants of weights", "boundaries", "an array"))
def test_state_that_is_not_in_variables(case):
    make, x = ADAPTED[case]
    layer, text = make(), x is TEXT
    layer.adapt(x)
    shape, dtype = ((1,), "string") if text else ((3,), "float32")
    model = keras.Sequential([keras.Input(shape, dtype=dtype), layer, layers.Dense(2, **ONES)])
    weights.write(model.layers[-1].kernel, np.eye(*model.layers[-1].kernel.shape, dtype="float32"))
    x = ops.convert_to_tensor(x)
    expected = ops.convert_to_numpy(model(x))
    assert np.std(expected) > 0
    assert_close(ops.convert_to_numpy(mask(model)(x)), expected)
    assert_close(ops.convert_to_numpy(strip(mask(model))(x)), expected)


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


class Own(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x)


class Liar(Gated):
    def get_config(self):
        return {**super().get_config(), "units": self.units + 1}


class Plain(keras.Model):
    def call(self, x):
        return x


def noted(method):
    """As libraries of quantized layers decorate what computes."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        return method(self, *args, **kwargs)

    call.__signature__ = inspect.signature(method)
    return call


class Rounded(layers.Dense):
    """A layer that computes with what a quantizer makes of its kernel."""

    @noted
    def call(self, inputs, training=None):
        rounded = self.kernel + ops.stop_gradient(ops.round(self.kernel * 8) / 8 - self.kernel)
        return ops.matmul(inputs, rounded) + self.bias


def test_decorated_layers_of_another_library():
    model = sequential(Rounded(6), layers.ReLU(), Rounded(2), shape=(4,))
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    for layer in (model.layers[0], model.layers[2]):
        layer.kernel.assign(Sparse(0.5)(ops.convert_to_tensor(layer.kernel)))
    masked = mask(model)
    assert_close(outputs(masked, x), outputs(model, x))
    tune(masked, x, keras.optimizers.SGD(0.1), 1)
    assert [np.count_nonzero(weights.read(layer.kernel)) for layer in strip(masked).layers[::2]] == [12, 6]


class Holder(layers.Layer):
    """A layer that cannot be made again from its config."""

    def __init__(self, held, **kwargs):
        super().__init__(**kwargs)
        self.held = held

    def call(self, x):
        return self.held(x)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_errors_are_sentences():
    for act in (mask, strip):
        with pytest.raises(ValueError, match="must be built"):
            act(keras.Sequential([layers.Dense(2)]))
        with pytest.raises(ValueError, match="only a Sequential or Functional model .* Received: a Plain"):
            act(Plain())
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
