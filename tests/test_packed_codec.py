"""The packed file without Keras: every bit comes back, in few bytes, and no bytes at all do harm."""

import random
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_admm.packed import codec
from keras_admm.packed.codec import architecture, bulk, coder, file, table, text
from keras_admm.packed.codec.probability import EDGE, ONE, logistic

PACKED = Path(codec.__file__).parents[1]
RNG = np.random.default_rng(0)


def sparse(shape, share, levels, dtype="float32"):
    values = RNG.choice(np.array(levels, dtype), shape)
    return np.where(RNG.random(shape) < share, values, np.zeros((), dtype))


def packed(tensors, dtypes=None, description=None):
    """The file, its specs and its sizes."""
    dtypes = dtypes or [t.dtype.name for t in tensors]
    specs = [codec.Spec(t.shape, dtype) for t, dtype in zip(tensors, dtypes, strict=True)]
    words = [t.view(codec.KINDS[dtype].word) for t, dtype in zip(tensors, dtypes, strict=True)]
    data, sizes = codec.write(description, specs, words)
    return data, specs, sizes


def unpacked(data, specs, **kwargs):
    contents = codec.open_bytes(data, **kwargs)
    return contents.architecture, *codec.read(contents, specs)


def comes_back(tensors, dtypes=None):
    data, specs, sizes = packed(tensors, dtypes)
    _, back, again = unpacked(data, specs)
    assert [b.tobytes() for b in back] == [t.tobytes() for t in tensors]
    assert again == sizes  # the reader counts as the writer did
    return data, sizes


@pytest.fixture(params=["stream", "sections"])
def way(request, monkeypatch):
    """Both ways of every tensor: the adaptive stream, and a section of its own."""
    if request.param == "sections":
        monkeypatch.setattr(file, "PATIENCE", -1)
    return request.param


ODD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1.5]


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((), "float32"),
        np.float32(2.5).reshape(()),
        np.zeros((4, 5), "float32"),
        np.ones((7,), "float32"),
        np.zeros((0, 3), "float32"),
        np.zeros((3, 0), "float32"),
        RNG.normal(size=(6, 5)).astype("float32"),
        np.array(ODD, "float32"),
        np.array(ODD * 9, "float32"),
        np.array([0x7FC00001, 0xFFC12345, 0x7F800001], "uint32").view("float32"),
        sparse((5, 5, 3, 8), 0.1, [-3, -1, 1, 2]) * np.float32(0.013),
        sparse((40, 30), 0.05, [-0.3, 0.1, 0.7]),
        sparse((300, 70), 0.002, [1, 2]),
        np.eye(9, dtype="float32"),
        RNG.normal(size=(4, 6)).astype("float16"),
        sparse((9, 9), 0.3, [-2, 2], "float16"),
        RNG.normal(size=(4, 6)),
        sparse((9, 9), 0.3, [-0.2, 0.4], "float64"),
        RNG.random((5, 7)) < 0.3,
        *(RNG.integers(0, 100, (5, 6)).astype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)),
        np.array([-(2**63), 2**63 - 1, -1, 0]),
    ],
    ids=lambda t: f"{t.dtype}-{t.shape}",
)
def test_every_bit_comes_back(tensor, way):
    comes_back([tensor, tensor])


@pytest.mark.parametrize("dtype, word", [("bfloat16", "u2"), ("float8_e4m3fn", "u1"), ("float8_e5m2", "u1")])
def test_dtypes_that_numpy_does_not_have(dtype, word, way):
    every = np.arange(1 << 8 * np.dtype(word).itemsize).astype(word)
    comes_back([every[::7], np.zeros((3, 3), word)], [dtype, dtype])


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, max_side=6)), max_size=4))
def test_any_tensors_come_back(tensors):
    comes_back(tensors)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_any_description_comes_back(description):
    data, specs, _ = packed([], description=description)
    assert unpacked(data, specs)[0] == description


def test_sizes_add_up_to_the_file():
    data, sizes = comes_back([sparse((30, 40), 0.1, [-1, 1]), sparse((40,), 0.5, [0.25, 0.5])])
    rest = len(data) - sum(size.all for size in sizes)
    # Magic, version, checksum, three lengths, the architecture, and the end of the stream.
    assert 12 < rest < 24


