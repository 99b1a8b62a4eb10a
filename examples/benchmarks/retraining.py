"""The ways of retraining on few values, compared on LeNet-5: `examples/benchmarks/retraining.py --data mnist.npz`.

Every row starts from the same pruned weights, with the same images in the same order. `"snap"` puts weights in their
places in shares, `"straight_through"` trains weights behind the rounded ones, `"shared_values"` those of what
is tied together. What is best is chosen by the validation accuracy.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import keras
import mnist_lenet5
import mnist_lenet5_storage
from show import machine, table

import keras_admm as ka
from keras_admm.retraining import NAMED

PACKAGES = ("keras", "tensorflow", "numpy")
SETS = {
    "1 bit": lambda **how: ka.ADMMQuantize(1, **how),
    "2 bits": lambda **how: ka.ADMMQuantize(2, **how),
    "3 bits": lambda **how: ka.ADMMQuantize(3, **how),
    "4 clusters": lambda **how: ka.ADMMCluster(4, **how),
}


def main():
    args = mnist_lenet5_storage.options()
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    train = tuple(part[: args.limit] for part in train)
    pruned = mnist_lenet5_storage.pruned_model(args, mnist_lenet5.lenet5, train, validation)
    rows = [("pruned", "", *accuracies(pruned, validation, test), "")]
    for name, make in SETS.items():
        for retraining in NAMED:
            keras.utils.set_random_seed(args.seed)
            began = time.time()
            how = mnist_lenet5_storage.phases(args, retraining)
            model = mnist_lenet5_storage.fitted(args, mnist_lenet5.lenet5, pruned, make(**how), train, validation)
            rows.append((name, retraining, *accuracies(model, validation, test), f"{(time.time() - began) / 60:.1f}"))
            print(*rows[-1], flush=True)
    lengths = f"{args.few_admm_epochs} epochs of ADMM and {args.few_retrain_epochs} of retraining"
    print(f"\n{machine(*PACKAGES)}\nseed {args.seed}, {len(train[0]):,} images, {args.rate[0]:g}x pruned, {lengths}\n")
    print(table(("set", "retraining", "validation", "test", "minutes"), rows))


def accuracies(model, *pairs):
    return [f"{mnist_lenet5.accuracy(model, pair):.2f}%" for pair in pairs]


if __name__ == "__main__":
    main()
