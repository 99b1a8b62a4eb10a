"""Counts by hand, the table that they print, and the same as numbers and in Markdown."""

import json
import math
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import CustomDense

import keras_admm as ka
from keras_admm import weights
from keras_admm.reporting import Report, ReportRow

pytestmark = pytest.mark.every_backend

RNG = np.random.default_rng(0)
ONES = {"kernel_initializer": "ones"}
BYTES = ("data_bytes", "index_bytes", "side_bytes", "with_indices_bytes", "packed_bytes", "bits_per_weight")
BYTES += ("data_ratio", "with_indices_ratio", "packed_ratio")
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
    assert report.total[:7] == ("total", (), 18, 3, 2, 18, 3)
    assert ka.report(model(), layers="a").total[:4] == ("total", (), 12, 3)


def test_zeros_that_a_product_with_a_mask_has_left_negative_are_told():
    m = keras.Sequential([keras.Input((40,)), layers.Dense(50)])
    w = RNG.normal(size=(40, 50))
    weights.write(m.layers[0].kernel, w * (abs(w) > 1.6))
    report, again = ka.report(m), ka.report(ka.strip(ka.mask(m)))
    assert f"{np.count_nonzero((w < 0) & (w >= -1.6)):,} of the zeros are -0.0" in report.note and again.note == ""
    assert report.total.kept == again.total.kept
    assert report.total.packed_bytes > 1.5 * again.total.packed_bytes


def test_the_table_is_aligned():
    lines = ka.report(model()).to_text(details=True).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[2].split()[:9] == ["m/b/kernel", "3x2", "6", "0", "1.0000", "1", "-", "6", "0"]
    assert lines[3].split()[:8] == ["total", "18", "3", "0.8333", "2", "6.7", "18", "3"]
    assert [line.split(":")[0] for line in lines[4:]] == ["packed file", "all its numbers in float32"]


def test_the_table_of_a_large_model_is_readable():
    wide = keras.Sequential(
        [keras.Input((1000,)), layers.Dense(5000, kernel_initializer="zeros", name="fc1")], name="lenet5"
    )
    weights.write(wide.layers[0].kernel, np.where(RNG.random((1000, 5000)) < 0.1, 0.25, 0))
    assert max(map(len, ka.report(wide).to_text(details=True).splitlines())) <= 160


def test_what_is_printed_has_eight_columns_and_at_most_100_characters_a_line():
    long = "transformer_block_" * 5
    shape, counts = (3, 3, 4096, 4096), (150_994_944, 150_994_944, 9, 10**12, 10**12)
    row = ReportRow(f"model/{long}/attention/kernel", shape, *counts, ((), ()), 2.5e8, 2.5e8, 2.5e8)
    report = Report((row, row._replace(name="b/kernel")), "This is left out. " * 20)
    lines = report.to_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == "variable shape weights kept sparsity MACs left packed bytes ratio".split()
    after = next(i for i, line in enumerate(lines) if line.startswith("b/kernel"))
    assert "".join(line.strip().split("  ")[0] for line in lines[1:after]) == row.name  # nothing of a name is lost
    assert " ".join(report.to_text().split()).endswith(" ".join(report.notes.split()))
    assert report.to_text(details=True).splitlines()[1].startswith(f"{row.name}  3x3x4096x4096")
    assert str(report) == report.to_text()


def test_a_short_repr():
    assert repr(ka.report(model())).startswith("<Report of m: 3 of 18 weights kept in 2 variables, packed file ")
    assert repr(Report((), model="none")) == "<Report of none: 0 of 0 weights kept in 0 variables>"


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
    assert ka.report(ka.mask(model())).total[:7] == ("total", (), 18, 3, 2, 18, 3)


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
        lines = report.to_text(details=True).splitlines()
        assert ">=6" in lines[3]
        assert lines[-1].endswith(f"such as {report.rows[0].name}. The total of MACs is a lower bound.")


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
    assert (
        str(opened).splitlines()[-1]
        == "MACs cannot be known: the shape of the model's inputs is open. Pass `input_shape`."
    )


def test_a_report_changes_nothing():
    counting = keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(2)])
    before = [weights.read(v) for v in counting.variables if "seed" not in v.path]
    ka.report(counting)
    after = [weights.read(v) for v in counting.variables if "seed" not in v.path]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert "call" not in vars(counting.layers[-1])