def entropy(*shares):
    shares = np.array(shares)
    return float(-(shares * np.log2(shares)).sum())


@pytest.mark.parametrize("share, most", [(0.5, 1.04), (0.1, 1.05), (0.01, 1.15)])
def test_a_small_tensor_is_near_its_entropy(share, most):
    _, sizes = comes_back([sparse((200, 150), share, [-3, -2, -1, 1, 2, 3])])
    bound = 30_000 * (entropy(share, 1 - share) + share * np.log2(6)) / 8
    assert bound * 0.95 < sizes[0].all < bound * most


def test_a_large_tensor_is_at_its_entropy():
    _, sizes = comes_back([sparse((1200, 1000), 0.1, range(1, 17))])
    assert sizes[0].all < 1_200_000 * (entropy(0.1, 0.9) + 0.1 * 4) / 8 * 1.01


def test_dead_rows_and_columns_cost_almost_nothing():
    whole = sparse((20, 15), 0.3, [-1, 1])
    padded = np.zeros((400, 300), "float32")
    padded[100:120, 50:65] = whole
    small, large = (comes_back([t])[1][0].all for t in (whole, padded))
    assert large < small + 16  # of 700 rows and columns


def test_a_dead_neuron_is_told_once():
    first = np.where(RNG.random(200) < 0.5, sparse((30, 200), 0.5, [1]), 0).astype("float32")
    second = np.where(first.any(0)[:, None], sparse((200, 30), 0.5, [1]), 0).astype("float32")
    alone, together = comes_back([second])[1][0].index, comes_back([first, second])[1][1].index
    assert together < alone - 15


@pytest.mark.parametrize(
    "tensor, most",
    [
        (np.zeros(100_000, "float32"), 1),
        (np.full(1000, 0.1, "float32"), 16),
        (np.float32(0.0371) * sparse((100,), 1, range(1, 8)), 55),  # 2.8 bits each
        (RNG.integers(1, 9, 500).astype("float32") / 256, 200),
    ],
)
def test_few_bytes(tensor, most):
    assert comes_back([tensor])[1][0].all < most


def test_a_grid_of_any_step_is_found():
    for step in RNG.random(20).astype("float32") / 7:
        multiples = np.array([-7, -5, -2, -1, 1, 3, 4, 6, 7] * 3, "float32") * step
        assert comes_back([multiples])[1][0].side < 8


# What a file may not be -----------------------------------------------------------------------------------------


def file_of(body):
    return b"kad\1" + zlib.crc32(body).to_bytes(4, "little") + body


def refused(call, words="packed file"):
    with pytest.raises(codec.PackedFileError, match=words) as caught:
        call()
    assert isinstance(caught.value, ValueError)


def test_what_is_refused():
    data, specs, _ = packed([sparse((9, 9), 0.3, [1, 2])])
    for end in range(len(data)):
        refused(lambda end=end: unpacked(data[:end], specs))
    refused(lambda: unpacked(b"PK\3\4" + data[4:], specs), "another kind")
    refused(lambda: unpacked(data[:3] + b"\2" + data[4:], specs), "version 2")
    refused(lambda: unpacked(data[:-1] + bytes([data[-1] ^ 1]), specs), "checksum")
    refused(lambda: unpacked(data, specs * 2), "324 bytes of weights")
    refused(lambda: unpacked(data, specs, max_bytes=323), "max_bytes")


def test_a_bomb_of_text_is_not_inflated():
    data, _, _ = packed([], description="a" * 50_000_000)
    tracemalloc.start()
    refused(lambda: unpacked(data, [], max_bytes=1000), "max_bytes")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_promise_of_weights_costs_nothing():
    huge = file.number(1 << 40) + b"\0\0"
    tracemalloc.start()
    refused(lambda: unpacked(file_of(huge), []), "max_bytes")
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_stream_cannot_take_forever():
    # A reader of 16 million weights, all claimed to be in the stream.
    described = text.deflate(None)
    body = file.number(4 << 24) + file.number(len(described)) + described + b"\0"
    spec = codec.Spec((1 << 12, 1 << 12), "float32")
    stream = bytes(RNG.integers(0, 256, 4096, dtype=np.uint8))
    with pytest.raises(codec.PackedFileError):
        unpacked(file_of(body + b"\x7f" + stream), [spec])


