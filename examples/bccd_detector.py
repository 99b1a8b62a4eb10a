"""A detector of blood cells, pruned by one global ratio: `python examples/bccd_detector.py --data DATA --cache CACHE`.

A small YOLO-style network (`detector.py`: four outputs, a training step of its own) learns to box red cells, white
cells and platelets on photographs of 96x128 pixels. `ADMMPrune(sparsity)`, with nothing else, then takes 50%, 70% and
90% of all its weights from the dense ones; "0%" is trained on for as long without it. Mean average precision at an
overlap of 0.5 (`detection.py`, by pycocotools). The data set's own lists say what is for training, validation and
test; nothing is chosen by the test photographs. Each row that is done is appended to `--results`; what is there already
is not run again, and `--table` prints what is there. `DATA` is the folder of `bccd_dataset.tar`.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import bccd
import keras
import numpy as np
import resumable
from detection import average_precisions
from detector import detector, targets
from show import machine, table

import keras_admm as ka

RESULTS = Path(__file__).parent / "results" / "bccd_detector.jsonl"
SIZE, BATCH, RATE = (96, 128), 8, 2e-3


class Batches(keras.utils.PyDataset):
    """Photographs in a random order, each as it is or mirrored, anew in each epoch, with what is to be said of them."""

    def __init__(self, photographs, seed):
        super().__init__()
        ways = [bccd.mirrored(photographs, across, down) for across in (False, True) for down in (False, True)]
        self.images = [way.images for way in ways]
        self.targets = [[_targets(*pair) for pair in zip(way.boxes, way.labels, strict=True)] for way in ways]
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self.order) // BATCH

    def __getitem__(self, index):
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        ways = self.rng.integers(0, len(self.images), len(chosen))
        pairs = list(zip(ways, chosen, strict=True))
        told = [self.targets[way][i] for way, i in pairs]
        return np.stack([self.images[way][i] for way, i in pairs]), {k: np.stack([t[k] for t in told]) for k in told[0]}

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.images[0]))


def _targets(boxes, labels):
    return targets(boxes, labels, SIZE, len(bccd.CLASSES))


def fit(model, photographs, epochs, seed, *callbacks):
    """Adam, whose rate falls to zero. TensorFlow's own operations are faster than XLA's on few cores."""
    batches = Batches(photographs, seed)
    schedule = keras.optimizers.schedules.CosineDecay(RATE, epochs * len(batches))
    model.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    model.fit(batches, epochs=epochs, callbacks=list(callbacks), verbose=0)


def precisions(model, photographs):
    """The average precision of each class, in percent."""
    found = model.find(photographs.images)
    values = average_precisions(photographs.boxes, photographs.labels, found, len(bccd.CLASSES))
    return {name: round(100 * float(value), 2) for name, value in zip(bccd.CLASSES, values, strict=True)}


class Measurement:
    """What measures a cell; it holds the photographs."""

    def __init__(self, args):
        self._args = args
        self._train, self._validation, self._test = bccd.parts(Path(args.data) / "bccd_dataset.tar", SIZE)

    def __call__(self, cell, done):
        removed, seed = cell
        began = time.time()
        model = self._dense(seed)
        if removed != "dense":
            sparsity = float(removed.rstrip("%")) / 100
            fit(model, self._train, self._args.epochs, 100 + seed, *([ka.ADMMPrune(sparsity)] if sparsity else []))
        rows = ka.report(model).rows
        on = {"validation": self._validation, "test": self._test}
        classes = {part: precisions(model, photographs) for part, photographs in on.items()}
        return {
            **{part: round(float(np.nanmean(list(values.values()))), 2) for part, values in classes.items()},
            "classes": classes,
            "weights": sum(row.weights for row in rows),
            "kept": {row.layer.rpartition("/")[2]: [row.kept, row.weights] for row in rows},
            "seconds": round(time.time() - began),
            "machine": machine("keras", "tensorflow"),
        }

    def _dense(self, seed):
        """The dense network of a seed, from the cache, or trained and put there."""
        path = Path(self._args.cache) / f"bccd_{seed}.weights.h5"
        keras.utils.set_random_seed(seed)
        model = detector(SIZE, len(bccd.CLASSES))
        if path.exists():
            model.load_weights(path)
        else:
            fit(model, self._train, self._args.dense_epochs, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save_weights(path)
        return model


def summary(rows):
    """A line for each row: what is left, and mean average precision on validation, by class too, and on test."""
    for (removed, seed), row in rows.items():
        kept = sum(kept for kept, _ in row["kept"].values())
        parts = [row["validation"], *row["classes"]["validation"].values(), row["test"]]
        yield f"{removed}, seed {seed}", f"{kept:,}", *(f"{part:.1f}" for part in parts), f"{row['seconds'] / 60:.1f}"


def shares(rows):
    """A line for each layer: its weights, and the share of them that is left, in percent, in each row."""
    counts = [row["kept"] for row in rows.values()]
    for layer, (_, weights) in counts[0].items():
        yield layer, f"{weights:,}", *(f"{100 * kept[layer][0] / weights:.1f}" for kept in counts)


def main():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--ratios", nargs="+", type=float, default=[50, 70, 90], help="percent of weights to remove")
    parser.add_argument("--dense-epochs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=40, help="of each ratio, from the dense weights")
    parser.set_defaults(cache=".", seeds=[0])
    args = parser.parse_args()
    rows = resumable.Rows(args.results, ("removed", "seed"))
    if not args.table:
        if args.data is None:
            parser.error("--data: the folder of bccd_dataset.tar is needed")
        names = ["dense", "0%", *(f"{ratio:g}%" for ratio in args.ratios)]
        rows.fill(((name, seed) for seed in args.seeds for name in names), Measurement(args))
    done = rows.read()
    head = "removed", "weights left", "validation mAP", *bccd.CLASSES, "test mAP", "minutes"
    print(table(head, list(summary(done))))
    pruned = {cell: row for cell, row in done.items() if cell[0] not in ("dense", "0%")}
    if pruned:
        print("\nweights left of each layer, in percent")
        print(table(("", "weights", *(f"{removed}, seed {seed}" for removed, seed in pruned)), list(shares(pruned))))


if __name__ == "__main__":
    main()
