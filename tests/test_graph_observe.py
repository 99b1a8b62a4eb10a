"""What passes through layers while a model runs, and that they are afterwards as they were."""

import keras
import numpy as np
import pytest
from cases import HERE, some
from keras import layers, ops
from maskable import ONES, sequential

from keras_admm.graph import every_layer, observe
from keras_admm.layers import Masked


def dense(**kwargs):
    return layers.Dense(3, name="dense", **ONES, **kwargs)


class Twice(keras.Model):
    """A subclassed model that calls a layer twice."""

    def __init__(self):
        super().__init__(name="twice")
        self.dense = dense()

    def call(self, x):
        return self.dense(self.dense(x))


def shared():
    x, layer = keras.Input((3,)), dense()
    return keras.Model(x, layers.Add(name="add")([layer(x), layer(layer(x))]))


def quantized():
    model = sequential(dense(), shape=(3,))
    model.layers[0].quantize("int8")
    return model


def nested():
    inner = keras.Sequential([keras.Input((3,)), dense(), layers.ReLU(name="relu")], name="inner")
    return sequential(inner, shape=(3,))


# Models, and what is told of their layers in the order in which they return, each with what is around it.
CASES = {
    "sequential": (lambda: sequential(dense(), layers.ReLU(name="relu"), shape=(3,)), ["dense", "relu"]),
    "shared": (shared, ["dense", "dense", "dense", "add"]),
    "subclassed": (Twice, ["dense", "dense"]),
    "nested": (nested, ["inner/dense", "inner/relu", "inner"]),
    "held": (lambda: sequential(layers.TimeDistributed(dense(), name="time"), shape=(1, 3)), ["time/dense", "time"]),
    "masked": (lambda: sequential(Masked(dense(), masks=[np.eye(3)], name="mask"), shape=(3,)), ["mask/dense", "mask"]),
    "quantized": (quantized, ["dense"]),
}
SOME = some(CASES, "shared", "masked", "quantized")


def data(case):
    return np.arange(6, dtype="float32").reshape((2, 1, 3) if case == "held" else (2, 3))


def told(call):
    return "/".join(each.layer.name for each in (*call.around, call))


def attributes(model):
    return [{name: vars(layer).get(name) for name in ("call", "quantized_call")} for layer in every_layer(model)]


@pytest.mark.every_backend
@pytest.mark.parametrize("case", SOME)
def test_each_call_is_told_of_with_its_values_and_nothing_stays(case):
    make, expected = CASES[case]
    model, x, calls = make(), ops.convert_to_tensor(data(case)), []
    y, before = ops.convert_to_numpy(model(x)), attributes(model)
    with observe(every_layer(model)[1:], calls.append) as going_on:
        np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), y)
        assert not going_on
    assert [told(call) for call in calls] == expected and not any(call.in_loop for call in calls)
    np.testing.assert_array_equal(ops.convert_to_numpy(calls[-1].outputs), y)
    np.testing.assert_array_equal(ops.convert_to_numpy(calls[0].inputs).ravel()[:3], data(case).ravel()[:3])
    model(x)
    assert attributes(model) == before and len(calls) == len(expected)


@pytest.mark.every_backend
def test_the_batches_of_a_predict_that_runs_eagerly():
    model, seen = sequential(dense(), shape=(3,)), []
    model.compile(run_eagerly=True)
    x = np.arange(12, dtype="float32").reshape(4, 3)
    with observe(model.layers, lambda call: seen.append(ops.convert_to_numpy(call.outputs))):
        y = model.predict(x, batch_size=2, verbose=0)
    np.testing.assert_array_equal(np.concatenate(seen[-2:]), y)


@pytest.mark.every_backend
def test_traced_each_call_is_told_of_once_by_its_shapes():
    model, seen = shared(), []
    with observe(model.layers, lambda call: seen.append((call.layer.name, tuple(call.outputs.shape)))):
        keras.src.backend.compute_output_spec(lambda x: model(x), keras.KerasTensor((5, 3)))
    assert seen == [("dense", (5, 3))] * 3 + [("add", (5, 3))]


@pytest.mark.skipif(not HERE, reason="torch has no traces, and JAX's loops are seen in the tests of MACs")
def test_the_body_of_a_loop_is_told_to_be_one():
    model, found = sequential(layers.SimpleRNN(3, name="rnn", **ONES), shape=(4, 3)), {}
    with observe(every_layer(model), lambda call: found.update({call.layer.name: call.in_loop})):
        keras.src.backend.compute_output_spec(lambda x: model(x), keras.KerasTensor((5, 4, 3)))
    assert found == {model.name: False, "rnn": False, "simple_rnn_cell": True}


class Failing(layers.Layer):
    def call(self, x):
        raise RuntimeError("as it does")


def refuse(call):
    raise RuntimeError("as it does")


@pytest.mark.parametrize("layer, on_call", [(Failing, print), (dense, refuse)], ids=["the layer", "who is told"])
def test_undone_after_an_exception(layer, on_call):
    layer = layer()
    model = keras.Sequential([Masked(layer)])
    before = attributes(model)
    with pytest.raises(RuntimeError, match="as it does"), observe(every_layer(model), on_call) as going_on:
        layer(ops.ones((2, 3)))
    assert attributes(model) == before and not going_on


def test_a_layer_named_twice_is_told_of_once_and_two_may_watch():
    layer, first, second = dense(), [], []
    with observe([layer, layer], first.append):
        with observe([layer], second.append):
            layer(ops.ones((2, 3)))
        layer(ops.ones((2, 3)))
    assert (len(first), len(second)) == (2, 1) and "call" not in vars(layer)


def test_what_is_going_on_is_known_meanwhile():
    layer, names = dense(), []
    outer = layers.TimeDistributed(layer, name="time")
    with observe([outer], lambda call: None) as going_on:
        with observe([layer], lambda call: names.append([each.layer.name for each in going_on])):
            outer(ops.ones((1, 1, 3)))
            layer(ops.ones((1, 3)))
    assert names == [["time"], []]


@pytest.mark.tensorflow_only
def test_a_model_of_tf_keras():
    import tf_keras

    inner = tf_keras.layers.LSTM(2, name="lstm")
    model = tf_keras.Sequential([tf_keras.Input((4, 3)), inner, tf_keras.layers.Dense(1, name="dense")])
    x, calls = np.ones((2, 4, 3), "float32"), []
    y = model(x).numpy()
    with observe(every_layer(model)[1:], calls.append):
        np.testing.assert_array_equal(model(x).numpy(), y)
        model.compile(run_eagerly=True)
        model.predict(x, verbose=0)
    assert [call.layer.name for call in calls if len(call.around) == 0] == ["lstm", "dense"] * 2
    np.testing.assert_array_equal(calls[-1].outputs.numpy(), y)
    assert not any("call" in vars(layer) for layer in every_layer(model))