def mutated(data, draw):
    """A file with a few bytes changed, put in, taken out, or its end cut off."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at, kind = draw.randrange(len(data)), draw.randrange(5)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        elif kind == 2:
            data[at:at] = draw.randbytes(draw.randrange(1, 5))
        elif kind == 3 and len(data) > 12:
            del data[at : at + draw.randrange(1, 5)]
        elif len(data) > 12 and draw.random() < 0.2:
            del data[max(at, 9) :]
    return bytes(data)


@pytest.mark.parametrize("files", [5_000, pytest.param(50_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("patience", [1 << 20, -1])
def test_mutated_files_give_tensors_or_one_error(patience, files, monkeypatch):
    monkeypatch.setattr(file, "PATIENCE", patience)
    tensors = [sparse((2, 3, 2), 0.5, [-2, 1, 3]), np.array([0.1, 0, 0.7], "float32"), sparse((2, 4), 0.5, [1, 9])]
    description = ["Sequential", "m", [["InputLayer", {"batch_shape": [None, 4]}], ["Dense", {"units": 5}], "ReLU"]]
    data, specs, _ = packed(tensors, description=description)
    draw, outcomes = random.Random(0), {"same": 0, "other": 0, "refused": 0}
    for number in range(files):
        wrong = mutated(data, draw)
        whole = number >= 0.44 * files  # with the checksum as it was, nothing but the same tensors may come
        wrong = wrong if whole or len(wrong) < 8 else b"kad\1" + zlib.crc32(wrong[8:]).to_bytes(4, "little") + wrong[8:]
        try:
            described, back, _ = unpacked(wrong, specs, max_bytes=1 << 16)
            architecture.long(described) if isinstance(described, list) and described else None
        except codec.PackedFileError:
            outcomes["refused"] += 1
            continue
        same = all((a.view("u4") == b).all() for a, b in zip(tensors, back, strict=True))
        outcomes["same" if same else "other"] += 1
        assert same or not whole
        assert [b.shape for b in back] == [t.shape for t in tensors]
    assert outcomes["refused"] > 0.6 * files
    assert outcomes["other"] > 0.02 * files  # the mended ones do reach the decoders


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_give_tensors_or_one_error(body):
    specs = [codec.Spec((2, 3), "float32"), codec.Spec((3,), "bool")]
    for data in (body, file_of(body), file_of(file.number(27) + body)):
        try:
            unpacked(data, specs)
        except codec.PackedFileError:
            pass


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.recursive(st.none() | st.integers() | st.sampled_from(["Sequential", "Dense", "@", "-"]), st.lists))
def test_any_description_gives_a_model_or_one_error(thing):
    try:
        architecture.long(thing)
    except codec.PackedFileError:
        pass


# What reading may cost ------------------------------------------------------------------------------------------


def forged(dense, sections=(), stream=b""):
    described = text.deflate([1])
    body = file.number(dense) + file.number(len(described)) + described + file.number(len(sections))
    return file_of(body + b"".join(file.number(len(s)) + s for s in sections) + stream)


def large(count=1):
    """A stream that says of each tensor that it is in a section."""
    encoder = coder.Encoder()
    for _ in range(count):
        encoder.bit(encoder.context("large"), 1)
    return encoder.bytes()


def varints(*numbers):
    return b"".join(map(file.number, numbers))


def in_stream(*tensors_of):
    """A stream of tensors that are said to be small, each given by what it writes after that."""
    encoder = coder.Encoder()
    for write in tensors_of:
        encoder.bit(encoder.context("large"), 0)
        write(encoder)
    return encoder.bytes()


CELLS = 1 << 24
LIVE = b"\1\1\1"  # positions, of all rows and columns
FORGERIES = {
    "more symbols than cells": [LIVE + varints(2 * CELLS, 1, 0) + b"\0"],
    "symbols without words": [LIVE + varints(CELLS, 1, 0) + b"\0"],
    "dense symbols without words": [LIVE + varints(CELLS, 65535, 0) + b"\0"],
    "values without words": [b"\0\1" + varints(2) + b"\1\2" + varints(CELLS // 2, CELLS // 2, 0)],
    "words that are not there": [LIVE + varints(CELLS, 1, 1 << 39) + b"\0"],
    "values that are not there": [b"\0\0"],
    "a long varint": [LIVE + b"\xff" * 12],
    "a book of nothing": [b"\0\1" + varints(0)],
    "counts that wrap": [b"\0\1" + varints(2) + b"\1\2" + varints((1 << 63) - 1, 1)],
    "no rows": [b"\1\0"],
}


@pytest.mark.parametrize("kind", FORGERIES)
@pytest.mark.parametrize("shape", [(1 << 12, 1 << 12), (CELLS, 1), (1, CELLS), (CELLS,)], ids=str)
def test_a_forged_section_costs_no_more_than_its_tensor(kind, shape, monkeypatch):
    """Symbols are counted, and bytes: at most three for each of a tensor of bytes, and a little."""
    decoded = []
    decode = table._decoded
    monkeypatch.setattr(table, "_decoded", lambda *args: (decoded.append(len(x)) or x for x in decode(*args)))
    data = forged(CELLS, FORGERIES[kind], large())
    tracemalloc.start()
    refused(lambda: unpacked(data, [codec.Spec(shape, "int8")], max_bytes=CELLS))
    assert tracemalloc.get_traced_memory()[1] < 3 * CELLS + (1 << 22)
    tracemalloc.stop()
    assert sum(decoded) <= 2 * CELLS


@pytest.mark.parametrize(
    "shape", [(1 << 10, 1 << 10), (1 << 20, 1), (1, 1 << 20), (1 << 20,), (3, 1 << 10, 340)], ids=str
)
def test_a_section_costs_no_more_than_its_tensor(shape):
    """What is true is read in as little memory, dead rows and columns too."""
    tensor = (RNG.random(shape) < 0.2).astype("int8") * RNG.integers(1, 9, shape, dtype="int8")
    tensor[..., : shape[-1] // 3] = 0
    tensor[: shape[0] // 4] = 0
    section, _ = bulk.encode(shape, "int8", tensor.view("u1"))
    data = forged(tensor.size, [section], large())
    tracemalloc.start()
    (back,) = unpacked(data, [codec.Spec(shape, "int8")])[1]
    assert tracemalloc.get_traced_memory()[1] < 4 * tensor.size + (1 << 23)
    tracemalloc.stop()
    assert (back.view("int8") == tensor).all()


def positions_of_many(encoder):
    encoder.bit(encoder.context("sparse", 1), 1)


def raw_numbers(encoder):
    encoder.bit(encoder.context("sparse", 1), 0)
    encoder.tree(("way", "int8"), 2, 0)


def one_number(encoder):
    encoder.bit(encoder.context("sparse", 1), 0)
    encoder.tree(("way", "int8"), 2, 1)
    encoder.count("entries", 1 << 12, 2)
    for head in (1, 2):
        encoder.tree(("head", codec.KINDS["int8"]), 8, head)


@pytest.mark.parametrize("write", [positions_of_many, raw_numbers, one_number], ids=lambda f: f.__name__)
def test_a_forged_stream_is_refused_before_room_is_made(write):
    data = forged(CELLS, [], in_stream(write))
    tracemalloc.start()
    refused(lambda: unpacked(data, [codec.Spec((CELLS,), "int8")], max_bytes=CELLS), "steps")
    assert tracemalloc.get_traced_memory()[1] < 4 * CELLS
    tracemalloc.stop()


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import codec
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
for line in sys.stdin:
    shape, data = line.split()
    try:
        spec = codec.Spec(tuple(map(int, shape.split(","))), "int8")
        codec.read(codec.open_bytes(bytes.fromhex(data), 1 << 24), [spec])
        print("read")
    except codec.PackedFileError:
        print("refused")
"""


