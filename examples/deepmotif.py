"""The three networks of the Deep Motif Dashboard, dense and compressed: `python examples/deepmotif.py --data DATA`.

Trained on ChIP-seq peaks of transcription factors (arXiv:1608.03644; DeepBind's ENCODE sequences): which sequences of
101 letters are bound. Those that are not are shuffled ones with the same pairs of neighbours. A row for each factor,
network, way of compressing and seed is appended to `--results`, and one that is there is not made again, so that a run
that was stopped goes on. The test set is only printed: each network is that of the epoch of the best validation loss,
compressed ones of their retraining.

The factor `simulated` stands for simulated sequences of 200 letters with motifs of GATA in known places: of these the
AUPRC of the saliency for the places is told too. `--most 2000` takes few sequences of each factor.

`--motifs` prints which known motifs the networks in `--cache` have learned, by their filters and by class optimisation;
`--dashboard FACTOR` makes the page of a factor: what they look at, before and after.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import dna
import keras
import show
from keras import layers
from resumable import Rows, arguments
from sklearn.metrics import roc_auc_score

import keras_admm as ka

RESULTS = Path(__file__).parent / "results" / "deepmotif.jsonl"
FACTORS = "CTCFL", "SRF", "USF2", "YY1"
FAMILIES = {"CTCFL": ("CTCFL", "CTCF"), "SRF": ("SRF",), "USF2": ("USF2", "USF1"), "YY1": ("YY1", "YY2")}
KEPT = {"10x": 1 / 10, "30x": 1 / 30, "100x": 1 / 100, "half the channels": 1 / 2}
WAYS = {
    "10x": lambda: ka.ADMMPrune(sparsity=1 - KEPT["10x"]),
    "30x": lambda: ka.ADMMPrune(sparsity=1 - KEPT["30x"]),
    "100x": lambda: ka.ADMMPrune(sparsity=1 - KEPT["100x"]),
    "4 bits": lambda: ka.ADMMQuantize(bits=4),
    "half the channels": lambda: ka.ADMMPrune(sparsity=0.5, structure="channel"),
}
NETWORKS = {"CNN-RNN": ("dense", *WAYS), "CNN": ("dense", "30x"), "RNN": ("dense", "30x")}
EPOCHS = {"CNN-RNN": 30, "CNN": 30, "RNN": 120}  # of dense networks: letters alone are learned slowly
BATCH = 128
KEYS = "factor", "network", "way", "seed"


def recurrent():
    """Both ways over the sequence, the mean of each way over time, two classes."""
    yield layers.Bidirectional(layers.LSTM(32, return_sequences=True), name="lstm")
    yield layers.GlobalAveragePooling1D()
    yield layers.Dropout(0.5)


def convolutions():
    """Three convolutions, narrower from one to the next; the maximum of each filter over the sequence."""
    for i, width in enumerate((9, 5, 3)):
        yield layers.Conv1D(128, width, activation="relu", name=f"conv{i + 1}")
        if i < 2:
            yield layers.MaxPooling1D(2)
        yield layers.Dropout(0.5)
    yield layers.GlobalMaxPooling1D()


def network(kind, length=101):
    """A network of the paper, not compiled."""
    first = layers.Conv1D(128, 9, padding="same", activation="relu", name="conv")
    parts = {"CNN": convolutions, "RNN": recurrent, "CNN-RNN": lambda: [first, *recurrent()]}[kind]()
    name = kind.lower().replace("-", "_")
    return keras.Sequential([keras.Input((length, 4)), *parts, layers.Dense(2, "softmax", name="head")], name=name)


def first_rate(kind):
    """The first learning rate: less for convolutions alone, whose filters can die."""
    return 3e-3 if kind == "CNN" else 1e-2


def falling(kind):
    """The dense network's learning rate: along a cosine to zero."""
    return lambda epochs, steps: keras.optimizers.schedules.CosineDecay(first_rate(kind), epochs * steps)


def steady(kind):
    """That of compressing, which the retraining at its end needs too: half, and a tenth of it in the last tenth."""
    rates = [first_rate(kind) / 2, first_rate(kind) / 20]
    return lambda epochs, steps: keras.optimizers.schedules.PiecewiseConstantDecay([round(0.9 * epochs * steps)], rates)