def test_dict_and_markdown():
    row = ka.report(model()).rows[0]
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
        **{name: getattr(row, name) for name in BYTES},
    }
    assert told["total"]["zeros"] == 15 and told["macs_complete"]
    assert told["file"]["bytes"] == len(ka.packed.pack(model())[0])
    assert ka.report(model()).to_markdown().splitlines()[1].count("---:") == 7
    lines = ka.report(model()).to_markdown(details=True).splitlines()
    assert lines[1].count("---:") == 15
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == ["m/a/kernel", "4x3", "12"]
    assert {line.count("|") for line in lines[:5]} == {17}
    assert [line.split(":")[0] for line in lines[5:]] == ["", "packed file", "", "all its numbers in float32"]


def quantized():
    """A model of few levels and many zeros: a kernel of 2,000 weights has 400 of 4 levels, one of 800 has 80 of 2."""
    m = keras.Sequential(
        [keras.Input((40,)), layers.Dense(50, name="a"), layers.BatchNormalization(), layers.Dense(16, name="b")],
        name="m",
    )
    levels = np.zeros(2000), np.zeros(800)
    levels[0][RNG.choice(2000, 400, replace=False)] = np.repeat([-0.5, -0.25, 0.25, 0.5], 100)
    levels[1][RNG.choice(800, 80, replace=False)] = np.repeat([-1, 1], 40)
    weights.write(m.get_layer("a").kernel, levels[0].reshape(40, 50))
    weights.write(m.get_layer("b").kernel, levels[1].reshape(50, 16))
    return m


def test_the_bytes_are_those_of_the_packed_file():
    m = quantized()
    report, (data, sizes) = ka.report(m), ka.packed.pack(m)
    file, total = report.file, report.total
    assert file.bytes == len(data)
    assert file.rows + file.rest + file.architecture + file.head == pytest.approx(file.bytes)
    kernels = [row for row in sizes.rows if row.name.endswith("kernel")]
    assert [tuple(row)[8:] for row in report.rows] == [(row.data, row.index, row.side) for row in kernels]
    assert file.rows == pytest.approx(sum(row.packed_bytes for row in report.rows)) == total.packed_bytes
    assert file.rest == pytest.approx(sum(sum(row[3:]) for row in sizes.rows if row not in kernels))
    assert file.weights_bytes == file.bytes - sizes.architecture
    # Two kernels, two biases, and gamma, beta, mean and variance of 50 units.
    assert file.dense_bytes == 4 * (2000 + 800 + 50 + 16 + 4 * 50)
    assert file.ratio == file.dense_bytes / len(data)
    assert file.weights_ratio == file.dense_bytes / (len(data) - sizes.architecture)


def test_ratios_of_a_pruned_and_quantized_model():
    a, b = ka.report(quantized()).rows
    assert [(row.weights, row.kept, row.distinct) for row in (a, b)] == [(2000, 400, 5), (800, 80, 3)]
    # 400 numbers of 2 bits are 100 bytes; the positions of 400 in 2,000, of 0.722 bits each, are 180.5.
    assert a.data_bytes == pytest.approx(100, rel=0.05) and a.index_bytes == pytest.approx(180.5, rel=0.1)
    assert a.data_ratio == pytest.approx(8000 / 100, rel=0.05)
    assert a.with_indices_ratio == pytest.approx(8000 / 280.5, rel=0.1)
    assert a.with_indices_ratio > a.packed_ratio == 8000 / (a.data_bytes + a.index_bytes + a.side_bytes)
    # 80 numbers of 1 bit are 10 bytes; the positions of 80 in 800, of 0.469 bits each, are 46.9.
    assert b.data_bytes == pytest.approx(10, rel=0.15) and b.index_bytes == pytest.approx(46.9, rel=0.15)
    assert b.data_ratio == pytest.approx(3200 / b.data_bytes)


def test_bits_are_those_of_each_kept_weight():
    report = ka.report(quantized())
    for row in report.rows:
        levels = row.distinct - 1  # zero is one of the values, but no number of a kept weight
        assert 0.95 * math.log2(levels) <= row.bits_per_weight <= math.log2(levels) + 0.2
        assert row.bits_per_weight == 8 * row.data_bytes / row.kept
    assert report.total.bits_per_weight == 8 * sum(row.data_bytes for row in report.rows) / 480
    assert report.total.distinct == 7  # four levels, the two of b, and zero


