"""Dead weight by hand, and the law: the same outputs, fewer non-zeros, and nothing left to find."""

import keras
import numpy as np
import pytest
from cases import HERE, rows
from keras import layers, ops
from mortal import MADE, RELU, chain, decoder, lenet, made, pruned, residual, strides

import keras_admm as ka
from keras_admm import weights


def outputs(model):
    x = np.random.default_rng(1).normal(size=(5, *model.input_shape[1:])).astype("float32")
    return ops.convert_to_numpy(model(x, training=False))


def nonzeros(model):
    return sum(np.count_nonzero(weights.read(v)) for v in model.trainable_variables)


def values(*variables):
    return [weights.read(v).tolist() for v in variables]


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "kind, form",
    rows(lambda kind, form: HERE or (form == "masked") == (kind in ("lenet", "nested")), MADE, ["plain", "masked"]),
)
def test_outputs_stay_and_weights_go(kind, form):
    model = pruned(made(MADE[kind]))
    if form == "masked":
        model = ka.mask(model)
    before, count = outputs(model), nonzeros(model)
    removed = ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert nonzeros(model) < count
    # A bias that was zero may take up a constant: so at least as many went as are missing.
    assert sum(removed.values()) >= count - nonzeros(model)
    assert set(removed) <= {v.path for v in model.variables}
    assert ka.purify(model) == {}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [lenet, strides, decoder, residual], ids=lambda k: k.__name__)
def test_outputs_stay_whatever_was_pruned(kind, seed):
    model = pruned(made(kind), [0.5, 0.7, 0.9, 0.97][seed], seed)
    before = outputs(model)
    ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert ka.purify(model) == {}


def perceptron(activation="relu", **last):
    """Neurons: one alive, one that nothing reaches, one that reaches nothing."""
    model = chain(layers.Dense(3, activation, name="a"), layers.Dense(1, name="b", **last), shape=(2,))
    a, b = model.layers[1:]
    weights.write(a.kernel, [[1, 0, 3], [2, 0, 4]])
    weights.write(a.bias, [0.5, 2, 7])
    weights.write(b.kernel, [[1], [5], [0]])
    return model, a, b


@pytest.mark.every_backend
def test_a_constant_neuron_goes_into_the_next_bias_and_one_without_outputs_goes():
    model, a, b = perceptron()
    assert ka.purify(model) == {"a/kernel": 2, "a/bias": 2, "b/kernel": 1}
    assert values(a.kernel, a.bias) == [[[1, 0, 0], [2, 0, 0]], [0.5, 0, 0]]
    assert values(b.kernel, b.bias) == [[[1], [0], [0]], [10]]


def test_a_constant_goes_through_its_activation():
    model, a, b = perceptron("sigmoid")
    ka.purify(model)
    assert values(b.bias)[0] == pytest.approx([5 / (1 + np.exp(-2))])


def test_without_a_bias_a_constant_stays_unless_it_is_zero():
    model, a, b = perceptron(use_bias=False)
    assert ka.purify(model) == {"a/kernel": 2, "a/bias": 1}
    assert values(b.kernel) == [[[1], [5], [0]]]
    weights.write(a.bias, [0.5, -2, 0])
    assert ka.purify(model) == {"a/bias": 1, "b/kernel": 1}


def test_half_precision_folds_no_constants_but_zero():
    model, a, b = perceptron(dtype="mixed_bfloat16")
    assert ka.purify(model) == {"a/kernel": 2, "a/bias": 1}


@pytest.mark.parametrize("padding, size, folded", [("valid", 3, True), ("same", 3, False), ("same", 1, True)])
@pytest.mark.parametrize("constant", [0.0, 2.0])
def test_zero_padding_lets_only_zeros_through(padding, size, folded, constant):
    first, last = layers.Conv2D(2, 1, name="a"), layers.Conv2D(1, size, padding=padding, name="b")
    model = chain(first, last, shape=(5, 5, 1))
    weights.write(first.kernel, np.array([1.0, 0.0]).reshape(1, 1, 1, 2))
    weights.write(first.bias, [1.0, constant])
    before = outputs(model)
    ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert not weights.read(last.kernel)[:, :, 1].any() == (folded or constant == 0)


