"""The smallest LeNets: `KERAS_BACKEND=jax python examples/mnist_records.py --network lenet300 --data mnist.npz`.

A dense network is trained under L1, whose pull goes on while `ADMMPrune` prunes it by its default recipe in one `fit`,
then cleared of weights that reach no output: `--goal weights`. From there `--goal bytes` takes dead neurons out and
trains what is left onto few levels. Every network is saved by `ka.save` and loaded again before it is tested.

A row for each network, goal and seed is appended to `--results`, and one that is there is not made again, so that a run
that was stopped goes on. All was chosen by the 6,000 validation images, with seeds 0 and 1; the test set is only
printed. LeNet-5 is faster on TensorFlow than on JAX.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import keras
import numpy as np
import show
from mnist_lenet5 import accuracy, compiled, lenet5
from mnist_lenet300 import lenet300

import keras_admm as ka
from keras_admm.constraints import Levels

RESULTS = Path(__file__).parent / "results" / "records.jsonl"
GOALS = "weights", "bytes"


class Setting(NamedTuple):
    """How a network is made small.

    Attributes:
        network: callable, L1 -> model.
        rate: float, dense weights for each kept one.
        dense_epochs, prune_epochs: int.
        few_epochs: (int, int), those towards few values, and those on them.
        batch: int.
        bits, bias_bits: int, levels of a layer's weights beside 0, and of its biases, as powers of two.
    """

    network: callable
    rate: float
    dense_epochs: int
    prune_epochs: int
    few_epochs: tuple
    batch: int
    bits: int
    bias_bits: int


SETTINGS = {
    "lenet300": Setting(lenet300, 150, 12, 60, (2, 10), 64, 4, 5),
    "lenet5": Setting(lenet5, 430, 8, 60, (2, 16), 128, 3, 4),
}
L1, DENSE_RATE, PRUNE_RATE, FEW_RATE = 1e-4, 1e-3, 3e-3, 1e-3


def falling(rate, steps):
    return keras.optimizers.schedules.CosineDecay(rate, steps)


def kept(path, make):
    """The network in a file; if it is not there, the one that `make` makes goes there."""
    if not path.exists():
        ka.save(make(), path)
    return ka.load(path)


def dense(setting, images):
    """By Adam with a rate that falls to zero."""
    model = compiled(setting.network(L1), falling(DENSE_RATE, setting.dense_epochs * len(images)))
    model.fit(images, epochs=setting.dense_epochs, verbose=0)
    return model


def pruned(setting, images, weights, backup_dir):
    """The network of the goal of few weights."""
    model = compiled(setting.network(L1), PRUNE_RATE)
    model.set_weights(weights)
    retrain = setting.prune_epochs // 4
    rates = {"retrain": falling(PRUNE_RATE, retrain)}
    prune = ka.ADMMPrune(
        1 - 1 / setting.rate, retrain_epochs=retrain, learning_rate=rates, backup_dir=backup_dir, verbose=1
    )
    model.fit(images, epochs=setting.prune_epochs, verbose=0, callbacks=[prune])
    ka.purify(model)
    return model


def few_valued(setting, images, weights):
    """The network of the goal of few bytes: without the L1, and with the pruned one's live neurons alone."""
    model = setting.network()
    model.set_weights(weights)
    model = compiled(ka.shrink(model), FEW_RATE)
    admm, retrain = setting.few_epochs
    sets = {"*kernel": Levels(setting.bits, zero=False), "*bias": Levels(setting.bias_bits, zero=False)}
    few = ka.ADMM(
        sets,
        biases=True,
        admm_epochs=admm,
        retrain_epochs=retrain,
        penalty=ka.penalties.ProximalPenalty(rho=0.003),
        learning_rate={"retrain": falling(FEW_RATE, retrain)},
        verbose=1,
    )
    model.fit(images, epochs=admm + retrain, verbose=0, callbacks=[few])
    return model


