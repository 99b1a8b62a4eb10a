"""Counts by hand, the table that they print, and the same as numbers and in Markdown."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import CustomDense

import keras_admm as ka
from keras_admm import weights

pytestmark = pytest.mark.every_backend

ONES = {"kernel_initializer": "ones"}
RECURRENT = {**ONES, "recurrent_initializer": "ones"}


def model():
    m = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")], name="m"
    )
    weights.write(m.layers[0].kernel, np.eye(4)[:, :3])
    weights.write(m.layers[1].kernel, np.zeros((3, 2)))
    return m


def macs(layer, *shape, dtype="float32"):
    return [row.macs for row in ka.report(keras.Sequential([keras.Input(shape, dtype=dtype), layer])).rows]


def test_rows_and_total():
    report = ka.report(model())
    assert [row[:7] for row in report.rows] == [
        ("m/a/kernel", (4, 3), 12, 3, 2, 12, 3),
        ("m/b/kernel", (3, 2), 6, 0, 1, 6, 0),
    ]
    row = report.rows[0]
    assert (row.layer, row.variable, row.zeros, row.sparsity, row.dense_bytes) == ("m/a", "kernel", 9, 0.75, 48)
    assert sum(row.histogram[0]) == 3
    assert report.total[:7] == ("total", (), 18, 3, None, 18, 3)
    assert ka.report(model(), layers="a").total[:4] == ("total", (), 12, 3)


def test_the_table_is_aligned():
    lines = str(ka.report(model())).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["m/b/kernel", "3x2", "6", "0", "1.0000", "-", "1", "6", "0", "24"]
    assert lines[3].split() == ["total", "18", "3", "0.8333", "6.0x", "-", "18", "3", "72"]


def test_an_unbuilt_model_gets_a_sentence():
    with pytest.raises(ValueError, match="must be built before"):
        ka.report(keras.Sequential([keras.layers.Dense(2)]))


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (lambda: layers.Dense(3, **ONES), (5, 4), [5 * 4 * 3]),
        (lambda: layers.EinsumDense("...c,cd->...d", 6, **ONES), (4, 5), [4 * 5 * 6]),
        (lambda: layers.EinsumDense("abc,cd->ad", 6, **ONES), (4, 5), [4 * 5 * 6]),
        (lambda: layers.Conv1D(4, 3, strides=2, padding="same", **ONES), (8, 3), [4 * 3 * 3 * 4]),
        (lambda: layers.Conv2D(4, 3, groups=2, **ONES), (6, 5, 2), [4 * 3 * 3 * 3 * 1 * 4]),
        (lambda: layers.Conv2DTranspose(4, 3, strides=2, **ONES), (4, 5, 2), [4 * 5 * 3 * 3 * 4 * 2]),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 3), [16 * 3 * 3 * 3 * 2]),
        (lambda: layers.SeparableConv1D(4, 3), (6, 3), [4 * 3 * 3, 4 * 3 * 4]),
        (lambda: layers.Embedding(12, 6), (5,), [0]),
        (lambda: layers.LSTM(5, **RECURRENT), (4, 3), [4 * 3 * 20, 4 * 5 * 20]),
        (lambda: layers.GRU(5, return_sequences=True, **RECURRENT), (4, 3), [4 * 3 * 15, 4 * 5 * 15]),
        (
            lambda: layers.ConvLSTM2D(2, 3, return_sequences=True, **RECURRENT),
            (2, 5, 5, 1),
            [2 * 9 * 9 * 1 * 8, 2 * 9 * 9 * 2 * 8],
        ),
        (lambda: layers.Bidirectional(layers.SimpleRNN(2, **RECURRENT)), (4, 3), [4 * 3 * 2, 4 * 2 * 2] * 2),
        (lambda: layers.TimeDistributed(layers.Dense(4, **ONES)), (7, 3), [7 * 3 * 4]),
        (lambda: keras.Sequential([layers.Dense(2, **ONES)]), (3,), [6]),
        (lambda: CustomDense(4), (3,), [None]),
    ],
)
def test_macs(layer, shape, expected):
    assert macs(layer(), *shape) == expected


def test_a_shared_layer_is_used_at_each_call_and_attention_by_its_projections():
    a, b = keras.Input((4,), name="a"), keras.Input((3, 4), name="b")
    shared = layers.Dense(4, name="shared", **ONES)
    attended = layers.MultiHeadAttention(2, 5, **ONES)(b, shared(b))
    report = ka.report(keras.Model({"a": a, "b": b}, [shared(a), attended]))
    assert report.rows[0].macs == (3 + 1) * 16
    assert [row.macs for row in report.rows[1:]] == [3 * 4 * 10] * 4
    assert report.macs_complete


def test_masked_layers_count_as_the_layers_in_them():
    assert ka.report(ka.mask(model())).total[:7] == ("total", (), 18, 3, None, 18, 3)


@keras.saving.register_keras_serializable("test_report")
class Doubled(layers.Dense):
    """A subclass whose call is its own: nobody knows what it does with its kernel."""

    def call(self, x):
        return super().call(super().call(x))


@keras.saving.register_keras_serializable("test_report")
class Looped(layers.Layer):
    """A layer called in a loop, which graphs trace once."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3, **ONES)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return ops.fori_loop(0, 5, lambda i, value: self.dense(value), x)


