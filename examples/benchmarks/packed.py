"""How small and how fast the packed file is: `python examples/benchmarks/packed.py`.

A model of a ResNet-50's size (25.6 million weights), its weights drawn: a share of them zeros at random places, the
others on equally likely levels. Nothing is smaller on average than the entropy of the draw, H(p) + p H(levels) bits a
weight. Beside it stand what others would make of the same weights: gzip and zstd of the dense `.keras` file, and
Deep Compression's way (arXiv:1510.00149), gaps of 5 bits with filler zeros and Huffman's code for gaps and values.
The times are of the whole `save` and `load` and the best of a few; rates are of dense weights. Where others use the
processor too, as where the printed results were made, its own time says more than the wall's clock.
"""

import argparse
import gzip
import heapq
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import zstandard
from show import machine

from keras_admm import packed

PACKAGES = ("keras", "numpy", "constriction", "zstandard")
WIDTHS = (2048, 4096, 3072, 1500, 100)  # 25.7 million weights between them


def network(args):
    """Dense layers without biases, so that all weights are of the draw."""
    rng = np.random.default_rng(args.seed)
    layers = [keras.layers.Dense(n, use_bias=False, kernel_initializer="zeros") for n in WIDTHS[1:]]
    model = keras.Sequential([keras.Input(WIDTHS[:1]), *layers])
    half = 1 << (args.bits - 1)
    levels = np.array([k for k in range(-half, half + 1) if k], "float32") * np.float32(0.0173)
    for variable in model.weights:
        kept = rng.random(variable.shape, dtype="float32") < 1 - args.sparsity
        variable.assign(np.where(kept, levels[rng.integers(len(levels), size=variable.shape)], np.float32(0)))
    return model


def entropy(model):
    """Bytes: for each tensor the entropy of its zeros, and of the values among the others."""
    bits = 0
    for values in (np.asarray(keras.ops.convert_to_numpy(v)).reshape(-1) for v in model.weights):
        kept = values[values != 0]
        bits += values.size * _bits([len(kept), values.size - len(kept)])
        bits += len(kept) * _bits(np.unique(kept, return_counts=True)[1])
    return bits / 8


def _bits(counts):
    shares = np.array(counts) / np.sum(counts)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def deep_compression(model, gap_bits=5):
    """Bytes of relative indices of so many bits with filler zeros, and values, each by Huffman's code."""
    fill, total = (1 << gap_bits) - 1, 0
    for values in (np.asarray(keras.ops.convert_to_numpy(v)).reshape(-1) for v in model.weights):
        found = np.flatnonzero(values)
        zeros = np.diff(found, prepend=-1) - 1
        fillers = int((zeros // (fill + 1)).sum())
        gaps = np.bincount(zeros % (fill + 1), minlength=fill + 1)
        gaps[fill] += fillers
        levels = np.append(np.unique(values[found], return_counts=True)[1], fillers)
        total += _huffman(gaps) + _huffman(levels)
    return total / 8


def _huffman(counts):
    """Bits of all symbols by Huffman's code."""
    counts = [int(c) for c in counts if c]
    heapq.heapify(counts)
    bits = 0
    while len(counts) > 1:
        both = heapq.heappop(counts) + heapq.heappop(counts)
        bits += both
        heapq.heappush(counts, both)
    return bits


def best(call, times):
    """What a call gave, and the least of its times in seconds: of the wall's clock, and of the processor's."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        given = call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return given, min(walls), min(cpus)


def main(args):
    print(f"{machine(*PACKAGES)}; {keras.backend.backend()} backend\nseed {args.seed}; {shlex.join(sys.argv)}\n")
    model = network(args)
    weights = model.count_params()
    dense, bound = 4 * weights, entropy(model)
    print(f"{weights:,} weights, {args.sparsity:.0%} zeros, {args.bits} bits: {dense:,} bytes dense")
    with tempfile.TemporaryDirectory() as folder:
        path, plain = Path(folder, "model.kadmm"), Path(folder, "model.keras")
        _, *saving = best(lambda: packed.save(model, path), args.times)
        loaded, *loading = best(lambda: packed.load(path), args.times)
        for a, b in zip(model.weights, loaded.weights, strict=True):
            if np.asarray(a).tobytes() != np.asarray(b).tobytes():
                raise SystemExit(f"{a.path} came back otherwise than it was saved")
        model.save(plain)
        print("MB of dense weights a second    wall   CPU")
        for name, times in (("save", saving), ("load", loading)):
            print(f"{name:28}" + "".join(f"{dense / 1e6 / seconds:8.0f}" for seconds in times))
        print()
        sizes(args, path, plain, model, bound, dense)


def sizes(args, path, plain, model, bound, dense):
    keras_file = plain.read_bytes()
    found = packed.sizes(path)
    print(f"{'':34}{'bytes':>12}{'to entropy':>12}{'dense to it':>13}{'CPU s':>10}")

    def row(name, size, _=None, seconds=None):
        took = "" if seconds is None else f"{seconds:10.1f}"
        print(f"{name:34}{size:12,.0f}{size / bound:12.3f}{dense / size:13.1f}{took}", flush=True)

    row("entropy bound", bound)
    row("packed file", found.file)
    row("  its values alone", found.data)
    row("  its positions", found.index)
    row("Deep Compression, 5-bit gaps", deep_compression(model))
    row(".keras", len(keras_file))
    row(".keras, gzip -9", *best(lambda: len(gzip.compress(keras_file, 9)), 1))
    for level in args.levels:
        row(f".keras, zstd -{level}", *best(lambda n=level: len(zstandard.compress(keras_file, n)), 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--times", type=int, default=5, help="of save and load; the best counts")
    parser.add_argument("--levels", type=int, nargs="*", default=[3, 19], help="of zstd")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
