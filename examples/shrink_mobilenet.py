"""What a processor feels of channels that leave: `python examples/shrink_mobilenet.py`.

No data and no download; a quarter of an hour. Four networks of `keras.applications`, of random weights, for only their
speed is asked: half of every group of channels that live and die together is zero, and `shrink` lets them leave. Dense
and small are then timed in pairs, run by run, one image and one thread: as .tflite files in float32 and in int8, and as
Keras models on TensorFlow and, in a process of its own, on JAX, both compiled.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax" if "--on-jax" in sys.argv else "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import keras
import numpy as np
from half import halve
from show import machine, table

import keras_admm as ka
from keras_admm.timing import Latency

PACKAGES = ("keras", "tensorflow", "jax", "ai-edge-litert", "numpy")
MODELS = ("MobileNetV2", "ResNet50", "EfficientNetB0", "ConvNeXtTiny")


def network(name, size):
    made = getattr(keras.applications, name)
    return made(weights=None, input_shape=(size, size, 3), classifier_activation=None)


def images(size, count, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype("float32")


def timings(folder, dense, small, args):
    """Pairs of how dense and small are run, and a `Latency`."""
    x = images(args.size, 1)
    for name, options in (("LiteRT float", {}), ("LiteRT int8", int8(args.size))):
        files = [folder / f"{each}.tflite" for each in ("dense", "small")]
        for model, path in zip((dense, small), files, strict=True):
            ka.export.litert(model, path, sparse=False, check_data=x, **options)
        yield name, ka.latency(*files, x, runs=args.runs)
    yield "Keras, TensorFlow", ka.latency(dense, small, x, runs=args.runs)
    yield "Keras, JAX", on_jax(folder, dense, small, args)


def int8(size):
    # Of random weights no accuracy is asked.
    return {"quantize": "int8", "representative_data": images(size, 8, seed=1), "tolerance": 100.0}


def on_jax(folder, dense, small, args):
    """The same pairs in a process of its own."""
    files = [str(folder / f"{each}.keras") for each in ("dense", "small")]
    for model, path in zip((dense, small), files, strict=True):
        model.save(path)
    command = [sys.executable, __file__, "--on-jax", *files, "--size", str(args.size), "--runs", str(args.runs)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ratio, low, high, a, b = map(float, out.split()[-5:])
    return Latency(ratio, (low, high), (a, b), args.runs, 1, "")


def child(args):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    models = [keras.models.load_model(path, compile=False) for path in args.on_jax]
    timed = ka.latency(*models, images(args.size, 1), runs=args.runs)
    print(timed.ratio, *timed.quartiles, *timed.medians)


def rows(name, args):
    dense = network(name, args.size)
    found = ka.graph.groups.of(dense)
    halve(found)
    small = ka.shrink(dense, round_to=args.round_to)
    macs, left = found.macs(), ka.graph.groups.of(small).macs()
    weights = dense.count_params(), small.count_params()
    sizes = f"{weights[0] / 1e6:.2f}", f"{weights[1] / 1e6:.2f}", f"{macs / 1e6:,.0f}", f"{left / 1e6:,.0f}"
    with tempfile.TemporaryDirectory() as folder:
        for run, timed in timings(Path(folder), dense, small, args):
            times = [f"{1000 * median:.1f}" for median in timed.medians]
            yield f"{name}, {run}", *sizes, *times, f"{timed.ratio:.2f}", "{:.2f}..{:.2f}".format(*timed.quartiles)


def main(args):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    print(
        f"{machine(*PACKAGES)}\n{args.size} x {args.size} pixels, {args.runs} pairs of runs, widths a multiple of "
        f"{args.round_to}\n",
        flush=True,
    )
    head = "network", "M weights", "left", "M MACs", "left", "dense ms", "small ms", "faster", "quartiles"
    print(table(head, [row for name in args.models for row in rows(name, args)]))
    print("\nfaster: time of the dense one by the small one's, median of pairs of runs in turn, one image, one thread.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="of keras.applications")
    parser.add_argument("--size", type=int, default=224, help="pixels of an image's side")
    parser.add_argument("--runs", type=int, default=100, help="pairs of runs")
    parser.add_argument("--round-to", type=int, default=1, help="what widths are a multiple of")
    parser.add_argument("--on-jax", nargs=2, metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    child(given) if given.on_jax else main(given)