@pytest.mark.nightly
def test_mutated_sections_in_a_process_of_little_memory():
    """No file makes the reader ask for more than there is: a process with 1.5 GiB of addresses reads them all."""
    draw, lines = random.Random(0), []
    shapes = [(1 << 12, 1 << 12), (CELLS, 1), (1, CELLS), (CELLS,)]
    sections = [section for (section,) in FORGERIES.values()]
    for _ in range(400):
        section = mutated(draw.choice(sections) + bytes(12), draw)
        data = forged(
            CELLS, [section], draw.choice([large(), in_stream(draw.choice([positions_of_many, raw_numbers]))])
        )
        lines.append(f"{','.join(map(str, draw.choice(shapes)))} {data.hex()}")
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(PACKED), str(3 << 29)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split().count("refused") > 300
    assert len(run.stdout.split()) == len(lines)


# What the format says -------------------------------------------------------------------------------------------


def range_decoder(words):
    """The decoder of format.md, without constriction: a function from a table's cumulated weights to a symbol."""
    words = [*map(int, words), 0, 0]
    low, width, point, at = 0, 2**64 - 1, words[0] << 32 | words[1], 2

    def decode(ends):
        nonlocal low, width, point, at
        scale = width >> 24
        quantile = (point - low) % 2**64 // scale
        symbol = next(i for i, end in enumerate(ends) if quantile < end)
        start = ends[symbol - 1] if symbol else 0
        low, width = (low + scale * start) % 2**64, scale * (ends[symbol] - start)
        if width < 2**32:
            following = words[at] if at < len(words) else 0
            low, width, point, at = low << 32 & 2**64 - 1, width << 32, (point << 32 & 2**64 - 1) | following, at + 1
        return symbol

    return decode


