"""Which variables are compressed."""

import keras
import numpy as np
import pytest
from keras import layers
from models import KINDS

from keras_admm import weights

pytestmark = pytest.mark.every_backend


def model():
    return keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.Conv1D(5, 2, name="conv"),
            layers.GRU(4, name="gru"),
            layers.BatchNormalization(name="norm"),
            layers.PReLU(name="prelu"),
            layers.Dense(2, name="head"),
        ],
        name="m",
    )


def names(**which):
    return [n.removeprefix("m/") for n in weights.select(model(), **which)]


def test_kernels_and_embeddings_by_default():
    """Biases never, also where they have rank 2, as GRU's."""
    kernels = ["conv/kernel", "gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel", "head/kernel"]
    assert names() == kernels


@pytest.mark.parametrize(
    "layers_, exclude, expected",
    [
        ("conv", None, ["conv/kernel"]),
        (["conv", "head"], None, ["conv/kernel", "head/kernel"]),
        ("gru*", None, ["gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel"]),
        ("recurrent_kernel", None, ["gru/gru_cell/recurrent_kernel"]),
        ("m/head/bias", None, ["head/bias"]),
        (None, "gru", ["conv/kernel", "head/kernel"]),
        (None, ["gru", "head"], ["conv/kernel"]),
        (layers.GRU, None, ["gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel"]),
        (None, [layers.GRU, layers.Dense], ["conv/kernel"]),
        (lambda v: "kernel" in v.name and v.shape[-1] == 2, None, ["head/kernel"]),
    ],
)
def test_names_patterns_and_callables(layers_, exclude, expected):
    assert names(layers=layers_, exclude=exclude) == expected


def test_layers_and_variables():
    m = model()
    assert list(weights.select(m, layers=m.layers[0])) == ["m/conv/kernel"]
    assert list(weights.select(m, layers=[m.layers[-1].kernel])) == ["m/head/kernel"]
    assert "m/conv/kernel" not in weights.select(m, exclude=m.layers[0])


@pytest.mark.parametrize(
    "name, shape, kernel",
    [
        ("upscale_kernel", (6, 4), True),
        ("debiased_kernel", (6, 4), True),
        ("alphabet_embedding", (6, 4), True),
        ("w", (6, 4), True),
        ("kernel_scale", (6, 4), False),
        ("relative_position_bias_table", (6, 4), False),
        ("lora_kernel_a", (6, 2), False),
        ("pos", (1, 4), False),
        ("kernel", (4,), False),
    ],
)
def test_whole_words_of_a_name_say_what_is_a_kernel(name, shape, kernel):
    layer = layers.Layer()
    layer.add_weight(shape=shape, name=name)
    assert bool(weights.kernels(layer)) == kernel


def test_frozen_layers_are_left_alone_unless_asked_for():
    m = model()
    m.layers[0].trainable = False
    with pytest.warns(UserWarning, match=r"of frozen layers are not.*Received: \['m/conv/kernel'\]. Set.*or name"):
        assert "m/conv/kernel" not in weights.select(m)
    assert "m/conv/kernel" not in weights.select(m, exclude="conv")  # in silence, as what follows
    assert "m/conv/kernel" in weights.select(m, training=False)
    with pytest.raises(ValueError, match="only trainable variables.*Received: .*trainable=False. Set"):
        weights.select(m, layers="conv")
    m.trainable = False
    with pytest.raises(ValueError, match=r"Received: frozen ones alone, \['m/conv/kernel', .*\]. Set trainable"):
        weights.select(m)


@pytest.mark.parametrize(
    "kind, count",
    [("functional, shared, two inputs", 3), ("nested", 3), ("subclassed, custom layers", 3), ("MultiHeadAttention", 4)],
)
def test_every_variable_once(kind, count):
    chosen = weights.select(KINDS[kind]()[0])
    assert len(chosen) == len({id(v) for v in chosen.values()}) == count


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_read_and_write(dtype):
    variable = keras.Variable(np.zeros(3), dtype=dtype)
    weights.write(variable, np.array([0.5, -1, 2]))
    assert weights.read(variable).dtype == "float32"
    assert weights.read(variable).tolist() == [0.5, -1, 2]
    weights.write(variable, weights.storable(variable))
    assert weights.read(variable).tolist() == [0.5, -1, 2]


@pytest.mark.parametrize(
    "which, error, sentence",
    [
        ({"layers": "dense"}, ValueError, r"must choose at least one variable. Received: 'dense'.*Give"),
        ({"exclude": "dense"}, ValueError, r"must choose at least one variable. Received: 'dense'.*Give"),
        (
            {"layers": 3},
            TypeError,
            "must be names, patterns, layers, classes of layers, variables, .*Received: layers=3. Pass",
        ),
        ({"exclude": ["*"]}, ValueError, "at least one variable must be compressed. Received.*Choose others"),
    ],
)
def test_bad_choices_get_a_sentence(which, error, sentence):
    with pytest.raises(error, match=sentence):
        weights.select(model(), **which)


def test_an_unbuilt_model_gets_a_sentence():
    with pytest.raises(ValueError, match="must be built before.*Received: a model without variables. Call"):
        weights.select(keras.Sequential([layers.Dense(3)]))


def test_a_class_of_keras_is_found_by_its_name_in_subclasses_too():
    class Own(layers.LSTM):
        pass

    class BatchNormalization:
        pass

    assert weights.of_class(Own(2), "Dense", "RNN") and not weights.of_class(Own(2), "Own", "Dense")
    assert not weights.of_class(BatchNormalization(), "BatchNormalization")


def test_a_name_with_brackets_is_itself():
    class Two(layers.Layer):
        def build(self, shape):
            self.a, self.b = (self.add_weight(shape=(shape[-1], 2), name=n) for n in ("kernel[0]", "kernel0"))

        def call(self, x):
            return x @ (self.a + self.b)

    m = keras.Sequential([keras.Input((3,)), Two(name="t")], name="m")
    assert list(weights.select(m, layers="kernel[0]").values()) == [m.layers[0].a]
    assert list(weights.select(m, exclude="m/t/kernel[0]").values()) == [m.layers[0].b]
    assert len(weights.select(m, layers="kernel[[]*")) == 1


def test_a_number_never_makes_the_path_of_another_variable():
    class Three(layers.Layer):
        def build(self, shape):
            for i, name in enumerate(("kernel", "kernel", "kernel_2")):
                setattr(self, f"w{i}", self.add_weight(shape=(shape[-1], 2), name=name))

        def call(self, x):
            return x @ (self.w0 + self.w1 + self.w2)

    m = keras.Sequential([keras.Input((3,)), Three(name="t")], name="m")
    assert list(weights.select(m, layers="*/t/kernel_2").values()) == [m.layers[0].w2]
    assert len(weights.select(m)) == 3


def test_kernels_that_lora_has_frozen_are_named():
    m = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="lora_ed"), layers.Dense(2, name="head")], name="m")
    m.layers[0].enable_lora(2)
    with pytest.warns(UserWarning, match=r"LoRA has frozen.*Received: \['m/lora_ed/kernel'\]. Merge"):
        assert list(weights.select(m)) == ["m/head/kernel"]
