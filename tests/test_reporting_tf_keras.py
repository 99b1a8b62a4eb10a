"""The same counts for models of tf_keras."""

import numpy as np
import pytest

import keras_admm as ka

pytestmark = pytest.mark.tensorflow_only

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (lambda: layers.Dense(3), (5, 4), [5 * 4 * 3]),
        (lambda: layers.EinsumDense("...c,cd->...d", 6), (4, 5), [4 * 5 * 6]),
        (lambda: layers.Conv1D(4, 3, strides=2, padding="same"), (8, 3), [4 * 3 * 3 * 4]),
        (lambda: layers.Conv2D(4, 3), (6, 5, 2), [4 * 3 * 3 * 3 * 2 * 4]),
        (lambda: layers.Conv2DTranspose(4, 3, strides=2), (4, 5, 2), [4 * 5 * 3 * 3 * 4 * 2]),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 3), [16 * 3 * 3 * 3 * 2]),
        (lambda: layers.SeparableConv1D(4, 3), (6, 3), [4 * 3 * 3, 4 * 3 * 4]),
        (lambda: layers.Embedding(12, 6), (5,), [0]),
        (lambda: layers.LSTM(5), (4, 3), [4 * 3 * 20, 4 * 5 * 20]),
        (lambda: layers.GRU(5, return_sequences=True), (4, 3), [4 * 3 * 15, 4 * 5 * 15]),
        (lambda: layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)]), (4, 3), [4 * 24, 4 * 16, 4 * 12, 4 * 12]),
        (lambda: layers.ConvLSTM2D(2, 3), (2, 5, 5, 1), [2 * 9 * 9 * 1 * 8, 2 * 9 * 9 * 2 * 8]),
        (lambda: layers.Bidirectional(layers.SimpleRNN(2)), (4, 3), [4 * 3 * 2, 4 * 2 * 2] * 2),
        (lambda: layers.TimeDistributed(layers.Dense(4)), (7, 3), [7 * 3 * 4]),
    ],
)
def test_macs(layer, shape, expected):
    model = tf_keras.Sequential([tf_keras.Input(shape), layer()])
    report = ka.report(model)
    assert [row.macs for row in report.rows] == expected
    assert not any(":" in row.name for row in report.rows)


class Own(tf_keras.Model):
    """A subclassed model with control flow that TensorFlow must convert."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = layers.Dense(4), layers.Dense(2)

    def call(self, x):
        x = self.hidden(x)
        if len(x.shape) == 3:
            x = x[:, 0]
        return self.head(x)


def test_a_subclassed_model_once_called():
    own = Own()
    own(np.ones((8, 5, 3), "float32"))
    assert [row.macs for row in ka.report(own).rows] == [5 * 3 * 4, 4 * 2]
    assert "call" not in vars(own.head)
    own(np.ones((8, 5, 3), "float32"))


def test_a_nested_model_with_a_shared_layer_and_two_inputs():
    a, b = tf_keras.Input((4,)), tf_keras.Input((3, 4))
    shared = tf_keras.Sequential([layers.Dense(4)])
    attended = layers.MultiHeadAttention(2, 5)(b, shared(b))
    report = ka.report(tf_keras.Model([a, b], [shared(a), attended]))
    assert sorted(row.macs for row in report.rows) == [(3 + 1) * 16, *[3 * 4 * 10] * 4]


def test_an_unbuilt_model_gets_a_sentence():
    with pytest.raises(ValueError, match="must be built before"):
        ka.report(tf_keras.Sequential([layers.Dense(2)]))


def test_no_packed_bytes_and_a_sentence_that_says_why():
    model = tf_keras.Sequential([layers.Dense(2)])
    model.build((None, 3))
    report = ka.report(model)
    assert report.file is None and report.rows[0].packed_bytes is None and report.total.data_ratio is None
    assert (
        str(report)
        .splitlines()[-1]
        .startswith("Packed bytes cannot be known: a packed file holds models of Keras 3, and this one is of tf_keras.")
    )