def test_batch_normalisation_takes_up_what_is_constant():
    first, norm, last = layers.Dense(3, name="a"), layers.BatchNormalization(epsilon=0.0), layers.Dense(1, name="b")
    model = chain(first, norm, last, shape=(1,))
    weights.write(first.kernel, [[1, 0, 5]])
    weights.write(first.bias, [0, 3, 6])
    for v, value in zip(norm.variables, ([2, 2, 0], [1, 1, 4], [0, 1, 0], [4, 4, 4]), strict=True):
        weights.write(v, value)
    weights.write(last.kernel, np.ones((3, 1)))
    removed = {name.split("/")[-1]: count for name, count in ka.purify(model).items()}
    assert removed == {"kernel": 2, "bias": 2, "gamma": 1, "beta": 2, "moving_mean": 1, "moving_variance": 2}
    assert values(first.kernel, first.bias) == [[[1, 0, 0]], [0, 0, 0]]
    assert values(norm.gamma, norm.beta) == [[2, 0, 0], [1, 0, 0]]
    assert values(norm.moving_mean, norm.moving_variance) == [[0, 0, 0], [4, 1, 1]]
    assert values(last.kernel, last.bias) == [[[1], [0], [0]], [(3 - 1) * 2 / 2 + 1 + 4]]


@pytest.mark.parametrize(
    "options, mean, variance",
    [
        ({}, [3, 0, 0], [4, 1, 1]),  # the second is constant, the last unneeded
        ({"dtype": "mixed_bfloat16"}, [3, 5, 0], [4, 9, 1]),  # no constant goes into beta
        ({"scale": False}, [3, 5, 0], [4, 9, 1]),
        ({"center": False}, [3, 5, 0], [4, 9, 1]),
    ],
    ids=["whole", "half precision", "no gamma", "no beta"],
)
def test_statistics_of_dead_channels_are_those_of_a_new_layer(options, mean, variance):
    norm, last = layers.BatchNormalization(**options), layers.Dense(1, use_bias=False)
    model = chain(layers.Dense(3), norm, last, shape=(1,))
    weights.write(model.layers[1].kernel, [[1, 0, 2]])
    weights.write(norm.moving_mean, [3, 5, 7])
    weights.write(norm.moving_variance, [4, 9, 16])
    weights.write(last.kernel, [[1], [1], [0]])
    before = outputs(model)
    ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-6)
    assert values(norm.moving_mean, norm.moving_variance) == [mean, variance]
    assert ka.purify(model) == {}


@pytest.mark.parametrize(
    "barrier",
    [
        lambda: layers.LayerNormalization(),
        lambda: layers.Softmax(),
        lambda: layers.Activation("softmax"),
        lambda: layers.Activation(lambda x: x[:, ::-1]),
        lambda: layers.Lambda(lambda x: x[:, ::-1], output_shape=(3,)),
        lambda: lambda x: layers.BatchNormalization()(x, training=True),
        lambda: lambda x: layers.Concatenate(axis=1)([layers.Reshape((1, 3))(x)] * 2),
    ],
    ids=["normalisation", "softmax", "fused softmax", "custom activation", "lambda", "training", "other axis"],
)
def test_barriers_need_all_and_say_nothing(barrier):
    first, last = layers.Dense(3), layers.Dense(1)
    model = chain(first, barrier(), last, shape=(2,))
    weights.write(first.kernel, [[1, 0, 3], [2, 0, 4]])
    weights.write(first.bias, [1, 2, 3])
    weights.write(last.kernel, [[1], [5], [0]])
    assert ka.purify(model) == {}


class Dense(layers.Dense):
    """A layer of one's own may do as it likes, whatever its name."""

    def call(self, x):
        return super().call(x) + ops.sum(x)


def test_a_subclass_is_a_barrier():
    model = chain(layers.Dense(2, name="a"), Dense(2, name="b"), shape=(2,))
    weights.write(model.layers[2].kernel, [[1, 2], [0, 0]])
    assert ka.purify(model) == {}


