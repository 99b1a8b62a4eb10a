"""LeNet-5 on MNIST in as few bytes as can be: `python examples/mnist_lenet5_storage.py --data mnist.npz`.

Pruned by ADMM as in `mnist_lenet5.py`; cleared of weights that reach no output; its weights trained into few clusters
and its biases onto few levels, by ADMM and then straight through the rounding; saved in a packed file, from which it is
loaded again and tested. All of that file is counted, biases too, and once more without the description of the
architecture. Nothing is chosen on the test set.
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
from keras_admm.constraints import Codebook, Levels
from keras_admm.retraining import NAMED

PACKAGES = ("keras", "tensorflow", "numpy", "constriction")
PUBLISHED = [
    ("published: ADMM, data of the kernels alone", "890", "1,910x", "99.0%", "arXiv:1811.01907"),
    ("published: ADMM, with indices", "2,730", "623x", "99.0%", "arXiv:1810.07378"),
    ("published: MIRACLE, all weights", "1,520", "1,110x", "99.04%", "arXiv:1810.00440"),
]


def options(argv=None, **defaults):
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--clusters", type=int, default=5, help="values of a layer's weights, without 0")
    parser.add_argument("--bias-bits", type=int, default=4, help="levels of its biases, without 0, as a power of two")
    parser.add_argument("--retraining", default="straight_through", choices=list(NAMED))
    parser.add_argument("--few-admm-epochs", type=int, default=4, help="those towards few values")
    parser.add_argument("--few-retrain-epochs", type=int, default=16, help="those on few values")
    parser.add_argument("--few-rate", type=float, default=4e-4, help="learning rate of both")
    parser.add_argument("--pruned", help="path of the pruned model: read if it is there, else written")
    parser.add_argument("--out", default="lenet.kadmm", help="where the packed file goes")
    own, others = parser.parse_known_args(argv)
    if {"-h", "--help"} & set(others):
        parser.print_help()
    shared = {"rate": [300], "admm_epochs": [60], "retrain_epochs": [20], **defaults}
    return argparse.Namespace(**vars(mnist_lenet5.options(others, **shared)), **vars(own))


def pruned_model(args, network, train, validation):
    """The network pruned to the first rate, without its dead weights."""
    if args.pruned and os.path.exists(args.pruned):
        model = keras.models.load_model(args.pruned)
    else:
        dense = mnist_lenet5.dense_model(args, network, train, validation)
        how = args.rate[0], args.admm_epochs[0], args.retrain_epochs[0]
        model = mnist_lenet5.compress(args, network, dense.get_weights(), *how, train, validation)
        if args.pruned:
            model.save(args.pruned)
    dead = ka.purify(model)
    print(f"purified: {sum(dead.values())} weights that reach no output, or are constant: {dead}")
    return mnist_lenet5.compiled(model, args.learning_rate)


def phases(args, retraining):
    """What the callbacks of all sets of few values have in common."""
    return {
        "admm_epochs": args.few_admm_epochs,
        "retrain_epochs": args.few_retrain_epochs,
        "retraining": retraining,
        "penalty": ka.penalties.ProximalPenalty(rho=0.003),
        "learning_rate": {"retrain": keras.optimizers.schedules.CosineDecay(args.few_rate, args.few_retrain_epochs)},
    }


def fitted(args, network, pruned, callback, train, validation):
    """The pruned network after one more fit, without the L1 that pruned it."""
    model = mnist_lenet5.compiled(network(), args.few_rate)
    model.set_weights(pruned.get_weights())
    epochs = args.few_admm_epochs + args.few_retrain_epochs
    images = mnist_lenet5.batches(args, train)
    model.fit(images, epochs=epochs, validation_data=validation, callbacks=[callback], verbose=2)
    return model


def few_valued(args, network, pruned, train, validation):
    """Every weight of the pruned network in one of a few clusters of its layer, every bias on one of a few levels."""
    sets = {"*kernel": Codebook(args.clusters), "*bias": Levels(args.bias_bits, zero=False)}
    callback = ka.ADMM(sets, biases=True, verbose=1, **phases(args, args.retraining))
    return fitted(args, network, pruned, callback, train, validation)


def main(network=mnist_lenet5.lenet5, published=PUBLISHED, **defaults):
    args = options(**defaults)
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    train = tuple(part[: args.limit] for part in train)
    began = time.time()
    pruned = pruned_model(args, network, train, validation)
    model = few_valued(args, network, pruned, train, validation)
    dead = ka.purify(model)
    ka.save(model, args.out)
    loaded = mnist_lenet5.compiled(ka.load(args.out), args.learning_rate)
    report, (tested,) = ka.report(loaded), accuracies(loaded, test)
    print(f"\n{report.to_text(details=True)}\n\n{show.machine(*PACKAGES)}")
    print(f"seed {args.seed}, {(time.time() - began) / 60:.1f} minutes")
    print("pruned: validation {}, test {}".format(*accuracies(pruned, validation, test)))
    print(f"purified once more at the end: {dead or 'nothing'}")
    print("loaded from {}: validation {}\n".format(args.out, *accuracies(loaded, validation)))
    head = "what is counted", "bytes", "rate", "test", "source"
    print(show.table(head, [*rows(report, tested), *published]))


def accuracies(model, *pairs):
    return [f"{mnist_lenet5.accuracy(model, pair):.2f}%" for pair in pairs]


def rows(report, tested):
    """The lines of the table: the same network counted in each of the papers' ways."""
    total, file = report.total, report.file
    counted = [
        ("data of the kernels alone", total.data_bytes, total.data_ratio),
        ("kernels with indices", total.packed_bytes, total.packed_ratio),
        ("the file without the architecture's description", file.weights_bytes, file.weights_ratio),
        ("the whole file", file.bytes, file.ratio),
    ]
    return [(name, f"{size:,.0f}", f"{rate:,.0f}x", tested, "") for name, size, rate in counted]


if __name__ == "__main__":
    main()
