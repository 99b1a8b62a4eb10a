"""What is one layer or one variable of a model is one in its masked and stripped copies and in its files."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_admm as ka
from keras_admm.layers import Masked
from keras_admm.weights import kernels, storable, write


@keras.saving.register_keras_serializable("test_sharing")
class Tied(layers.Layer):
    """Computes with the transposed kernel of a layer in its config."""

    def __init__(self, of, **kwargs):
        super().__init__(**kwargs)
        self.of = of

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.of.kernel))

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.of.kernel.shape[0])

    def get_config(self):
        return {**super().get_config(), "of": keras.saving.serialize_keras_object(self.of)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("of")), **config)


@keras.saving.register_keras_serializable("test_sharing")
class TiedToSome(Tied):
    """Holds a list of layers, and has a kernel of its own."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

    def call(self, x):
        return ops.matmul(x, self.kernel + sum(layer.kernel for layer in self.of))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


@keras.saving.register_keras_serializable("test_sharing")
class Borrowed(layers.Layer):
    """A variable of another layer, of which its config says nothing."""

    def __init__(self, kernel=None, **kwargs):
        super().__init__(**kwargs)
        self.kernel = kernel

    def build(self, shape):
        if self.kernel is None:
            self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

    def call(self, x):
        return ops.matmul(x, self.kernel)

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("test_sharing")
class Late(layers.Layer):
    """Without `build`: its parts are built in its first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.last = layers.Dense(4, activation="relu"), layers.Dense(4)

    def call(self, x):
        return x + self.last(self.first(x))


def tied():
    x, encoder = keras.Input((4,)), layers.Dense(3, name="encoder")
    return keras.Model(x, Tied(encoder, name="decoder")(encoder(x)))


def tied_holder_first():
    x, late = keras.Input((4,)), layers.Dense(4, name="late")
    late.build((None, 4))
    return keras.Model(x, late(Tied(late, name="early")(x)))


def tied_to_some():
    x, parts = keras.Input((4,)), [layers.Dense(4, name="a"), layers.Dense(4, name="b")]
    return keras.Model(x, TiedToSome(parts, name="sum")(parts[1](parts[0](x))))


def held_by_a_wrapper():
    x, part = keras.Input((3, 4)), layers.Dense(4, name="part")
    return keras.Model(x, part(layers.TimeDistributed(part, name="each")(x)))


def model_held_by_a_wrapper():
    x, part = keras.Input((3, 4)), keras.Sequential([keras.Input((4,)), layers.Dense(4, name="part")], name="inner")
    return keras.Model(x, part(layers.TimeDistributed(part, name="each")(x)[:, 0]))


def wrapper_after_the_model():
    x, part = keras.Input((3, 4)), keras.Sequential([keras.Input((4,)), layers.Dense(4, name="part")], name="inner")
    each = layers.TimeDistributed(part, name="each")
    return keras.Model(x, each(layers.RepeatVector(2)(part(x[:, 0]))))


def shared_with_a_nested_model():
    embedding = layers.ReversibleEmbedding(9, 4, name="embedding")
    x = keras.Input((4,), dtype="int32")
    body = keras.Model(x, layers.Dense(4, name="d")(embedding(x)), name="body")
    x = keras.Input((4,), dtype="int32")
    return keras.Model(x, embedding(body(x), reverse=True))


def shared_by_two_models():
    a = keras.Input((4,))
    part = layers.Dense(4, name="part")
    left = keras.Model(a, layers.Dense(4, name="l")(part(part(a))), name="left")
    right = keras.Sequential([keras.Input((4,)), part, layers.Dense(4, name="r")], name="right")
    x = keras.Input((4,))
    return keras.Model(x, part(right(left(layers.ReLU()(part(x))))))


def a_model_twice():
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="part")], name="inner")
    outer = keras.Model(x, layers.ReLU()(inner(inner(x))), name="outer")
    x = keras.Input((4,))
    return keras.Model(x, inner(outer(outer(x))))


def a_part_of_a_model():
    x = keras.Input((4,))
    hidden = layers.Dense(4, name="hidden")(x)
    whole = keras.Model(x, layers.Dense(4, name="head")(hidden), name="whole")
    features = keras.Model(x, hidden, name="features")
    x = keras.Input((4,))
    return keras.Model(x, layers.Add()([whole(x), features(x)]))


def without_build():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(2)(Late(name="late")(x)))


def without_build_in_a_line():
    return keras.Sequential([keras.Input((4,)), Late(), Late()])


def with_lora():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    model.layers[0].enable_lora(2)
    return model


MODELS = [tied, tied_holder_first, tied_to_some, held_by_a_wrapper, a_model_twice, model_held_by_a_wrapper]
MODELS += [wrapper_after_the_model, without_build, without_build_in_a_line, shared_with_a_nested_model]
MODELS += [shared_by_two_models, a_part_of_a_model]
several = pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)


def pruned(model, seed=0):
    """Half of each kernel at zero, and a batch."""
    rng = np.random.default_rng(seed)
    pruned = {id(v) for v in kernels(model)}
    for v in model.trainable_variables:
        write(v, rng.normal(size=v.shape) * (rng.random(v.shape) < 0.5 if id(v) in pruned else 1))
    (x,) = model.inputs
    integers = "int" in x.dtype
    return rng.integers(0, 9, (2, *x.shape[1:])) if integers else rng.normal(size=(2, *x.shape[1:])).astype("float32")


def distinct(model):
    """Its variables, each once, without masks."""
    return list({id(v): v for v in model.variables if "mask_" not in v.name}.values())


def assert_same(new, old, x):
    assert [tuple(v.shape) for v in distinct(new)] == [tuple(v.shape) for v in distinct(old)]
    np.testing.assert_allclose(*(ops.convert_to_numpy(m(x)) for m in (new, old)), rtol=1e-6, atol=1e-6)


@pytest.mark.every_backend
@several
def test_one_stays_one(build, tmp_path):
    """Masked, stripped, packed; in Keras's files where Keras itself reads them; and after training."""
    model = build()
    x = pruned(model)
    masked = ka.mask(model)
    assert any(isinstance(layer, Masked) for layer in masked._flatten_layers())
    plain = ka.strip(masked)
    for number, copy in enumerate((masked, plain, model)):
        assert_same(copy, model, x)
        ka.save(copy, tmp_path / f"{number}.kadmm")
        assert_same(ka.load(tmp_path / f"{number}.kadmm"), model, x)
    zeros = [storable(v) == 0 for v in distinct(model)]
    for v in masked.trainable_variables:
        v.assign(v - 1.0 if v.constraint is None else v.constraint(v - 1.0))  # as an optimizer does
    after = [storable(v) for v in distinct(ka.strip(masked))]
    assert all((value[zero] == 0).all() for value, zero in zip(after, zeros, strict=True) if value.ndim > 1)
    assert_same(ka.strip(masked), masked, x)


