"""What a processor feels of zeros: `python examples/fast_on_cpu.py`.

No data and no download; some minutes. Two networks of random weights are pruned by magnitude, for only their speed is
asked: a Dense network with its zeros in runs of four, which LiteRT has a sparse kernel for on every processor, and
MobileNetV2 with zeros in its 1x1 convolutions and its classifier; for 1x1 convolutions XNNPACK has a sparse kernel on
ARM, and none on an x86 processor with AVX. Each file is timed in pairs with the dense one, run by run, one image and
one thread; no ratio is printed that was not measured on this machine.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from show import machine, table

import keras_admm as ka
from keras_admm.export import for_xnnpack, litert
from keras_admm.timing import latency

PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "numpy")


def dense_network(width):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((width,)),
            layers.Dense(2 * width, activation="relu"),
            layers.Dense(2 * width, activation="relu"),
            layers.Dense(10),
        ]
    )


def mobilenet(size):
    return keras.applications.MobileNetV2((size, size, 3), weights=None, classifier_activation=None)


def prune(model, structure, sparsity):
    """Projects the kernels of Dense layers and of 1x1 convolutions, by magnitude."""
    project = ka.constraints.Sparse(sparsity, structure)
    for layer in model.layers:
        dense = isinstance(layer, keras.layers.Dense)
        if dense or isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1):
            layer.kernel.assign(project(keras.ops.convert_to_numpy(layer.kernel)))
    return model


def row(name, report, against, x, runs):
    """One line of the table: the file, and how it runs beside another."""
    zeros = sum(t.zeros for t in report.weights) / sum(t.size for t in report.weights)
    sizes = f"{report.bytes / 1e3:,.0f}", f"{report.gzip_bytes / 1e3:,.0f}", f"{report.relative:.0e}"
    sparse = f"{sum(k.here for k in report.kernels)}", f"{sum(k.arm for k in report.kernels)}"
    timed = latency(against, report.path, x, runs=runs)
    return name, f"{zeros:.3f}", *sizes, *sparse, f"{timed.ratio:.2f}", "{:.2f}..{:.2f}".format(*timed.quartiles)


def dense_rows(folder, width, runs):
    x = np.random.default_rng(0).normal(size=(200, width)).astype("float32")
    base = litert(dense_network(width), folder / "dense.tflite", sparse=False)
    yield row("Dense", base, base.path, x[:1], runs)
    for sparsity in (0.75, 0.9, 0.95):
        model = prune(dense_network(width), "block(1,4)", sparsity)
        report = litert(model, folder / f"dense_{sparsity}.tflite")
        yield row(f"Dense, 1x4 zeros {sparsity:.0%}", report, base.path, x[:1], runs)
    report = litert(model, folder / "dense_int8.tflite", quantize="int8", representative_data=x)
    yield row(f"Dense, 1x4 zeros {sparsity:.0%}, int8", report, base.path, x[:1], runs)


def mobilenet_rows(folder, size, runs):
    x = np.random.default_rng(0).normal(size=(4, size, size, 3)).astype("float32")
    base = litert(mobilenet(size), folder / "mobile.tflite", sparse=False, check_data=x)
    yield row("MobileNetV2", base, base.path, x[:1], runs)
    for sparsity in (0.8, 0.95):
        model = for_xnnpack(prune(mobilenet(size), "element", sparsity))
        report = litert(model, folder / f"mobile_{sparsity}.tflite", check_data=x)
        yield row(f"MobileNetV2, zeros {sparsity:.0%}, for_xnnpack", report, base.path, x[:1], runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024, help="inputs of the Dense network")
    parser.add_argument("--size", type=int, default=224, help="pixels of MobileNetV2's images")
    parser.add_argument("--runs", type=int, default=500, help="pairs of runs")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    print(f"{machine(*PACKAGES)}\n")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = [*dense_rows(folder, args.width, args.runs), *mobilenet_rows(folder, args.size, args.runs)]
        print(table(("network", "zeros", "kB", "gzip kB", "error", "here", "ARM", "faster", "quartiles"), rows))
    print(
        "\nfaster: time of the dense file by this one's, median of pairs of runs in turn, one thread. error: largest\n"
        "difference from Keras's outputs, relative. here, ARM: layers that a sparse kernel runs on this processor,\n"
        "and on an ARM one by XNNPACK's conditions; ARM was not measured."
    )


if __name__ == "__main__":
    main()