def test_nothing_kept_has_no_ratio():
    zero = ka.report(model()).rows[1]
    assert (zero.data_bytes, zero.data_ratio, zero.bits_per_weight) == (0, None, None)
    assert zero.packed_ratio == 24 / zero.packed_bytes


def test_what_is_left_out_is_in_the_rest():
    m = quantized()
    alone, both = ka.report(m, layers="a"), ka.report(m)
    assert alone.rows == both.rows[:1]
    assert alone.file.rest == pytest.approx(both.file.rest + both.rows[1].packed_bytes)
    assert alone.file.bytes == both.file.bytes


def test_masks_are_in_the_file_but_not_among_its_numbers():
    plain, masked = ka.report(quantized()).file, ka.report(ka.mask(quantized())).file
    assert masked.dense_bytes == plain.dense_bytes and masked.rest > plain.rest


@keras.saving.register_keras_serializable("test_report")
class Tied(layers.Layer):
    """A layer with the kernel of another, which both of them save."""

    def __init__(self, other):
        super().__init__()
        self.other, self.kernel = other, other.kernel

    def call(self, x):
        return ops.matmul(x, self.kernel)

    def get_config(self):
        return {**super().get_config(), "other": self.other}


def test_a_kernel_that_two_layers_share_is_one_row_of_all_its_bytes():
    first = layers.Dense(6, name="first", use_bias=False)
    first.build((None, 6))
    m = keras.Sequential([keras.Input((6,)), first, Tied(first)], name="m")
    (row,), sizes = ka.report(m).rows, ka.packed.sizes(m)
    assert len(sizes.rows) == 2
    assert row.packed_bytes == pytest.approx(sum(sum(size[3:]) for size in sizes.rows))
    assert ka.report(m).file.dense_bytes == 4 * 36