@pytest.mark.filterwarnings("ignore:`build:UserWarning")  # Keras, of any layer without build()
@several
def test_keras_loads_the_copies(build, tmp_path):
    model = build()
    x = pruned(model)
    for copy in (ka.mask(model), ka.strip(ka.mask(model))):
        copy.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        assert_same(again, model, x)
        ka.save(again, tmp_path / "m.kadmm")
        assert_same(ka.load(tmp_path / "m.kadmm"), model, x)


@several
def test_the_twin_shares_or_refuses(build):
    pytest.importorskip("tf_keras")
    model = build()
    x = pruned(model)
    try:
        twin = ka.export.to_tf_keras(model)
    except ValueError as error:
        assert "without one" in str(error) or "share" in str(error)
        return
    assert len({id(v) for v in twin.variables}) == len(distinct(model))
    np.testing.assert_allclose(np.array(twin(x)), np.array(model(x)), rtol=1e-5, atol=1e-6)


@several
def test_purify_leaves_the_outputs(build):
    model = build()
    x = pruned(model)
    before = np.array(model(x))
    ka.purify(model)
    np.testing.assert_allclose(np.array(model(x)), before, rtol=1e-5, atol=1e-5)


def test_a_variable_that_is_lent_is_refused(tmp_path):
    first = layers.Dense(4, use_bias=False, name="first")
    first.build((None, 4))
    model = keras.Sequential([keras.Input((4,)), first, Borrowed(first.kernel, name="second")])
    pruned(model)
    for act in (ka.mask, ka.strip):
        with pytest.raises(ValueError, match="(first|second): weights that are tied .* Received: first/kernel"):
            act(model)
    with pytest.raises(ValueError, match=r"second: .* shared with \['first'\]. Received, made again: with no layer"):
        ka.save(model, tmp_path / "m.kadmm")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_does_not_come_back_is_not_saved(tmp_path):
    @keras.saving.register_keras_serializable("test_sharing")
    class Forgetful(layers.Dense):
        def get_config(self):
            return {**super().get_config(), "units": 3}

    model = keras.Sequential([keras.Input((4,)), Forgetful(2, name="forgetful")])
    with pytest.raises(ValueError, match="forgetful: a Forgetful must come back from its get_config"):
        ka.save(model, tmp_path / "m.kadmm")
    assert not list(tmp_path.iterdir())


