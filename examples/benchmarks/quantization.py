"""`ADMMQuantize` and `ADMMCluster` beside their rivals: `benchmarks/quantization.py --data DATA --cache CACHE`.

Straight-through training of the same epochs, and TFMOT's clustering in tf_keras, from the same dense weights of a
network and a seed, with the same epochs of 20,000 images of MNIST. Each row that is done is appended to `--results`;
what is there already is not run again. `--table` prints what is there: validation accuracy, on 30,000 images from the
training set, by which everything here was chosen, and test accuracy last. The bytes of all weights are those after
zlib, as float32, and those of the packed file.
"""

import argparse
import json
import os
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import data
import keras
import numpy as np
from mnist_lenet300 import lenet300
from show import table

import keras_admm as ka

RESULTS = Path(__file__).parents[1] / "results" / "quantization.jsonl"
IMAGES, BATCH = 20_000, 128
EPOCHS, RATE = 6, 1e-3
SETTINGS = [(kind, n) for kind, counts in (("bits", (1, 2, 3, 4)), ("clusters", (4, 8, 16))) for n in counts]


def guide():
    """The network of TFMOT's guides."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, name="fc"),
        ],
        name="guide",
    )


NETWORKS = {"guide": guide, "lenet300": lenet300}


def arrays(folder, seed):
    train, validation, test = data.mnist(Path(folder) / "mnist.npz", 30_000, seed)
    return (train[0][:IMAGES], train[1][:IMAGES]), validation, test


def compiled(model, library=keras):
    loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(library.optimizers.Adam(RATE), loss, metrics=["accuracy"], jit_compile=False)
    return model


def fit(model, train, epochs, *callbacks, library=keras):
    compiled(model, library).fit(*train, batch_size=BATCH, epochs=epochs, callbacks=list(callbacks), verbose=0)
    return model


def dense(args, network, seed, train):
    """The dense weights of a network and a seed, from the cache, or trained and put there."""
    path = Path(args.cache) / f"quantization_{network}_{seed}.npz"
    keras.utils.set_random_seed(seed)
    model = NETWORKS[network]()
    if path.exists():
        with np.load(path) as file:
            model.set_weights([file[name] for name in file.files])
        return model
    fit(model, train, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, *model.get_weights())
    return model


def callback(kind, count, **settings):
    return ka.ADMMQuantize(count, **settings) if kind == "bits" else ka.ADMMCluster(count, **settings)


def ours(model, train, kind, count, **settings):
    return fit(model, train, EPOCHS, callback(kind, count, **settings))


def straight_through(model, train, kind, count):
    """Straight-through training from the dense weights on: before it one epoch at a learning rate of 0."""
    none = ka.penalties.GradientPenalty(rho=0.0)
    settings = {
        "first_last": "same",
        "admm_epochs": 1,
        "learning_rate": {"admm": 0.0, "retrain": RATE},
        "penalty": none,
    }
    return fit(model, train, EPOCHS + 1, callback(kind, count, **settings))


def tfmot(model, train, kind, count):
    import tensorflow_model_optimization as toolkit
    import tf_keras

    clustering = toolkit.clustering.keras
    start = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
    twin = clustering.cluster_weights(ka.export.to_tf_keras(model), count, start)
    stripped = clustering.strip_clustering(fit(twin, train, EPOCHS, library=tf_keras))
    model.set_weights(stripped.get_weights())
    return model


def pruned(model, train, kind, count):
    """Three quarters of the weights to zero in half the epochs, then the others in clusters."""
    fit(model, train, EPOCHS // 2, ka.ADMMPrune(0.75))
    return fit(model, train, EPOCHS // 2, callback(kind, count))


def proximal(rho, end):
    """ADMM as `ADMMPrune` has it by default: the proximal pull, many moves; in a quarter of the epochs."""
    penalty = ka.penalties.ProximalPenalty(rho=rho, rho_end=end, rescale_dual=False)
    return lambda *job: ours(*job, penalty=penalty, update_every="auto", admm_epochs=0.25)


RIVALS = {"straight-through": straight_through, "tfmot": tfmot}
OURS = {
    "ours": ours,
    "ours, zero": lambda *job: ours(*job, zero=True),
    "ours, pruned first": pruned,
    "ours, a quarter ADMM": lambda *job: ours(*job, admm_epochs=0.25),
    "proximal, 0.0003 to 0.003": proximal(0.0003, 0.003),
    "proximal, 0.001 to 0.01": proximal(0.001, 0.01),
    "proximal, 0.003 to 0.1": proximal(0.003, 0.1),
}
METHODS = RIVALS | OURS
CLUSTERS_ALONE = {"tfmot", "ours, zero", "ours, pruned first"}


def row(args, network, setting, method, seed, parts):
    kind, count = setting
    train, validation, test = parts
    model = dense(args, network, seed, train)
    keras.utils.set_random_seed(seed)
    model = METHODS[method](model, train, kind, count)
    compiled(model)
    values = [len(np.unique(w)) for w in kernels(model)]
    bits = b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())
    return {
        "network": network,
        "setting": f"{count} {kind}",
        "method": method,
        "seed": seed,
        "validation": round(100 * model.evaluate(*validation, batch_size=500, verbose=0)[1], 3),
        "test": round(100 * model.evaluate(*test, batch_size=500, verbose=0)[1], 3),
        "values": values,
        "zeros": round(float(np.mean(np.concatenate([w.ravel() for w in kernels(model)]) == 0)), 4),
        "zipped": len(zlib.compress(bits, 9)),
        "packed": ka.packed.sizes(model).file,
    }


def kernels(model):
    return [w for w in model.get_weights() if w.ndim > 1]


def rows(path):
    """The rows that are done, by network, setting, method and seed."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(r["network"], r["setting"], r["method"], r["seed"]): r for r in found}


def fill(args):
    done = rows(args.results)
    for network in args.networks:
        for seed in args.seeds:
            parts = arrays(args.data, seed)
            for setting, method in ((s, m) for s in SETTINGS for m in args.methods):
                if skipped(args, setting, method) or (network, f"{setting[1]} {setting[0]}", method, seed) in done:
                    continue
                keras.backend.clear_session()
                result = row(args, network, setting, method, seed, parts)
                with open(args.results, "a") as file:
                    file.write(json.dumps(result) + "\n")
                print(result, flush=True)


def skipped(args, setting, method):
    name = f"{setting[1]} {setting[0]}"
    return args.settings and name not in args.settings or setting[0] == "bits" and method in CLUSTERS_ALONE


def summary(done):
    """A line for each network, setting and method that is there: means over the seeds."""
    cells = {}
    for network, setting, method, seed in sorted(done):
        cells.setdefault((network, setting, method), []).append(done[network, setting, method, seed])
    for cell, these in cells.items():
        mean = {key: np.mean([r[key] for r in these]) for key in ("validation", "test", "zipped", "packed")}
        numbers = f"{mean['validation']:.2f}", f"{mean['zipped']:,.0f}", f"{mean['packed']:,.0f}", f"{mean['test']:.2f}"
        yield ", ".join(cell), str(len(these)), *numbers


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of mnist.npz")
    parser.add_argument("--cache", help="folder for the dense weights, trained once for each network and seed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which each row is appended")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--settings", nargs="+", help="such as '2 bits'; by default all")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print what is done, and run nothing")
    return parser.parse_args()


def main():
    args = arguments()
    if not args.table:
        fill(args)
    head = ("", "seeds", "validation", "zipped", "packed", "test")
    print(table(head, summary(rows(args.results))))


if __name__ == "__main__":
    main()