class Given(keras.Model):
    """A model that was given a layer, and that says nothing of it when it is saved."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def test_a_model_that_cannot_be_packed_has_no_bytes_and_a_note_says_why():
    given = Given(layers.Dense(2))
    given(np.ones((1, 3), "float32"))
    report = ka.report(given)
    assert report.file is None and report.summary == []
    for row in (*report.rows, report.total):
        assert {getattr(row, name) for name in BYTES} == {None}
    assert report.to_text(details=True).splitlines()[1].split()[-6:] == ["-"] * 6
    start = "Packed bytes cannot be known: the model cannot be packed (ValueError: given: a Given must"
    assert report.notes.startswith(start) and report.notes.endswith(")."), report.notes
    assert report.notes in report.to_text(details=True) and report.notes in report.to_markdown()
    told = json.loads(json.dumps(report.to_dict()))
    assert told["file"] is None and told["total"]["packed_bytes"] is None and told["note"] == report.note


def test_bytes_of_some_rows_alone_are_no_sum():
    class Copied(layers.Dense):
        def save_own_variables(self, store):
            store["kernel"] = ops.convert_to_numpy(self.kernel)

    m = keras.Sequential([keras.Input((3,)), Copied(4, **ONES), layers.Dense(2, name="b")], name="m")
    report = ka.report(m)
    assert [row.packed_bytes is None for row in (*report.rows, report.total)] == [True, False, True]
    assert "The packed bytes of 1 of 2 variables cannot be told from others'" in report.notes
    assert report.file.rows == report.rows[1].packed_bytes
    parts = report.file.rows + report.file.rest + report.file.architecture + report.file.head
    assert parts == pytest.approx(report.file.bytes)


def test_a_lambda_is_packed_without_a_word():
    m = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x), layers.Dense(2)])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        report = ka.report(m)
    assert not [w for w in said if "lambda" in str(w.message)] and report.file.bytes == len(ka.packed.pack(m)[0])


@pytest.mark.parametrize("frozen", ["a layer", "the model", "quantized"])
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_what_cannot_be_trained_is_reported_all_the_same(frozen):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(4)])
    if frozen == "quantized":
        model.quantize("int8")
    else:
        (model.layers[0] if frozen == "a layer" else model).trainable = False
    assert [row.weights for row in ka.report(model).rows] == [128, 64]
    assert len(ka.report(model, layers="dense*").rows) == 2


def test_what_is_no_kernel_by_its_name_is_noted():
    class Positions(keras.layers.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=shape[1:], name="position_bias_table")

        def call(self, x):
            return x + self.table

    model = keras.Sequential([keras.Input((3, 8)), Positions(), keras.layers.Dense(4)])
    assert "position_bias_table" in ka.report(model).note


def test_state_is_no_weight():
    class Counts(keras.layers.Layer):
        def build(self, shape):
            self.seen = self.add_weight(shape=(4, 4), trainable=False, name="codebook")

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((3, 8)), layers.Normalization(axis=(1, 2)), Counts(), layers.Dense(4)])
    model.trainable = False
    assert [row.shape for row in ka.report(model).rows] == [(8, 4)]


def whole(shape):
    """Numbers that four bits hold, zeros among them, and no weight so small that they would lose it."""
    return np.resize([0, 7, -3, 0, 0, 2, -7], shape).astype("float32") / 7


INT4 = {
    "Dense": (lambda: layers.Dense(7), (5,), 1),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cde->abde", (2, 3, 5)), (2, 7), 2),
    "Embedding": (lambda: layers.Embedding(9, 5), (3,), 0),
    "ReversibleEmbedding": (lambda: layers.ReversibleEmbedding(9, 5, tie_weights=False), (3,), None),
}


@pytest.mark.parametrize("kind", INT4)
@pytest.mark.parametrize("block", [4, pytest.param(-1, marks=pytest.mark.nightly)])
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_weights_of_four_bits_are_counted_one_by_one(kind, block):
    make, shape, uses = INT4[kind]
    layer = make()
    m = keras.Sequential([keras.Input(shape, dtype="int32" if "Embedding" in kind else "float32"), layer])
    for variable in layer.variables:
        weights.write(variable, whole(variable.shape))
    before = ka.report(m)
    assert {row.macs for row in before.rows} == {uses if uses is None else uses * before.rows[0].weights}
    m.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=block, activation_quantizer=None))
    rows = ka.report(m).rows
    assert [row[1:4] for row in rows] == [row[1:4] for row in before.rows]
    assert [row.macs_left for row in rows] == [row.macs_left for row in before.rows]


@pytest.mark.parametrize("kind", ["Conv2D", *(pytest.param(k, marks=pytest.mark.nightly) for k in [*INT4][:3])])
def test_a_layer_with_lora_is_reported_in_full(kind):
    make = {**INT4, "Conv2D": (lambda: layers.Conv2D(3, 2), (4, 4, 2), 9)}
    layer, shape, uses = make[kind][0](), *make[kind][1:]
    m = keras.Sequential([keras.Input(shape, dtype="int32" if kind == "Embedding" else "float32"), layer])
    before = ka.report(m)
    layer.enable_lora(2)
    after = ka.report(m)
    assert [row[:7] for row in after.rows] == [row[:7] for row in before.rows] and after.rows[0].packed_bytes > 0
    assert after.rows[0].macs == uses * after.rows[0].weights
    assert f"LoRA's factors are added to the kernels of {layer.name}." in after.notes


@pytest.mark.parametrize("line", [[layers.ReLU], [layers.LayerNormalization]])
def test_a_model_without_kernels_is_an_empty_table(line):
    report = ka.report(keras.Sequential([keras.Input((3,)), *[make() for make in line]]))
    assert report.rows == () and report.total.weights == report.total.sparsity == 0
    assert "There is no kernel to count." in str(report) and report.file.bytes > 0
    assert json.loads(json.dumps(report.to_dict()))["rows"] == [] and report.to_markdown()


def test_macs_of_a_model_that_is_bound_to_a_batch():
    m = keras.Sequential([keras.Input(batch_shape=(4, 5, 3)), layers.LSTM(2, stateful=True, unroll=True)])
    assert [row.macs for row in ka.report(m).rows] == [5 * 3 * 8, 5 * 2 * 8]


def test_macs_of_an_embedding_that_is_turned_round():
    embedding, ids = layers.ReversibleEmbedding(9, 5), keras.Input((3,), dtype="int32")
    report = ka.report(keras.Model(ids, embedding(embedding(ids), reverse=True)))
    assert report.total.macs == 3 * 45 and report.macs_complete
