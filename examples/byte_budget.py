"""LeNet-5 and ResNet-20 pruned to files of given sizes, with no ratio chosen: `python examples/byte_budget.py --data
DATA`, the folder of `mnist.npz`, `cifar10_jpeg.npz` and `resnet20_cifar10_torch.npz`.

LeNet-5 is trained first, ResNet-20 is as others trained it (see `cifar_given.py`). From there one `fit` of
`ADMMPrune(budget={"bytes": n})` each; `keras_admm.save` writes the file, whose bytes are counted on the disk, and the
model that is loaded from it is what is tested. A part of the images and a few epochs show how well the bytes are met
rather than the best accuracy at so many. The test set is only printed.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cifar_given
import cifar_resnet20
import data
import keras
import mnist_lenet5
import show

import keras_admm as ka

PACKAGES = ("keras", "tensorflow", "numpy", "constriction")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of the images and of ResNet-20's weights")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--lenet-bytes", type=int, nargs="+", default=[40_000, 20_000, 10_000])
    parser.add_argument("--resnet-bytes", type=int, nargs="+", default=[200_000, 100_000, 50_000])
    parser.add_argument("--images", type=int, default=10_000, help="that are trained on")
    parser.add_argument("--validation", type=int, default=5000, help="images of the training set that are left out")
    parser.add_argument("--test", type=int, default=10_000, help="images that are tested by")
    parser.add_argument("--dense-epochs", type=int, default=4, help="of LeNet-5")
    parser.add_argument("--epochs", type=int, default=6, help="of each fit that prunes")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def lenet5(args):
    """A trained model, what compiles it, and its images to train on and to test by."""
    train, _, (x, y) = data.mnist(args.data / "mnist.npz", args.validation, args.seed)
    images = data.Shifted(train[0][: args.images], train[1][: args.images], 64, 1, args.seed)
    model = mnist_lenet5.compiled(mnist_lenet5.lenet5(), 1e-3)
    model.fit(images, epochs=args.dense_epochs, verbose=0)
    return model, lambda each: mnist_lenet5.compiled(each, 1e-3), images, (x[: args.test], y[: args.test])


def resnet20(args):
    train, _, (x, y) = data.cifar10(args.data / "cifar10_jpeg.npz", args.validation, args.seed)
    images = cifar_given.normalized(train[0][: args.images]), train[1][: args.images]
    images = cifar_resnet20.Augmented(*images, 128, args.seed)
    test = cifar_given.normalized(x[: args.test]), y[: args.test]
    return cifar_given.given(20, args.data), lambda each: cifar_resnet20.compiled(args, 0.01, each), images, test


NETWORKS = {"LeNet-5": lenet5, "ResNet-20": resnet20}


def saved(model, compiled, test):
    """The bytes of a model's packed file, and the accuracy of the model that is in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.kadmm")
        ka.save(model, path)
        return path.stat().st_size, mnist_lenet5.accuracy(compiled(ka.load(path)), test)


def rows(name, args):
    dense, compiled, images, test = NETWORKS[name](args)
    size, exact = saved(dense, compiled, test)
    yield f"{name}, dense", "", f"{size:,}", "", "", f"{exact:.2f}%", ""
    for budget in args.lenet_bytes if name == "LeNet-5" else args.resnet_bytes:
        keras.utils.set_random_seed(args.seed)
        model = compiled(keras.models.clone_model(dense))
        model.set_weights(dense.get_weights())
        began = time.time()
        model.fit(images, epochs=args.epochs, verbose=0, callbacks=[ka.ADMMPrune(budget={"bytes": budget}, verbose=0)])
        minutes = (time.time() - began) / 60
        size, exact = saved(model, compiled, test)
        kept = f"{ka.report(model).total.kept:,}"
        yield name, f"{budget:,}", f"{size:,}", f"{100 * size / budget:.2f}%", kept, f"{exact:.2f}%", f"{minutes:.1f}"


def main(args):
    keras.utils.set_random_seed(args.seed)
    print(f"{show.machine(*PACKAGES)}\nseed {args.seed}; {shlex.join(['python', *sys.argv])}\n", flush=True)
    head = ("", "budget", "bytes", "of it", "weights", "test", "minutes")
    print(show.table(head, [row for name in args.networks for row in rows(name, args)]))


if __name__ == "__main__":
    main(options())
