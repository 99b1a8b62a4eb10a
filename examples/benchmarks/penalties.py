"""The ways in which the pull can enter, compared on LeNet-5: `examples/benchmarks/penalties.py --data mnist.npz`.

Every row starts from the same dense weights, with the same images in the same order, and differs in the penalty alone:
how it enters, how strong it is, and whether kept weights are pulled as well. What is best is chosen by the validation
accuracy. `"gradient"` and `"loss"` are one path of weights computed in two ways, which part by rounding.
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
from show import machine, table

import keras_admm as ka

PACKAGES = ("keras", "tensorflow", "numpy")
# how it enters, rho, its growth per update, whether kept weights are pulled
SETTINGS = [
    ("gradient", 1e-3, 1.3, True),
    ("gradient", 1e-2, 1.3, True),
    ("gradient", 1e-1, 1.3, True),
    ("gradient", 1e-1, 1.3, False),
    ("loss", 1e-2, 1.3, True),
    ("proximal", 1e-3, 1.3, True),
    ("proximal", 1e-2, 1.0, True),
    ("proximal", 1e-2, 1.0, False),
]


def main():
    few = {"limit": 10_000, "dense_epochs": 10, "admm_epochs": [12], "retrain_epochs": [6], "rate": [100]}
    args = mnist_lenet5.options(**few)
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    train = tuple(part[: args.limit] for part in train)
    dense = mnist_lenet5.dense_model(args, mnist_lenet5.lenet5, train, validation)
    (rate,), (admm,), (retrain,) = args.rate, args.admm_epochs, args.retrain_epochs
    rows = [("dense", "", "", "", *accuracies(dense, validation, test), "")]
    for args.penalty, args.rho, args.rho_growth, args.penalize_kept in SETTINGS:
        keras.utils.set_random_seed(args.seed)
        began = time.time()
        model = mnist_lenet5.compress(
            args, mnist_lenet5.lenet5, dense.get_weights(), rate, admm, retrain, train, validation
        )
        setting = args.penalty, f"{args.rho:g}", f"x{args.rho_growth:g}", "pulled" if args.penalize_kept else "free"
        rows.append((*setting, *accuracies(model, validation, test), f"{(time.time() - began) / 60:.1f}"))
    lengths = f"{admm} epochs of ADMM and {retrain} of retraining"
    print(f"\n{machine(*PACKAGES)}\nseed {args.seed}, {len(train[0]):,} images, shifts of {args.shift}, {lengths}")
    print(f"{rate:g}x: {ka.report(model).total.kept:,} weights kept\n")
    print(table(("penalty", "rho", "growth", "kept weights", "validation", "test", "minutes"), rows))


def accuracies(model, *pairs):
    return [f"{mnist_lenet5.accuracy(model, pair):.2f}%" for pair in pairs]


if __name__ == "__main__":
    main()