class Silent(layers.Layer):
    """A layer that Keras cannot describe."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    "layer, words",
    [
        (lambda: layers.Dense(2, activation=lambda x: x, name="odd"), "Could not interpret activation"),
        (lambda: Silent(lambda x: x, name="odd"), "non-serializable argument"),
    ],
)
def test_the_layer_that_cannot_be_described_is_named(layer, words, tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), keras.Sequential([layer()])])
    with pytest.raises(ValueError, match=rf"^odd: a [^{{]*{words}[^{{]* have names"):
        ka.save(model, tmp_path / "m.kadmm")
    assert not list(tmp_path.iterdir())


def test_a_save_moves_no_generator(tmp_path):
    import random

    model, state = tied(), random.getstate()
    ka.save(model, tmp_path / "m.kadmm")
    assert random.getstate() == state


# Subclasses of Functional ---------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_sharing")
class Backbone(keras.Model):
    """As KerasHub's: its constructor takes sizes."""

    def __init__(self, width=4, **kwargs):
        tokens = keras.Input((3,), dtype="int32", name="tokens")
        embedding = layers.ReversibleEmbedding(9, width, name="embedding")
        super().__init__(tokens, layers.Dense(width, name="mix")(embedding(tokens)), **kwargs)
        self.width, self.embedding = width, embedding

    def get_config(self):
        return {"name": self.name, "width": self.width}


@keras.saving.register_keras_serializable("test_sharing")
class Causal(keras.Model):
    """As KerasHub's: its constructor takes a backbone, whose embedding it shares."""

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone.input, backbone.embedding(backbone.output, reverse=True), **kwargs)
        self.backbone = backbone

    def generate(self, tokens):
        return ops.argmax(self(tokens), -1)

    def get_config(self):
        return {"name": self.name, "backbone": keras.saving.serialize_keras_object(self.backbone)}

    @classmethod
    def from_config(cls, config):
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)


@keras.saving.register_keras_serializable("test_sharing")
class Scaled(keras.Model):
    """Made of tensors, with an argument of its own."""

    def __init__(self, *args, scale=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = scale

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def test_a_model_of_tensors_keeps_its_class(tmp_path):
    x = keras.Input((4,))
    model = Scaled(x, layers.Dense(2)(x), scale=3.0)
    batch = pruned(model)
    for copy in (ka.mask(model), ka.strip(ka.mask(model))):
        ka.save(copy, tmp_path / "m.kadmm")
        for each in (copy, ka.load(tmp_path / "m.kadmm")):
            assert (type(each), each.scale) == (Scaled, 3.0)
            assert_same(each, model, batch)


def test_a_class_with_its_own_constructor_is_kept_or_refused(tmp_path):
    model = Causal(Backbone(name="backbone"), name="causal")
    x = pruned(model)
    with pytest.raises(ValueError, match="causal: .* Received: a Causal, .* would be lost, and with it generate"):
        ka.mask(model)
    plain = ka.strip(model)
    ka.save(plain, tmp_path / "m.kadmm")
    for each in (plain, ka.load(tmp_path / "m.kadmm")):
        assert type(each) is Causal
        assert_same(each, model, x)
        assert (ops.convert_to_numpy(each.generate(x)) == ops.convert_to_numpy(model.generate(x))).all()
    opened = keras.Model(model.input, model.output)
    ka.save(ka.mask(opened), tmp_path / "m.kadmm")
    assert_same(ka.load(tmp_path / "m.kadmm"), model, x)


def test_a_class_inside_a_model_is_masked_as_one_layer(tmp_path):
    backbone, x = Backbone(name="backbone"), keras.Input((3,), dtype="int32")
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(backbone(x))))
    batch = pruned(model)
    masked = ka.mask(model)
    assert type(masked.get_layer("backbone").layer) is Backbone
    assert type(ka.strip(masked).get_layer("backbone")) is Backbone
    masked.save(tmp_path / "m.keras")
    ka.save(masked, tmp_path / "m.kadmm")
    for each in (
        masked,
        ka.strip(masked),
        keras.models.load_model(tmp_path / "m.keras"),
        ka.load(tmp_path / "m.kadmm"),
    ):
        assert_same(each, model, batch)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_and_lora_are_kept_or_refused(mode, tmp_path):
    model = with_lora()
    x = pruned(model)
    plain = ka.strip(model)
    assert_same(plain, model, x)
    ka.save(ka.mask(model), tmp_path / "m.kadmm")
    assert_same(ka.load(tmp_path / "m.kadmm"), model, x)
    quantized = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    pruned(quantized)
    for layer in quantized.layers:
        layer.quantize(mode)
    ka.save(ka.strip(quantized), tmp_path / "m.kadmm")
    assert_same(ka.load(tmp_path / "m.kadmm"), quantized, x)
