"""Half the MACs of a ResNet on CIFAR-10 by channels, ranks and gates, beside the usual ways: `examples/benchmarks/
structured.py --data FOLDER --cache FOLDER`.

Every method starts from the same dense network (the weights that others trained, fine-tuned on the same images), sees
the same batches in the same order, and has the same epochs and the same learning rates. Each row that is done is
appended to `--results`; what is there is not run again. `--table` prints what is there: validation accuracy, by which
everything here was chosen, and test accuracy last. `FOLDER` of data: `cifar10_jpeg.npz`, `resnet20_cifar10_torch.npz`,
`resnet56_cifar10_torch.npz`.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cifar_given
import data
import keras
import numpy as np
import resumable
from cifar_resnet20 import Augmented
from show import table
from structured_methods import METHODS, Job

import keras_admm as ka

RESULTS = Path(__file__).parents[1] / "results" / "structured.jsonl"
IMAGES, EPOCHS = 20_000, 6


def arrays(folder, seed, images=IMAGES):
    train, validation, test = data.cifar10(Path(folder) / "cifar10_jpeg.npz", 5000, seed)
    train = train[0][:images], train[1][:images]
    return [(cifar_given.normalized(x), y) for x, y in (train, validation, test)]


def fitted(model, train, seed, epochs, *callbacks):
    """The model trained by SGD whose learning rate falls to 0 over these epochs, a cosine."""
    batches = Augmented(*train, batch_size=128, seed=seed)
    rate = keras.optimizers.schedules.CosineDecay(0.01, epochs * len(batches))
    compiled(model, keras.optimizers.SGD(rate, momentum=0.9, nesterov=True))
    model.fit(batches, epochs=epochs, callbacks=list(callbacks), verbose=0)
    return model


def compiled(model, optimizer="sgd"):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def dense(args, depth, seed, train):
    """The dense network of a seed, from the cache, or fine-tuned and put there."""
    path = Path(args.cache) / f"structured_resnet{depth}_{seed}.weights.h5"
    model = cifar_given.given(depth, args.data)
    if path.exists():
        model.load_weights(path)
    else:
        fitted(model, train, 100 + seed, EPOCHS)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save_weights(path)
    return model


def measured(args, depth, method, seed):
    """One row of the table."""
    keras.utils.set_random_seed(seed)
    train, validation, test = arrays(args.data, seed)
    model = dense(args, depth, seed, train)
    began = time.time()
    job = Job(model, EPOCHS, lambda model, *how: fitted(model, train, seed, *how), train[0])
    model = compiled(METHODS[method](job))
    total = ka.report(model).total
    return {
        "validation": round(100 * model.evaluate(*validation, batch_size=500, verbose=0)[1], 2),
        "test": round(100 * model.evaluate(*test, batch_size=500, verbose=0)[1], 2),
        "macs": total.macs,
        "parameters": model.count_params(),
        "seconds": round(time.time() - began),
    }


def lines(rows):
    """Means over the seeds, their spread, and how far the dense network and ours are behind or ahead, by the seed."""
    cells = rows.by_seeds()
    for (network, method), these in cells.items():
        validation = [row["validation"] for row in these.values()]
        yield (
            f"{network}, {method}",
            str(len(these)),
            f"{np.mean([row['macs'] for row in these.values()]) / 1e6:.2f}",
            f"{np.mean([row['parameters'] for row in these.values()]) / 1e3:.1f}",
            f"{np.mean(validation):.2f}",
            f"{np.std(validation):.2f}",
            _ahead(cells.get((network, "admm channels")), these),
            f"{np.mean([row['test'] for row in these.values()]):.2f}",
        )


def _ahead(ours, these):
    """By how much the channels of ADMM are ahead on validation, seed by seed."""
    both = [ours[seed]["validation"] - row["validation"] for seed, row in these.items() if ours and seed in ours]
    return f"{np.mean(both):+.2f}" if both else ""


def main():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--depths", nargs="+", type=int, default=[20, 56], choices=[20, 56])
    args = parser.parse_args()
    rows = resumable.Rows(args.results, ("network", "method", "seed"))
    if not args.table:
        cells = [(f"resnet{depth}", m, seed) for depth in args.depths for seed in args.seeds for m in args.methods]
        rows.fill(cells, lambda cell, _: measured(args, int(cell[0].removeprefix("resnet")), *cell[1:]))
    head = ("", "seeds", "MACs/1e6", "weights/1e3", "validation", "deviation", "ours ahead", "test")
    print(table(head, list(lines(rows))))


if __name__ == "__main__":
    main()