def made(args, setting, goal, seed, train):
    """The network of a goal; the dense and the pruned one, where both goals begin, are kept in `--cache`."""
    images = data.Shifted(*train, setting.batch, 1, seed)
    folder = args.cache / f"{args.network}_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    thick = kept(folder / "dense.kadmm", lambda: dense(setting, images))
    thin = kept(folder / "weights.kadmm", lambda: pruned(setting, images, thick.get_weights(), folder / "pruning"))
    if goal == "bytes":
        kept(folder / "bytes.kadmm", lambda: few_valued(setting, images, thin.get_weights()))
    return folder / f"{goal}.kadmm"


def row(args, setting, goal, seed, arrays):
    began = time.time()
    train, *tried = arrays
    loaded = compiled(ka.load(made(args, setting, goal, seed, train)), FEW_RATE)
    report = ka.report(loaded)
    print(report.to_text(details=True), flush=True)
    validation, test = (round(accuracy(loaded, pair), 2) for pair in tried)
    own = {"network": args.network, "goal": goal, "seed": seed, "validation": validation, "test": test}
    sizes = {"kept": report.total.kept, "bytes": report.file.bytes}
    whole = setting.network()  # of which all is counted, also where a layer has become narrower
    weights, bytes_ = ka.report(whole).total.weights, 4 * whole.count_params()
    rates = {"weights_x": weights / report.total.kept, "bytes_x": bytes_ / report.file.bytes}
    rates = {name: round(float(rate), 1) for name, rate in rates.items()}
    return {
        **own,
        **sizes,
        **rates,
        "minutes": round((time.time() - began) / 60, 1),
        "backend": keras.backend.backend(),
    }


def rows(path):
    """The rows that are done, by network, goal and seed."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(row["network"], row["goal"], row["seed"]): row for row in map(json.loads, lines)}


def fill(args):
    setting = SETTINGS[args.network]
    if args.epochs:
        setting = setting._replace(dense_epochs=1, prune_epochs=args.epochs, few_epochs=(1, 1))
    train, *tried = data.mnist(args.data, args.validation)
    for seed in args.seeds:
        for goal in args.goal:
            if (args.network, goal, seed) in rows(args.results):
                continue
            done = row(args, setting, goal, seed, (train, *tried))
            with open(args.results, "a") as file:
                file.write(json.dumps(done) + "\n")


def line(network, goal, these):
    """Means over the seeds, and the test accuracy of each."""
    validation, test, weights, size, *rates = (
        np.mean([row[key] for row in these]) for key in ("validation", "test", "kept", "bytes", "weights_x", "bytes_x")
    )
    each = ", ".join(f"{row['test']:.2f}%" for row in these)
    few = f"{weights:,.0f}", f"{rates[0]:,.0f}x", f"{size:,.0f}", f"{rates[1]:,.0f}x"
    return f"{network}, {goal}", *few, f"{validation:.2f}%", f"{test:.2f}%", each


def table(done):
    head = "network, goal", "kept", "rate", "bytes", "rate", "validation", "test", "test of each seed"
    cells = dict.fromkeys((network, goal) for network, goal, _ in sorted(done))
    return show.table(
        head, [line(*cell, [row for key, row in sorted(done.items()) if key[:2] == cell]) for cell in cells]
    )


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="lenet300", choices=list(SETTINGS))
    parser.add_argument("--goal", nargs="+", default=list(GOALS), choices=GOALS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", help="path of mnist.npz; without it Keras downloads it")
    parser.add_argument("--cache", type=Path, default="records", help="folder for the networks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which each row is appended")
    parser.add_argument("--validation", type=int, default=6000, help="images of the training set to choose by")
    parser.add_argument("--epochs", type=int, help="of pruning, with as few of all else, to see that it runs")
    return parser.parse_args()


def main():
    args = options()
    fill(args)
    print(f"\n{show.machine('keras', keras.backend.backend(), 'numpy', 'constriction')}")
    print(table(rows(args.results)))


if __name__ == "__main__":
    main()
