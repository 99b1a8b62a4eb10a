"""`ADMMQuantize` and `ADMMCluster` beside their rivals: `benchmarks/quantization.py --data DATA --cache CACHE`.

Straight-through training of the same epochs, and TFMOT's clustering in tf_keras, from the same dense weights of a
network and a seed, with the same epochs of 20,000 images of MNIST. Each row that is done is appended to `--results`;
what is there already is not run again. `--table` prints what is there: validation accuracy, on 30,000 images from the
training set, by which everything here was chosen, and test accuracy last. The bytes of all weights are those after
zlib, as float32, and those of the packed file.
"""

import os
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import data
import keras
import numpy as np
import resumable
from mnist_lenet300 import lenet300
from show import table

import keras_admm as ka

RESULTS = Path(__file__).parents[1] / "results" / "quantization.jsonl"
KEYS = ("network", "setting", "method", "seed")
IMAGES, BATCH = 20_000, 128
EPOCHS, RATE = 6, 1e-3
TO_THE_END = ka.retraining.StraightThrough(settle=0)
SETTINGS = [f"{n} bits" for n in (1, 2, 3, 4)] + [f"{n} clusters" for n in (4, 8, 16)]


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


def straight_through(model, train, kind, count, retraining=TO_THE_END):
    """Straight-through training from the dense weights on: before it one epoch at a learning rate of 0."""
    none = ka.penalties.GradientPenalty(rho=0.0)
    settings = {
        "admm_epochs": 1,
        "learning_rate": {"admm": 0.0, "retrain": RATE},
        "penalty": none,
        "retraining": retraining,
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
    how = {"penalty": penalty, "update_every": "auto", "admm_epochs": 0.25, "retraining": TO_THE_END}
    return lambda *job: ours(*job, **how)


RIVALS = {"straight-through": straight_through, "tfmot": tfmot}
OURS = {
    "ours": ours,
    "ours, to the end straight through": lambda *job: ours(*job, retraining=TO_THE_END),
    "ours, first and last layer last": lambda *job: ours(*job, first_last="last"),
    "straight-through, settled": lambda *job: straight_through(*job, retraining="straight_through"),
    "ours, zero": lambda *job: ours(*job, zero=True),
    "ours, pruned first": pruned,
    "ours, a quarter ADMM": lambda *job: ours(*job, admm_epochs=0.25, retraining=TO_THE_END),
    "proximal, 0.0003 to 0.003": proximal(0.0003, 0.003),
    "proximal, 0.001 to 0.01": proximal(0.001, 0.01),
    "proximal, 0.003 to 0.1": proximal(0.003, 0.1),
}
METHODS = RIVALS | OURS
CLUSTERS_ALONE = {"tfmot", "ours, zero", "ours, pruned first"}


class Measurement:
    """What measures a cell; it holds the arrays of one seed."""

    def __init__(self, args):
        self._args, self._seed = args, None

    def __call__(self, cell, done):
        network, setting, method, seed = cell
        count, kind = setting.split()
        train, validation, test = self._arrays(seed)
        model = dense(self._args, network, seed, train)
        keras.utils.set_random_seed(seed)
        model = compiled(METHODS[method](model, train, kind, int(count)))
        bits = b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())
        return {
            "validation": score(model, validation),
            "test": score(model, test),
            "values": [len(np.unique(w)) for w in kernels(model)],
            "zeros": round(float(np.mean(np.concatenate([w.ravel() for w in kernels(model)]) == 0)), 4),
            "zipped": len(zlib.compress(bits, 9)),
            "packed": ka.packed.sizes(model).file,
        }

    def _arrays(self, seed):
        if self._seed != seed:
            self._parts, self._seed = arrays(self._args.data, seed), seed
        return self._parts


def score(model, pair):
    return round(100 * model.evaluate(*pair, batch_size=500, verbose=0)[1], 3)


def kernels(model):
    return [w for w in model.get_weights() if w.ndim > 1]


def cells(args):
    """What is asked for: networks, seeds, settings and methods, in this order."""
    for network in args.networks:
        for seed in args.seeds:
            for setting in args.settings:
                clusters = setting.endswith("clusters")
                yield from ((network, setting, m, seed) for m in args.methods if clusters or m not in CLUSTERS_ALONE)


def summary(rows):
    """A line for each network, setting and method: means over the seeds, and by how much ours is ahead."""
    done = rows.by_seeds()
    for (network, setting, method), these in done.items():
        ours = done.get((network, setting, "ours"), {})
        ahead = [ours[seed]["validation"] - row["validation"] for seed, row in these.items() if seed in ours]
        mean = {k: np.mean([row[k] for row in these.values()]) for k in ("validation", "test", "zipped", "packed")}
        yield (
            f"{network}, {setting}, {method}",
            str(len(these)),
            f"{mean['validation']:.2f}",
            f"{np.mean(ahead):+.2f}" if ahead else "",
            f"{mean['zipped']:,.0f}",
            f"{mean['packed']:,.0f}",
            f"{mean['test']:.2f}",
        )


def arguments():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--settings", nargs="+", default=SETTINGS, choices=SETTINGS, help="such as '2 bits'")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    return parser.parse_args()


def main():
    args = arguments()
    rows = resumable.Rows(args.results, KEYS)
    if not args.table:
        rows.fill(cells(args), Measurement(args))
    print(table(("", "seeds", "validation", "ours ahead", "zipped", "packed", "test"), summary(rows)))


if __name__ == "__main__":
    main()