def fit(model, pairs, epochs, rate, callbacks=()):
    """Train a model; it has the weights of the best validation loss then, compressed ones of their retraining."""
    train, validation, _ = pairs
    optimizer = keras.optimizers.Adam(rate(epochs, -(-len(train[1]) // BATCH)), clipvalue=5)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    best = keras.callbacks.EarlyStopping("val_loss", patience=1000, restore_best_weights=True)
    data = {"batch_size": BATCH, "validation_data": validation}
    model.fit(*train, **data, epochs=epochs, callbacks=[*callbacks, best], verbose=0)


def less_dropout(model, kept):
    """Fewer weights need less dropout: rates by the root of the share that is kept (Han et al., arXiv:1506.02626)."""
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate *= kept**0.5


def auc(model, pair):
    return 100 * roc_auc_score(pair[1], model.predict(pair[0], verbose=0)[:, 1])


class Bench:
    """Trains what a row is of, from the dense network of the same factor and seed."""

    def __init__(self, args):
        self.args = args
        self.cache = Path(args.cache)
        self.cache.mkdir(parents=True, exist_ok=True)

    def path(self, *cell):
        """Where the packed file of a cell is."""
        return self.cache / f"{'-'.join(map(str, cell)).replace(' ', '_')}.kadmm"

    def measure(self, cell, done):
        """The entries of a row."""
        factor, kind, way, seed = cell
        keras.utils.set_random_seed(seed)
        pairs, start = self.pairs(factor), time.perf_counter()
        if way == "dense":
            model = network(kind, pairs[0][0].shape[1])
            fit(model, pairs, self.args.epochs or EPOCHS[kind], falling(kind))
        else:
            dense = self.path(factor, kind, "dense", seed)
            if not dense.exists():
                raise LookupError(f"the dense network is to be trained first: {dense} is not there")
            model = ka.load(dense)
            if kind != "CNN":  # with less dropout convolutions alone are as accurate, but look at less of a motif
                less_dropout(model, KEPT.get(way, 1.0))
            fit(model, pairs, self.args.compress_epochs, steady(kind), [WAYS[way]()])
            model = ka.shrink(model) if "channels" in way else model
        seconds = time.perf_counter() - start
        ka.save(model, self.path(*cell))
        model = ka.load(self.path(*cell))
        total, size = ka.report(model).total, os.path.getsize(self.path(*cell))
        found = {"validation": auc(model, pairs[1]), "test": auc(model, pairs[2]), "bytes": size}
        made = {"most": self.args.most, "kept": total.kept, "seconds": round(seconds)}
        return found | self.auprc(factor, model) | made

    def pairs(self, factor):
        """Training, validation and test sequences with their labels."""
        if factor != "simulated":
            return dna.chip_seq(self.args.data, factor, self.args.most)
        (x, y, _), (x_test, y_test, _) = dna.simulated(self.args.data)
        x, y = x[: self.args.most], y[: self.args.most]
        held_out = len(y) // 10
        return (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out]), (x_test, y_test)

    def auprc(self, factor, model):
        """The average precision of the saliency for the places of the motifs, where they are known."""
        if factor != "simulated":
            return {}
        x, y, places = (array[-400:] for array in dna.simulated(self.args.data)[1])
        return {"auprc": ka.compare({"model": model}, x, y, truth=places).rows[0].auprc}


def shown(rows):
    """The table of all rows: means over the seeds."""
    cells = rows.by_seeds()
    lines = []
    for (factor, kind, way), seeds in sorted(cells.items(), key=lambda each: (each[0][:2], -_mean(each[1], "bytes"))):
        dense = cells.get((factor, kind, "dense"), {})
        both = [seed for seed in seeds if seed in dense]
        lost = sum(seeds[s]["test"] - dense[s]["test"] for s in both) / len(both) / 100 if both else None
        precise = f"{_mean(seeds, 'auprc'):.4f}" if factor == "simulated" else "-"
        line = [f"{_mean(seeds, 'test') / 100:.4f}", "-" if lost is None else f"{lost:+.4f}", precise]
        more = [f"{_mean(seeds, 'kept'):,.0f}", f"{_mean(seeds, 'bytes'):,.0f}", str(len(seeds))]
        lines.append([f"{factor} {kind} {way}", *line, *more])
    return show.table(["factor, network, way", "test AUC", "to dense", "AUPRC", "weights", "bytes", "seeds"], lines)


def _mean(seeds, entry):
    return sum(row[entry] for row in seeds.values()) / len(seeds)


def cached(bench, factor, ways, seed=0):
    """The CNN-RNN networks of a factor that are in the cache."""
    found = {way: bench.path(factor, "CNN-RNN", way, seed) for way in ways}
    return {way: ka.load(file) for way, file in found.items() if file.exists()}


def motifs_found(bench, args):
    """The table of the five known motifs that each network has learned best, and whether the factor is among them."""
    known, lines = ka.explain.read_meme(Path(args.data) / "Jaspar.meme"), []
    for factor in args.factors:
        x, y = bench.pairs(factor)[2]
        for way, model in cached(bench, factor, ("dense", "30x")).items():
            typical = ka.explain.optimize_input(model, 1, x[:1]).values[0]
            filters = ka.compare({way: model}, x[y == 1], y[y == 1], motifs=known).filters[way]
            found = {"class optimisation": ka.explain.match_motifs(typical, known)}
            found["filters"] = [match for _, match in filters[:5]]
            for by, matches in found.items():
                good = [match.motif.label.split()[-1] for match in matches if match.p_value <= 0.01]
                its = "yes" if set(good) & set(FAMILIES.get(factor, (factor,))) else "no"
                lines.append([f"{factor} {way}, by {by}", its, ", ".join(good)])
    return show.table(["network", "its own", "the best five with p <= 0.01"], lines)


def dashboard(bench, factor, args):
    """Write the page of a factor: its dense network and the compressed ones that are in the cache."""
    x, y = bench.pairs(factor)[2]
    motifs = ka.explain.read_meme(Path(args.data) / "Jaspar.meme")
    models = cached(bench, factor, ("dense", "30x", "half the channels"))
    page = f"deepmotif_{factor}.html"
    print(ka.dashboard(models, x, y, page, alphabet=dna.LETTERS, motifs=motifs, samples=10, steps=1000))
    print(f"Written: {page}")


def main():
    parser = arguments(__doc__, RESULTS)
    parser.add_argument("--factors", nargs="+", default=FACTORS)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", default=["dense", *WAYS], choices=["dense", *WAYS])
    parser.add_argument("--most", type=int, help="how many bound sequences of each factor; all by default")
    parser.add_argument("--epochs", type=int, help="of the dense network; 30 by default, of the RNN 120")
    parser.add_argument("--compress-epochs", type=int, default=60, help="of each compression")
    parser.add_argument("--motifs", action="store_true", help="print the known motifs that networks have learned")
    parser.add_argument("--dashboard", metavar="FACTOR", help="write the page of a factor")
    args = parser.parse_args()
    args.cache = args.cache or "deepmotif_cache"
    rows, bench = Rows(args.results, KEYS), Bench(args)
    if not args.table and not args.data:
        raise SystemExit("The sequences must be given: --data DATA, the folder of the .seq.gz files.")
    if args.motifs:
        print(motifs_found(bench, args))
    elif args.dashboard:
        dashboard(bench, args.dashboard, args)
    elif not args.table:
        chosen = [(n, w) for n in args.networks for w in NETWORKS[n] if w in args.ways]
        cells = [(f, n, w, s) for s in args.seeds for f in args.factors for n, w in chosen]
        others = [cell for cell, row in rows.read().items() if cell in cells and row["most"] != args.most]
        if others:
            raise SystemExit(f"{args.results} has {others[0]} of another number of sequences: give other --results.")
        rows.fill(cells, bench.measure)
    print(show.machine("keras", keras.backend.backend()))
    print(shown(rows))


if __name__ == "__main__":
    main()
