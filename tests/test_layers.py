"""The layer `Masked`: zeros that last whatever trains it and wherever it is saved."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from maskable import (
    JAX,
    ONES,
    RECURRENT,
    Gated,
    assert_close,
    assert_stored_zeros,
    masked_layers,
    masks,
    outputs,
    pruned,
    sequential,
    tune,
)

from keras_admm import weights
from keras_admm.layers import Masked
from keras_admm.masking import mask, strip

pytestmark = pytest.mark.every_backend


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


def test_masks_that_move_are_kept_after_compile():
    model, x = pruned("Dense")
    masked = mask(model)
    tune(masked, x, keras.optimizers.Muon(0.1))
    keep = ~masks(masked)[0]
    masked.set_weights([keep, *masked.get_weights()[1:]])
    tune(masked, x, keras.optimizers.Muon(0.1), epochs=2)
    assert_stored_zeros(masked, [keep])


def test_part_frozen_after_masking_loads(tmp_path):
    model, x = pruned("Bidirectional, states")
    masked = mask(model)
    masked.layers[-1].layer.forward_layer.trainable = False
    masked.save(tmp_path / "masked.keras")
    loaded = keras.models.load_model(tmp_path / "masked.keras")
    assert len(loaded.layers[-1].masks) == 4
    assert len(loaded.trainable_variables) == len(masked.trainable_variables)


def test_quantized_is_saved_stripped(tmp_path):
    model, x = pruned("EinsumDense")
    masked = mask(model)
    masked.layers[0].layer.quantize("int8")
    with pytest.raises(ValueError, match="einsum_dense.*Save keras_admm.strip"):
        masked.save(tmp_path / "masked.keras")
    strip(masked).save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    assert_close(outputs(loaded, x), outputs(masked, x))


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


def test_errors_are_sentences():
    with pytest.raises(TypeError, match="must be a keras.layers.Layer. Received: layer=3"):
        Masked(3)
    with pytest.raises(ValueError, match=r"d: .* of shapes \[\(2, 3\)\]. Received: arrays of shapes \[\(3, 2\)\]"):
        Masked(layers.Dense(3, name="d"), masks=[np.ones((3, 2))]).build((None, 2))
    with pytest.raises(ValueError, match=r"Received: arrays of shapes \[\]"):
        Masked(layers.Dense(3, name="d"), masks=[]).build((None, 2))
