"""One global ratio for a whole network: `python examples/cifar_one_ratio.py --data FOLDER`.

ResNet-56 on CIFAR-10 from given weights, pruned by `ADMMPrune(ratio)` with nothing else at 10% to 90%: no layer is told
what to keep, one threshold over all weights decides. 20,000 images; for each ratio one epoch of ADMM and one of
retraining, always from the given weights, and two plain epochs for what is not pruned. Each row that is done is
appended to `--results`; `--table` prints what is there, and `--picture` draws each layer's share at each ratio: which
layers give way. `FOLDER` of data: `cifar10_jpeg.npz`, `resnet56_cifar10_torch.npz`.

Reference: Lee, Hwangbo, Yang and Lee, "Compression of Deep-Learning Models Through Global Weight Pruning Using
Alternating Direction Method of Multipliers", Int. J. Comput. Intell. Syst. 16, 2023, doi:10.1007/s44196-023-00202-z.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cifar_given
import keras
import numpy as np
import resumable
import structured
from show import machine, table

import keras_admm as ka

RESULTS = Path(__file__).parent / "results" / "cifar_one_ratio.jsonl"
RATIOS = [0.0, *(tenths / 10 for tenths in range(1, 10))]


def measured(args, network, ratio, seed):
    """One row; that of ratio 0 is the dense network's, trained for as many epochs on the same images."""
    keras.utils.set_random_seed(seed)
    train, validation, test = structured.arrays(args.data, seed, args.images)
    model = cifar_given.given(int(network.removeprefix("resnet")), args.data)
    began = time.time()
    pruning = [ka.ADMMPrune(ratio, admm_epochs=1, retrain_epochs=1)] if ratio else []
    report = ka.report(structured.fitted(model, train, seed, 2, *pruning))
    return {
        "validation": round(100 * model.evaluate(*validation, batch_size=500, verbose=0)[1], 2),
        "test": round(100 * model.evaluate(*test, batch_size=500, verbose=0)[1], 2),
        "kept": report.total.kept,
        "MACs left": report.total.macs_left,
        "removed": {row.layer.rpartition("/")[2]: round(row.sparsity, 4) for row in report.rows},
        "seconds": round(time.time() - began),
    }


def lines(rows):
    """Accuracies of each ratio, and the layers that gave most and least: their names and shares."""
    for (network, ratio), these in rows.by_seeds().items():
        removed = next(iter(these.values()))["removed"]
        order = sorted(removed, key=removed.get)
        most, least = (f"{name} {removed[name]:.0%}" for name in (order[-1], order[0]))
        means = [f"{np.mean([row[part] for row in these.values()]):.2f}" for part in ("validation", "test")]
        kept = f"{np.mean([row['kept'] for row in these.values()]):,.0f}"
        yield f"{network}, {ratio:.0%} removed", str(len(these)), kept, *means, most, least


def picture(rows, path):
    """Layers by ratios, coloured by the share of each layer that is removed."""
    import matplotlib.pyplot as plt

    done = {ratio: these for (_, ratio), these in rows.by_seeds().items() if ratio}
    names = list(next(iter(next(iter(done.values())).values()))["removed"])
    shares = [[np.mean([row["removed"][name] for row in these.values()]) for name in names] for these in done.values()]
    figure, axes = plt.subplots(figsize=(11, 4), layout="constrained")
    image = axes.imshow(np.array(shares), aspect="auto", vmin=0, vmax=1, cmap="viridis")
    axes.set_yticks(range(len(done)), [f"{ratio:.0%}" for ratio in done])
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axes.set(xlabel="layer, from the input to the output", ylabel="removed of the whole network")
    axes.set_title("One global ratio: which layers give way")
    figure.colorbar(image, label="removed of the layer")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = resumable.arguments(__doc__, RESULTS)
    parser.add_argument("--network", default="resnet56", choices=["resnet20", "resnet56"])
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--images", type=int, default=structured.IMAGES, help="that it is trained on")
    parser.add_argument("--picture", help="path of a picture of each layer's share at each ratio")
    parser.set_defaults(seeds=[0])
    args = parser.parse_args()
    rows = resumable.Rows(args.results, ("network", "ratio", "seed"))
    if not args.table:
        cells = [(args.network, ratio, seed) for seed in args.seeds for ratio in args.ratios]
        rows.fill(cells, lambda cell, _: measured(args, *cell))
    if args.picture:
        picture(rows, args.picture)
    print(machine("keras", keras.backend.backend()))
    head = ("", "seeds", "kept", "validation", "test", "gave most", "gave least")
    print(table(head, list(lines(rows))))


if __name__ == "__main__":
    main()
