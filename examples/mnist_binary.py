"""LeNet-5 on MNIST with every weight one of two values: `python examples/mnist_binary.py --data mnist.npz`.

A dense network is trained; then one `fit` takes each layer, the first and the last too, to `+q` and `-q`, a scale `q`
for each layer: ADMM epochs pull the weights there, then they are retrained straight through the rounding. Biases stay
as they are. Nothing is chosen on the test set.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import keras
import mnist_lenet5
import show

import keras_admm as ka
from keras_admm.retraining import NAMED

PACKAGES = ("keras", "tensorflow", "numpy")


def options(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="path of mnist.npz; without it Keras downloads it")
    parser.add_argument("--dense-epochs", type=int, default=12)
    parser.add_argument("--admm-epochs", type=int, default=4)
    parser.add_argument("--retrain-epochs", type=int, default=26)
    parser.add_argument("--retraining", default="straight_through", choices=list(NAMED))
    parser.add_argument("--first-last", default="same", choices=["same", "last", "skip"])
    parser.add_argument("--rho", type=float, default=0.003)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit", type=int, help="train on so many images only")
    parser.add_argument("--validation", type=int, default=5000, help="images of the training set to choose by")
    parser.add_argument("--shift", type=int, default=1, help="pixels by which training images are moved at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense-weights", help="path of an .npz of dense weights: read if it is there, else written")
    return argparse.Namespace(**vars(parser.parse_args(argv)), l1=0.0)


def binary(args, weights, train, validation):
    """One `fit` from the dense weights to binary ones."""
    model = mnist_lenet5.compiled(mnist_lenet5.lenet5(), args.learning_rate)
    model.set_weights(weights)
    quantize = ka.ADMMQuantize(
        levels="binary",
        first_last=args.first_last,
        admm_epochs=args.admm_epochs,
        retrain_epochs=args.retrain_epochs,
        retraining=args.retraining,
        penalty=ka.penalties.ProximalPenalty(rho=args.rho),
        learning_rate={"retrain": keras.optimizers.schedules.CosineDecay(args.learning_rate, args.retrain_epochs)},
        verbose=1,
    )
    epochs = quantize.plan.steps[-1].admm_epochs + quantize.plan.steps[-1].retrain_epochs
    images = mnist_lenet5.batches(args, train)
    epochs *= len(quantize.plan.steps)
    model.fit(images, epochs=epochs, validation_data=validation, callbacks=[quantize], verbose=2)
    return model


def main():
    args = options()
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    train = tuple(part[: args.limit] for part in train)
    began = time.time()
    dense = mnist_lenet5.dense_model(args, mnist_lenet5.lenet5, train, validation)
    rows = [("dense", dense, time.time() - began)]
    began = time.time()
    rows.append(("binary", binary(args, dense.get_weights(), train, validation), time.time() - began))
    print(f"\n{ka.report(rows[-1][1]).to_text(details=True)}\n")
    print(f"{show.machine(*PACKAGES)}\nLeNet-5 on MNIST, seed {args.seed}, shifts of {args.shift}, {args.retraining}\n")
    lines = [
        (name, *(f"{mnist_lenet5.accuracy(model, pair):.2f}%" for pair in (validation, test)), f"{seconds / 60:.1f}")
        for name, model, seconds in rows
    ]
    print(show.table(("weights", "validation", "test", "minutes"), lines))


if __name__ == "__main__":
    main()