def test_tables_are_what_the_format_says():
    weights = table.of_gaps(6000)
    assert sum(weights) + len(weights) == 1 << 24
    symbols = RNG.geometric(6000 / 65536, 400) - 1
    decode = range_decoder(table.encode(symbols, weights))
    ends = np.cumsum(np.array(weights) + 1).tolist()
    assert [decode(ends) for _ in symbols] == symbols.tolist()


def test_bits_are_what_the_format_says():
    encoder, slot = coder.Encoder(), coder.BitModel()
    bits = (RNG.random(500) < 0.1).astype(int).tolist()
    for bit in bits:
        encoder.bit(slot, bit)
    encoder.plain(20, 0xABCDE)
    stream = encoder.bytes()
    decode = range_decoder(np.frombuffer(stream + bytes(8 - len(stream) % 4), ">u4"))
    p, seen = 1 << 21, 0
    for bit in bits:
        k = min(max(p >> 6, 1), 65535)
        assert decode([(65536 - k) << 8, 1 << 24]) == bit
        p += ((bit << 22) - p) * (65536 // (seen + 2)) >> 16
        seen = min(seen + 1, 255)
    low = decode([(i + 1) << 8 for i in range(65536)])
    assert low | decode([(i + 1) << 20 for i in range(16)]) << 16 == 0xABCDE


def test_every_probability_is_exact():
    # constriction holds k / 65536 in 24 bits as 256 k: at both ends and between.
    for k in (1, 2, 3, 255, 21845, 32768, 65534, 65535):
        encoder = coder.Encoder()
        for bit in (0, 1, 1, 0):
            encoder._step(k, bit)
        decode = range_decoder(np.frombuffer(encoder.bytes().ljust(12, b"\0"), ">u4"))
        assert [decode([(65536 - k) << 8, 1 << 24]) for _ in range(4)] == [0, 1, 1, 0]


def test_the_logistic_table_is_the_same_everywhere():
    found = logistic()
    assert len(found) == 2 * EDGE + 1
    assert found[EDGE] == ONE // 2
    assert zlib.crc32(np.array(found, "<i4").tobytes()) == 1740746473


def test_the_words_before_architectures_are_fixed():
    assert (len(text.WORDS), zlib.crc32(text.WORDS)) == (15977, 3682960318)


def test_the_shortest_end():
    for count in range(60):
        encoder = coder.Encoder()
        encoder.words(count, 3, np.arange(count, dtype=np.uint64) % 8)
        assert len(encoder.bytes()) <= -(-3 * count // 8) + 1
        assert coder.Decoder(encoder.bytes()).words(count, 3).tolist() == [i % 8 for i in range(count)]


def test_a_reader_runs_without_keras():
    data, specs, _ = packed([sparse((9, 9), 0.3, [1, 2])], description=["x"])
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import codec\n"
        "found = codec.open_bytes(bytes.fromhex(sys.argv[2]))\n"
        "print(found.architecture, codec.read(found, [codec.Spec((9, 9), 'float32')])[0][0].shape)\n"
        "print({m.split('.')[0] for m in sys.modules} & {'keras', 'keras_admm', 'tensorflow', 'jax', 'torch'})\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(PACKED), data.hex()], capture_output=True, text=True)
    assert run.stdout.splitlines() == ["['x'] (9, 9)", "set()"], run.stderr
