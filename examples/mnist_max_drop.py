"""LeNet-5 on MNIST, pruned as far as a tenth of a point of accuracy allows, in one call and with no ratio chosen:
`python examples/mnist_max_drop.py --data mnist.npz`.

A dense model is trained; then one `fit` with `ADMMPrune(max_accuracy_drop=0.001)` finds how many weights can go, in
progressive steps that are judged on validation images from the training set. The test set is only printed.
"""

import argparse
import os
import shlex
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import keras
import mnist_lenet5
import show

import keras_admm as ka

PACKAGES = ("keras", "tensorflow", "numpy")


def options(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="path of mnist.npz; without it Keras downloads it")
    parser.add_argument("--drop", type=float, default=0.001, help="by how much validation accuracy may fall")
    parser.add_argument("--images", type=int, default=30_000, help="of the training set, beside those of validation")
    parser.add_argument("--validation", type=int, default=6000, help="images of the training set to judge by")
    parser.add_argument("--dense-epochs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=48, help="of the one fit that prunes")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(args):
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    train = tuple(part[: args.images] for part in train)
    settings = ["--dense-epochs", str(args.dense_epochs), "--seed", str(args.seed)]
    how = mnist_lenet5.options(settings)
    print(f"{shlex.join(['python', *sys.argv])}\n{show.machine(*PACKAGES)}\nseed {args.seed}\n")
    dense = mnist_lenet5.train_dense(how, mnist_lenet5.lenet5, train, validation)
    lines = [("dense", dense.count_params(), dense)]
    model = mnist_lenet5.compiled(mnist_lenet5.lenet5(how.l1), how.learning_rate)
    model.set_weights(dense.get_weights())
    began = time.time()
    # Retraining, by which a step is judged, is less noisy at a smaller rate.
    prune = ka.ADMMPrune(max_accuracy_drop=args.drop, learning_rate={"retrain": 3e-4}, verbose=1)
    batches = mnist_lenet5.batches(how, train)
    model.fit(batches, epochs=args.epochs, validation_data=validation, callbacks=[prune], verbose=2)
    minutes = (time.time() - began) / 60
    found = ka.report(model).total
    lines.append((f"{found.weights / found.kept:.0f}x", found.kept, model))
    rows = [
        (name, f"{size:,}", *(f"{mnist_lenet5.accuracy(each, pair):.2f}%" for pair in (validation, test)))
        for name, size, each in lines
    ]
    print(f"\n{show.table(('', 'weights', 'validation', 'test'), rows)}\n{minutes:.1f} minutes of pruning")


if __name__ == "__main__":
    main(options())
