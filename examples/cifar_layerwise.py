"""Prune a ResNet-20 after training, without labels: `python examples/cifar_layerwise.py --data FOLDER/cifar10.npz`.

The network has the weights that others trained (see `cifar_given.py`; the file lies beside the data). It is pruned on
128 images without their labels, the same share in each layer: by magnitude, by SparseGPT, by ALPS, and by
`ka.prune_layerwise` as it is by default. Each is tried as it comes out, and with the means and variances of batch
normalization estimated anew on 512 images, of which those 128 are some.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from pathlib import Path

import cifar_given
import data
import keras
import numpy as np

import keras_admm as ka

CALIBRATION, STATISTICS = 128, 512
METHODS = {"magnitude": "magnitude", "SparseGPT": "sparsegpt", "ALPS": ka.layerwise.ADMM(correction=0.0)}
METHODS |= {"prune_layerwise": "admm"}


def accuracy(model, x, y):
    return 100 * float(np.mean(model.predict(x, batch_size=250, verbose=0).argmax(axis=-1) == y))


def estimate_anew(model, x):
    """Gives batch normalization the means and variances of these images in one batch."""
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentum = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(x, training=True)
    for layer, each in zip(normalizations, momentum, strict=True):
        layer.momentum = each


def row(name, cells):
    print(f"{name:32}{''.join(f'{cell:>10}' for cell in cells)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CIFAR-10; the network's weights lie beside it")
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5, 0.7, 0.8])
    parser.add_argument("--limit", type=int, default=5000, help="images of the test set")
    args = parser.parse_args()
    (x, _), _, (x_test, y_test) = data.cifar10(args.data)
    x, x_test = cifar_given.normalized(x[:STATISTICS]), cifar_given.normalized(x_test[: args.limit])
    y_test = y_test[: args.limit]
    model = cifar_given.given(20, Path(args.data).parent)
    dense = model.get_weights()
    print(
        f"accuracy of the dense network on {len(x_test)} images of the test set: {accuracy(model, x_test, y_test):.2f}"
    )
    row("", [f"{s:.0%}" for s in args.sparsities] + ["seconds"])
    for name, method in METHODS.items():
        found, anew, times = [], [], []
        for sparsity in args.sparsities:
            model.set_weights(dense)
            begin = time.perf_counter()
            ka.prune_layerwise(model, x[:CALIBRATION], sparsity, method=method, batch_size=32, verbose=0)
            times.append(time.perf_counter() - begin)
            found.append(accuracy(model, x_test, y_test))
            estimate_anew(model, x)
            anew.append(accuracy(model, x_test, y_test))
        row(name, [*(f"{each:.2f}" for each in found), f"{np.mean(times):.1f}"])
        row("  and statistics estimated anew", [f"{each:.2f}" for each in anew])


if __name__ == "__main__":
    main()