@pytest.mark.parametrize("layer", [lambda: Doubled(3, **ONES), Looped])
def test_what_cannot_be_known_is_not_guessed(layer):
    report = ka.report(keras.Sequential([keras.Input((3,)), layer(), layers.Dense(2, name="head", **ONES)], name="m"))
    loops_are_real = keras.backend.backend() == "torch" and report.rows[0].layer.endswith("dense")
    assert report.rows[0].macs == (45 if loops_are_real else None)
    assert report.rows[1].macs == 6
    if not loops_are_real:
        assert report.total.macs == 6 and not report.macs_complete
        lines = str(report).splitlines()
        assert ">=6" in lines[3]
        assert lines[4].endswith(f"such as {report.rows[0].name}. The total of MACs is a lower bound.")


def test_subclassed_models_count_once_called_and_open_shapes_do_not():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2, **ONES)

        def call(self, x):
            return self.dense(x)

    own = Own()
    own(np.ones((8, 5, 3), "float32"))
    calls = vars(own.dense).get("call")
    assert ka.report(own).rows[0].macs == 5 * 3 * 2
    assert vars(own.dense).get("call") is calls
    opened = ka.report(keras.Sequential([keras.Input((None, 3)), layers.Dense(2, **ONES)]))
    assert opened.rows[0].macs is None and opened.total.macs is None
    assert str(opened).splitlines()[-1] == "MACs cannot be known: the shape of the model's inputs is open."


def test_a_report_changes_nothing():
    counting = keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(2)])
    before = [weights.read(v) for v in counting.variables if "seed" not in v.path]
    ka.report(counting)
    after = [weights.read(v) for v in counting.variables if "seed" not in v.path]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert "call" not in vars(counting.layers[-1])


def test_dict_and_markdown():
    told = json.loads(json.dumps(ka.report(model()).to_dict()))
    assert told["rows"][0] == {
        "layer": "m/a",
        "variable": "kernel",
        "shape": [4, 3],
        "weights": 12,
        "kept": 3,
        "zeros": 9,
        "sparsity": 0.75,
        "distinct": 2,
        "macs": 12,
        "macs_left": 3,
        "dense_bytes": 48,
    }
    assert told["total"]["zeros"] == 15 and told["macs_complete"]
    lines = ka.report(model()).to_markdown().splitlines()
    assert lines[1].count("---:") == 9
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == ["m/a/kernel", "4x3", "12"]
    assert {line.count("|") for line in lines} == {11}