@pytest.mark.parametrize(
    "strange",
    [
        lambda x: layers.Add()([layers.Dense(1)(x), x]),
        lambda x: layers.Multiply()([layers.GlobalMaxPooling1D()(x), x]),
        layers.Flatten(data_format="channels_first"),
        lambda x: x + layers.Dense(4)(x),
        layers.TimeDistributed(layers.Dense(3, **RELU)),
    ],
    ids=["repeated channels", "other rank", "channels first", "operation", "wrapper"],
)
def test_what_is_strange_is_a_barrier(strange):
    model = pruned(chain(layers.Dense(4), strange, layers.Dense(2), shape=(3, 4)), 0.5)
    before = outputs(model)
    ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-5, atol=1e-5)


def twice(shared, x):
    return layers.Concatenate()([shared(x), shared(layers.Dense(4)(x))])


def tied(shared, x):
    other = layers.Dense(4)
    y = layers.Concatenate()([other(x), shared(x)])
    other._tracker.unlock()
    other._kernel = shared.kernel
    return y


def read_elsewhere(shared, x):
    return ops.matmul(shared(x), shared.kernel)


def nested_twice(shared, x):
    inner = keras.Sequential([keras.Input((4,)), shared])
    return layers.Add()([inner(x), inner(layers.Dense(4)(x))])


@pytest.mark.parametrize("use", [twice, tied, read_elsewhere, nested_twice], ids=lambda u: u.__name__)
def test_a_shared_variable_is_left_alone(use):
    shared = layers.Dense(4, **RELU)
    model = pruned(chain(lambda x: use(shared, x), layers.Dense(2), shape=(4,)))
    before, kernel, bias = outputs(model), *map(weights.read, (shared.kernel, shared.bias))
    ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-5, atol=1e-6)
    assert (weights.read(shared.kernel) == kernel).all() and (weights.read(shared.bias) == bias).all()


def test_quantized_and_adapted_layers_are_left_alone():
    model = pruned(chain(layers.Dense(4, **RELU), layers.Dense(4, **RELU), layers.Dense(2), shape=(4,)))
    model.layers[1].quantize("int8")
    model.layers[2].enable_lora(2)
    held = [weights.storable(v) for layer in model.layers[1:3] for v in layer.variables]
    before = outputs(model)
    ka.purify(model)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-5)
    after = [weights.storable(v) for layer in model.layers[1:3] for v in layer.variables]
    assert all((a == b).all() for a, b in zip(held, after, strict=True))


def test_masks_cover_the_new_zeros():
    model, a, b = perceptron()
    masked = ka.mask(model)
    ka.purify(masked)
    ka.purify(model)
    for one, other in zip(ka.mask(model).variables, masked.variables, strict=True):
        assert (weights.storable(one) == weights.storable(other)).all()


def test_a_frozen_layer_too_and_other_variables_are_not_assigned():
    model, a, b = perceptron()
    a.trainable = False
    assert set(ka.purify(model)) == {"a/kernel", "a/bias", "b/kernel"}
    told = []
    for v in model.variables:
        v.assign = told.append
    assert ka.purify(model) == {} and not told


def test_several_inputs_and_outputs():
    a, b = keras.Input((3,)), keras.Input((3,))
    hidden = layers.Dense(4, **RELU)
    out = layers.Dense(2)(layers.Concatenate()([hidden(a), layers.Dense(4, **RELU)(b)]))
    model = pruned(keras.Model([a, b], [out, layers.Dense(2)(hidden.output), hidden.output]))
    x = list(np.random.default_rng(1).normal(size=(2, 5, 3)).astype("float32"))
    before = [ops.convert_to_numpy(y) for y in model(x)]
    ka.purify(model)
    for old, new in zip(before, model(x), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(new), old, rtol=1e-5, atol=1e-6)


def test_bad_models_get_a_sentence():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    own = Subclassed()
    own(np.ones((1, 2)))
    with pytest.raises(ValueError, match="subclassed: only a Sequential or Functional .* Received: a Subclassed"):
        ka.purify(own)
    with pytest.raises(ValueError, match="early: the model must be built before"):
        ka.purify(keras.Sequential([layers.Dense(2)], name="early"))


@pytest.mark.tensorflow_only
def test_tf_keras_gets_a_sentence():
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(2,))], name="old")
    with pytest.raises(ValueError, match="old: only a .* of Keras 3 .* Received: a tf_keras"):
        ka.purify(model)
