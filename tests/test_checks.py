"""Every public callable times bad values: each is refused with a sentence, before anything is computed or trained."""

import inspect
import re

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import checks, schedules
from keras_admm.plots import plot_history, plot_widths

NAN, INF = float("nan"), float("inf")


class Odd:
    """An object whose own repr fails."""

    def __repr__(self):
        raise RuntimeError("no repr")


# For each kind of argument what it never may be. `None` is added where it is no choice.
ODD = [Odd(), object(), Odd, 1j, b"bytes", [[]], {1: 2}]
NO_NUMBER = ["0.9", "", [0.5], (), {}, True, False, np.array([0.5, 0.5]), *ODD]
BAD = {
    "boolean": [None, 0, 1, 1.5, NAN, "yes", "", [], {}, np.array([True, False]), *ODD],
    "count": [0, -1, 1.0, 1.5, NAN, INF, *NO_NUMBER],
    "count from 0": [-1, 0.0, 1.5, NAN, INF, *NO_NUMBER],
    "size": [0, -1, 16.0, 65537, 10**400, NAN, *NO_NUMBER],
    "clusters": [0, 1, -1, 16.0, 65537, 10**400, NAN, *NO_NUMBER],
    "bits": [0, -1, 17, 4.0, 10**400, NAN, *NO_NUMBER],
    "share": [-0.1, 1, 1.0, 10**400, -(10**400), NAN, INF, -INF, *NO_NUMBER],
    "share or shares": [-0.1, 1, NAN, INF, [], (), [0.9, 0.5], [0.5, NAN], ["0.5"], "0.9", True, {}, *ODD],
    "fraction": [-0.1, 1.1, NAN, INF, *NO_NUMBER],
    "energy": [0, -0.1, 1.1, NAN, INF, *NO_NUMBER],
    "scheme": [None, 0, 1.5, NAN, True, "nonsense", "", [], (), (0, 0), (-1,), (0.5,), {}, np.zeros(2), *ODD],
    "budget": [None, 0.5, "macs", [], {}, {"macs": 0}, {"macs": 1.0}, {"macs": NAN}, {"macs": True}, {"flops": 0.5}]
    + [{"macs": 0.5, "params": 0.5}, {"macs": "0.5"}, *ODD],
    "not negative": [-1, -1e-9, 10**400, NAN, INF, -INF, *NO_NUMBER],
    "positive": [0, -1, NAN, INF, *NO_NUMBER],
    "growth": [0, -1, NAN, INF, "fast", *NO_NUMBER],
    "choice": [0, 1, 1.5, NAN, True, "nonsense", "", [], {}, np.zeros(2), *ODD],
    "name": [None, 0, 1, 1.5, NAN, True, "nonsense", "", [], {}, np.zeros(2), *ODD],
    "every": [
        None,
        0,
        -1,
        1.5,
        NAN,
        INF,
        "3",
        "",
        "steps",
        "0 steps",
        "-1 steps",
        "1.5 steps",
        "2 batches",
        True,
        [],
        *ODD,
    ],
    "epochs": [0, -1, 1.5, NAN, "3", True, [], [1, 2, 3, 4, 5], {}, *ODD],
    "retraining epochs": [-1, 1.5, NAN, "3", True, [], [1, 2, 3, 4, 5], {}, *ODD],
    "path": [None, 0, 1.5, NAN, [], {}, "", "a\0b", "n" * 300, "n/" * 4000, b"bytes", *ODD],
    "backup_dir": [0, 1.5, NAN, [], {}, "", "a\0b", "n" * 300, b"bytes", *ODD],
    "model": [None, 0, 1.5, NAN, "model.keras", "", [], {}, keras.Model, np.zeros(2), *ODD]
    + [keras.Sequential([keras.layers.Dense(2)]), keras.layers.Dense(2)],
    "model or file": [None, 0, 1.5, NAN, "", "a\0b", "n" * 300, [], {}, keras.Model, np.zeros(2), *ODD],
    "source": [None, 0, 1.5, NAN, "", "a\0b", "n" * 300, [], {}, keras.Model, np.zeros(2), b"bytes", Odd(), 1j],
    "layers": [0, 1.5, NAN, "", [], (), [0], [None], {}, np.zeros(2), lambda: True, Odd(), 1j, b"bytes", [[]]],
    "names": [None, 0, 1.5, NAN, "", [], {}, *ODD],
    "custom_objects": [0, 1.5, "Dense", [], *ODD[:-1]],
    "sets": [None, 0.9, "sparse", [], {}, {"*": 0.9}, {"*": None}, {3: ka.constraints.Sparse(0.5)}, [0.9], np.zeros(2)]
    + [ka.constraints.Sparse, lambda w: w, lambda: {}, *ODD],
    "foreign set": [None, 0.9, "nonnegative", [], {}, keras.constraints.NonNeg, np.zeros(2), *ODD],
    "steps": [None, 0.9, "sparse", (), [0.9], ka.constraints.Sparse(0.5), {}, *ODD],
    "plan": [None, 0.9, "plan", (), {}, *ODD],
    "sparse set": [None, 0.9, "sparse", ka.constraints.Levels(4), *ODD],
    "layerwise levels": [None, 1, 17, 4.0, NAN, "levels", ka.constraints.Sparse(0.5), ka.constraints.Levels, *ODD],
    "level set": [None, 4, "levels", ka.constraints.Sparse(0.5), *ODD],
    "allocation": [
        None,
        0,
        NAN,
        "fair",
        "",
        [],
        {"*": 1.5},
        {"*": NAN},
        {3: 0.5},
        lambda: {},
        lambda a: {},
        np.zeros(2),
    ]
    + [Odd(), 1j, b"bytes"],
    "learning_rate": [0.1, "fast", [], {"admm": -1}, {"admm": NAN}, {"admm": INF}, {"admm": "1"}, {"admm": None}]
    + [{"admm": True}, {"train": 0.1}, *ODD],
    "axes": [0, -1, 1.5, NAN, True, "nonsense", "", [], (), ((-2,), (-1,), ()), {}, np.zeros(2), *ODD],
    "snap": [None, 0.5, "all", (), (0.5,), (0.5, 0.4, 1), (0, 1), (NAN, 1), ("1",), (True,), {}, *ODD],
    "optimizer": [None, 0, NAN, "adam", "", [], {}, {"*": None}, {"*": "adam"}, {0: keras.optimizers.SGD()}]
    + [keras.optimizers.SGD, np.zeros(2), *ODD],
    "verbosity": [-1, 3, 1.5, NAN, "1", "", None, [], *ODD],
    "verbose": [-1, 2, 1.5, NAN, "1", "", None, [], *ODD],
    "mask": [None, "mask", [[1], [1, 2]], [None], [Odd()], 1j, {}, *ODD[:2]],
    "masks": [0, 0.5, "mask", {}, [None], ["mask"], [[[1], [1, 2]]], [Odd()], np.zeros(2), *ODD[:5]],
    "layers themselves": [None, 0, "dense", "", ["dense"], [None], {}, keras.layers.Dense, [keras.layers.Dense], 1j],
    "function": [0, 1.5, NAN, "relu", "", [], {}, lambda: None, np.zeros(2), *ODD],
    "function of a layer": [
        0,
        "relu",
        [],
        lambda layer: layer,
        lambda layer, again: None,
        lambda layer, again: "d",
        *ODD,
    ],
    "layer": [None, 0, "Dense", [], {}, keras.layers.Dense, *ODD],
    "tensor": [None, "x", b"x", {}, [None], [[1.0], [1.0, 2.0]], [1j], Odd(), object(), np.array(["x"]), np.array([1j])]
    + [np.array([None])],
    "finite tensor": [
        None,
        "x",
        {},
        Odd(),
        np.array(["x"]),
        np.array([NAN, 1.0], "float32"),
        np.array([INF], "float32"),
    ],
    "target": [None, "x", {}, [None], [[1.0], [1.0, 2.0]], 1j, *ODD[:2]],
    "arrays": [None, 0, [], {}, np.zeros(2), {"a": None}, {"a": "x"}, {"a": [[1.0], [1.0, 2.0]]}, {"a": Odd()}, *ODD],
    "data": [None, "x", "", {}, [], [None], ["x"], {"a": None}, 0, NAN, *ODD[:-2]],
    "pair": [None, "x", {}, [], [None, None], (np.ones(2),), (np.ones(2), np.ones(3)), ("x", "y"), 0, NAN]
    + [Odd(), object(), Odd, 1j, b"bytes"],
    "class": [-1, 3, 1.5, NAN, "cat", "", True, [], {}, [0, 1, 2], np.zeros(2), np.ones((2, 2), int), *ODD],
    "classes": [None, 0, -1, 3, [1], [-1, 0], [0, 3], [0.5, 1], NAN, "cat", [], {}, np.ones((2, 2, 2)), *ODD],
    "alphabet": [0, 1.5, NAN, "", "ACG", "ACGG", [], list("ACGT"), {}, *ODD],
    "part": [0, -0.1, 1, 1.0, NAN, INF, *NO_NUMBER],
    "motifs": [0, "JASPAR.meme", [], [0], {}, NAN, *ODD],
    "samples": [0, 1.5, NAN, "x.npy", "", [], {}, (), Odd(), object(), Odd, b"bytes"],
    "input_shape": [0, 1.5, "shape", (), [], {}, (1.5, 2), (-1, 2), (True,), [(1.5,)], {"a": 3}, NAN, *ODD],
    "sparse in the file": [None, 0, 1, NAN, "yes", "", [], {}, np.array([True, False]), *ODD],
    "recipe": [0, 1.5, NAN, "int3", "", [], {}, *ODD],
    "history": [None, 0, "history", [], {}, {"loss": [1.0]}, {1: 2}, np.zeros(2), *ODD],
    "state": [None, 0, "state", [], {}, {"plan": 1}, np.zeros(2), *ODD],
}


def kinds(kind):
    return BAD[kind] if " or None" not in kind else [v for v in BAD[kind.removesuffix(" or None")] if v is not None]


HOW = {
    "layers": "layers or None",
    "exclude": "layers or None",
    "biases": "boolean",
    "update_every": "every",
    "penalty": "name",
    "retraining": "name",
    "learning_rate": "learning_rate",
    "optimizer": "optimizer",
    "backup_dir": "backup_dir",
    "state": "choice",
    "log_layers": "boolean",
    "verbose": "verbosity",
    "admm_epochs": "epochs",
    "retrain_epochs": "retraining epochs",
}
PULL = {
    "rho": "not negative",
    "rho_growth": "growth",
    "rho_end": "positive",
    "rescale_dual": "boolean",
    "penalize_kept": "boolean",
}
READING = {"custom_objects": "custom_objects", "max_bytes": "count from 0"}


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head")], name="m")
    model.compile("sgd", "mse")
    return model


def engine(model):
    return ka.Engine(model, PLAN)


def begun(model, **arguments):
    engine(model).begin(**arguments)


def rated(model, rate):
    run = engine(model)
    run.begin()
    try:
        run.set_learning_rate(rate)
    finally:
        run.release()


def loaded(model, **arguments):
    engine(model).load_state_dict(**arguments)


def called(constraint):
    return lambda x: constraint(x)


def reported(model, method, **arguments):
    return getattr(ka.report(model), method)(**arguments)


def observed(layers, on_call):
    with ka.graph.observe(layers, on_call):
        pass


C = ka.constraints
PLAN = ka.Plan(steps=[ka.Step(target=C.Sparse(0.5), admm_epochs=1, retrain_epochs=1)])
X = np.ones((2, 4), "float32")
# Each public callable: what it is called with, where an argument is not the bad one, and the kind of each argument.
TABLE = {
    "ADMM": (ka.ADMM, {"constraints": C.Sparse(0.5)}, {"constraints": "sets", **HOW}),
    "ADMMPrune": (
        ka.ADMMPrune,
        {"sparsity": 0.5},
        {
            "sparsity": "share or shares",
            "budget": "budget or None",
            "max_accuracy_drop": "not negative or None",
            "monitor": "name or None",
            "mode": "choice",
            "start": "share",
            "allocation": "allocation or None",
            "structure": "name",
            "min_keep": "count from 0",
        }
        | {"path": "choice", "recipe": "name", **HOW, "update_every": "every or None", "penalty": "name or None"},
    ),
    "ADMMAdaptive": (
        ka.ADMMAdaptive,
        {"budget": {"macs": 0.5}},
        {"budget": "budget", "strength": "positive", "min_keep": "count", "path": "choice", "recipe": "name"}
        | {**HOW, "update_every": "every or None", "penalty": "name or None"},
    ),
    "ADMMPrune, tolerance": (
        lambda **given: ka.ADMMPrune(**given),
        {"max_accuracy_drop": 0.01},
        {"max_accuracy_drop": "not negative", "monitor": "name or None", "mode": "choice"},
    ),
    "ADMMPrune, channels": (
        lambda **given: ka.ADMMPrune(structure="channel", **given),
        {"budget": {"macs": 0.5}},
        {"budget": "budget", "min_keep": "count", "path": "choice", "sparsity": "share or shares"},
    ),
    "ADMMQuantize": (
        ka.ADMMQuantize,
        {"bits": 4},
        {"bits": "bits", "levels": "choice", "scope": "name", "fit": "name", "first_last": "name", **HOW},
    ),
    "ADMMCluster": (
        ka.ADMMCluster,
        {"clusters": 4},
        {"clusters": "clusters", "scope": "name", "zero": "boolean", "first_last": "name", **HOW},
    ),
    "ADMMLowRank": (
        ka.ADMMLowRank,
        {"rank": 1},
        {"rank": "count or None", "energy": "energy or None", "budget": "budget or None", "scheme": "scheme"}
        | {"path": "name", **HOW, "penalty": "name or None"},
    ),
    "TRP": (
        ka.TRP,
        {},
        {
            "energy": "energy",
            "period": "count",
            "nuclear": "not negative",
            "scheme": "scheme",
            "layers": "layers or None",
        }
        | {"exclude": "layers or None", "optimizer": "optimizer", "verbose": "verbose"},
    ),
    "OLMP": (
        ka.OLMP,
        {"delta": 0.1, "validation_data": (X, X[:, 0])},
        {
            "delta": "not negative",
            "validation_data": "pair",
            "search_every": "count or None",
            "stop_at": "count or None",
        }
        | {
            "method": "name",
            "settings": "custom_objects",
            "evaluations": "count",
            "batch_size": "count or None",
            "metric": "function",
        }
        | {"seed": "count from 0", "layers": "layers or None", "exclude": "layers or None", "verbose": "verbose"},
    ),
    "progressive_search": (
        ka.progressive_search,
        {"model": ..., "sparsities": [0.2, 0.5], "fit": lambda model, callbacks: None, "candidates": 1},
        {"model": "model", "sparsities": "share or shares", "fit": "function", "candidates": "count"}
        | {"validation_data": "pair or None", "monitor": "names or None", "backup_dir": "backup_dir"}
        | {"mode": "choice", "workers": "count", "verbose": "verbose"},
    ),
    "sensitivity": (
        ka.sensitivity,
        {"model": ..., "validation_data": (X, X[:, :3]), "sparsities": [0.5]},
        {"model": "model", "validation_data": "pair", "sparsities": "share or shares", "layers": "layers or None"}
        | {"exclude": "layers or None", "monitor": "names or None", "batch_size": "count", "verbose": "verbose"},
    ),
    "ADMMRegularizer": (
        ka.ADMMRegularizer,
        {"target": [1.0, 2.0], "rho": 0.5},
        {"target": "target", "rho": "not negative"},
    ),
    "Plan": (
        ka.Plan,
        {"steps": [ka.Step(target=C.Sparse(0.5))]},
        {"steps": "steps", "penalty": "name", "update_every": "every"},
    ),
    "PruningTarget": (
        ka.PruningTarget,
        {"sparsity": 0.5},
        {
            "sparsity": "share",
            "start": "share",
            "allocation": "allocation or None",
            "structure": "name",
            "path": "choice",
        }
        | {"min_keep": "count from 0", "keep_zeros": "boolean", "name": "names"},
    ),
    "constraints.Foreign": (C.Foreign, {}, {"constraint": "foreign set"}),
    "penalties.GradientPenalty": (ka.penalties.GradientPenalty, {}, PULL),
    "penalties.ProximalPenalty": (ka.penalties.ProximalPenalty, {}, PULL),
    "penalties.LossPenalty": (ka.penalties.LossPenalty, {}, PULL),
    "penalties.get": (ka.penalties.get, {}, {"penalty": "name"}),
    "retraining.get": (ka.retraining.get, {}, {"retraining": "name"}),
    "retraining.StraightThrough": (ka.retraining.StraightThrough, {}, {"settle": "share"}),
    "retraining.Snap": (ka.retraining.Snap, {}, {"fractions": "snap"}),
    "Step": (
        ka.Step,
        {"target": C.Sparse(0.5)},
        {"target": "sets", "admm_epochs": "epochs", "retrain_epochs": "retraining epochs", "retraining": "name"}
        | {"keep_pruned": "boolean"},
    ),
    "Engine": (
        ka.Engine,
        {"model": ..., "plan": PLAN},
        {"model": "model", "plan": "plan", "layers": "layers or None", "exclude": "layers or None"}
        | {
            "optimizer": "optimizer or None",
            "name": "names",
            "biases": "boolean",
            "in_fit": "boolean",
            "state": "choice",
        },
    ),
    "Engine.begin": (begun, {"model": ...}, {"epochs": "count", "steps_per_epoch": "count"}),
    "Engine.set_learning_rate": (rated, {"model": ...}, {"rate": "not negative or None"}),
    "Engine.load_state_dict": (loaded, {"model": ..., "state": {}}, {"state": "state"}),
    "allocate": (
        ka.allocate,
        {"arrays": {"a": X}, "sparsity": 0.5},
        {"arrays": "arrays", "sparsity": "share", "how": "allocation", "min_keep": "count from 0"},
    ),
    "allocation.OWL": (
        ka.allocation.OWL,
        {"data": X},
        {"data": "data", "threshold": "positive", "spread": "positive", "batch_size": "count"},
    ),
    "allocation.Saliency": (
        ka.allocation.Saliency,
        {"data": (X, X[:, :3]), "loss": "mse"},
        {"data": "pair", "loss": "choice or None", "batch_size": "count"},
    ),
    "latency": (
        ka.latency,
        {"a": ..., "b": ..., "data": X},
        {"a": "model or file", "b": "model or file", "data": "data", "threads": "count", "runs": "count"},
    ),
    "load": (ka.load, {"path": "m.kadmm"}, {"path": "path", "safe_mode": "boolean", **READING}),
    "save": (ka.save, {"model": ..., "path": "m.kadmm"}, {"model": "model", "path": "path"}),
    "packed.pack": (ka.packed.pack, {}, {"model": "model"}),
    "packed.sizes": (ka.packed.sizes, {"source": ...}, {"source": "source", **READING}),
    "search.minimize": (
        ka.search.minimize,
        {"f": sum, "x0": [1.0, 2.0], "bounds": (0, 3), "budget": 5},
        {"budget": "count", "seed": "count from 0", "method": "name"},
    ),
    "mask": (ka.mask, {}, {"model": "model"}),
    "strip": (ka.strip, {}, {"model": "model"}),
    "purify": (ka.purify, {}, {"model": "model"}),
    "shrink": (ka.shrink, {"model": ...}, {"model": "model", "round_to": "count", "layers": "layers"}),
    "factorize": (
        ka.factorize,
        {"model": ..., "rank": 1},
        {"model": "model", "rank": "count or None", "energy": "energy or None", "budget": "budget or None"}
        | {
            "data": "data or None",
            "num_samples": "count",
            "correction": "fraction",
            "scheme": "choice",
            "layers": "layers or None",
            "exclude": "layers or None",
            "verbose": "verbose",
        },
    ),
    "prune_layerwise": (
        ka.prune_layerwise,
        {"model": ..., "data": X},
        {"model": "model", "data": "data", "sparsity": "share", "method": "name", "structure": "name or None"}
        | {"allocation": "allocation or None", "layers": "layers or None", "exclude": "layers or None"}
        | {"num_samples": "count", "batch_size": "count", "damping": "not negative", "seed": "count from 0"}
        | {"verbose": "verbose"},
    ),
    "quantize_layerwise": (
        ka.quantize_layerwise,
        {"model": ..., "data": X},
        {"model": "model", "data": "data", "levels": "layerwise levels", "sparsity": "share or None"}
        | {"structure": "name or None", "layers": "layers or None", "exclude": "layers or None"}
        | {"num_samples": "count", "batch_size": "count", "damping": "not negative", "seed": "count from 0"}
        | {"verbose": "verbose"},
    ),
    "layerwise.OutputComponents": (ka.layerwise.OutputComponents, {}, {"correction": "fraction"}),
    "layerwise.ADMM": (
        ka.layerwise.ADMM,
        {},
        {"rho": "positive", "iterations": "count", "fits": "count from 0", "correction": "fraction"},
    ),
    "LowRankTarget": (
        ka.LowRankTarget,
        {"rank": 1},
        {"rank": "count or None", "energy": "energy or None", "budget": "budget or None", "scheme": "scheme"}
        | {"path": "name", "name": "names"},
    ),
    "graph.rebuild": (
        ka.graph.rebuild,
        {"model": ...},
        {"model": "model", "layer_for": "function of a layer", "call": "function", "value": "function"},
    ),
    "graph.observe": (
        observed,
        {"layers": [keras.layers.Dense(2)], "on_call": print},
        {"layers": "layers themselves", "on_call": "function"},
    ),
    "explain.saliency": (
        ka.explain.saliency,
        {"model": ..., "x": X},
        {
            "model": "model",
            "x": "samples",
            "target": "class",
            "method": "name",
            "steps": "count",
            "seed": "count from 0",
        }
        | {"noise": "not negative", "baseline": "tensor", "batch_size": "count"},
    ),
    "explain.temporal_scores": (
        ka.explain.temporal_scores,
        {"model": ..., "x": X},
        {"model": "model", "x": "samples", "target": "class", "mode": "name", "batch_size": "count"},
    ),
    "explain.mutagenesis": (
        ka.explain.mutagenesis,
        {"model": ..., "x": X},
        {"model": "model", "x": "samples", "target": "class", "batch_size": "count"},
    ),
    "explain.optimize_input": (
        ka.explain.optimize_input,
        {"model": ..., "target": 1, "like": X},
        {"model": "model", "target": "class", "like": "samples", "count": "count", "steps": "count"}
        | {"learning_rate": "not negative", "penalty": "not negative", "seed": "count from 0"},
    ),
    "explain.activating_windows": (
        ka.explain.activating_windows,
        {"model": ..., "layer": "head", "x": X},
        {"model": "model", "layer": "name", "x": "samples", "share": "share", "most": "count", "batch_size": "count"},
    ),
    "compare": (
        ka.compare,
        {"models": {"a": keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])}, "x": X, "y": [1, 2]},
        {"models": "names", "x": "samples", "y": "classes", "method": "name", "top": "part", "truth": "tensor or None"}
        | {"motifs": "motifs", "batch_size": "count"},
    ),
    "dashboard": (
        ka.dashboard,
        {"models": {"a": keras.Sequential([keras.Input((1, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])}}
        | {"x": X[:, None], "y": [1, 2], "path": "p.html", "steps": 0},
        {"models": "names", "x": "samples", "y": "classes", "path": "path", "alphabet": "alphabet or None"}
        | {"samples": "count", "method": "name", "truth": "tensor or None", "motifs": "motifs", "seed": "count from 0"}
        | {"steps": "count from 0"},
    ),
    "explain.read_meme": (ka.explain.read_meme, {}, {"path": "path"}),
    "explain.match_motifs": (
        ka.explain.match_motifs,
        {"pwm": X, "motifs": [ka.explain.Motif("m", "", X)]},
        {"pwm": "tensor", "motifs": "names", "most": "count", "shuffles": "count", "seed": "count from 0"},
    ),
    "report": (
        ka.report,
        {"model": ...},
        {"model": "model", "layers": "layers or None", "exclude": "layers or None", "input_shape": "input_shape"}
        | {"structure": "name or None"},
    ),
    "report.to_text": (reported, {"model": ..., "method": "to_text"}, {"details": "boolean"}),
    "report.to_markdown": (reported, {"model": ..., "method": "to_markdown"}, {"details": "boolean"}),
    "report.to_html": (
        reported,
        {"model": ..., "method": "to_html", "path": "p.html"},
        {"path": "backup_dir", "history": "history or None", "details": "boolean"},
    ),
    "report.plot": (
        reported,
        {"model": ..., "method": "plot", "path": "p.png"},
        {"path": "path", "history": "history or None"},
    ),
    "plots.plot_history": (
        plot_history,
        {"history": {"sparsity": [0.5]}, "path": "p.png"},
        {"history": "history", "path": "path"},
    ),
    "plots.plot_widths": (
        plot_widths,
        {"dense": ..., "small": ..., "path": "p.png"},
        {"dense": "model", "small": "model", "path": "path"},
    ),
    "layers.Masked": (
        ka.layers.Masked,
        {"layer": keras.layers.Dense(2)},
        {"layer": "layer", "masks": "masks"},
    ),
    "constraints.Sparse": (C.Sparse, {"sparsity": 0.5}, {"sparsity": "share", "structure": "name", "axes": "axes"}),
    "constraints.Support": (C.Support, {}, {"mask": "mask"}),
    "constraints.Levels": (
        C.Levels,
        {"bits": 4},
        {"bits": "bits", "zero": "boolean", "scope": "name", "fit": "name"},
    ),
    "constraints.Binary": (C.Binary, {}, {"scope": "name", "keep_zeros": "boolean"}),
    "constraints.Ternary": (C.Ternary, {}, {"scope": "name", "keep_zeros": "boolean"}),
    "constraints.PowersOfTwo": (C.PowersOfTwo, {"bits": 4}, {"bits": "bits", "zero": "boolean", "scope": "name"}),
    "constraints.Codebook": (
        C.Codebook,
        {"size": 4},
        {"size": "size", "keep_zeros": "boolean", "scope": "name", "zero": "boolean"},
    ),
    "constraints.Joint": (
        C.Joint,
        {"sparse": C.Sparse(0.5), "levels": C.Levels(4)},
        {"sparse": "sparse set", "levels": "level set"},
    ),
    "constraints.LowRank": (
        C.LowRank,
        {"rank": 2},
        {"rank": "count or None", "energy": "energy or None", "scheme": "scheme"},
    ),
    "constraints.LowRank of energy": (lambda energy: C.LowRank(energy=energy), {}, {"energy": "energy"}),
    "constraints.Sparse()": (called(C.Sparse(0.5)), {}, {"x": "finite tensor"}),
    "constraints.Support()": (called(C.Support([True, False])), {}, {"x": "tensor"}),
    "constraints.Levels()": (called(C.Levels(4)), {}, {"x": "finite tensor"}),
    "constraints.Codebook()": (called(C.Codebook(4)), {}, {"x": "finite tensor"}),
    "constraints.Binary()": (called(C.Binary()), {}, {"x": "finite tensor"}),
    "constraints.LowRank()": (called(C.LowRank(1)), {}, {"x": "finite tensor"}),
    "constraints.Joint()": (called(C.Joint(C.Sparse(0.5), C.Levels(4))), {}, {"x": "finite tensor"}),
    "export.for_xnnpack": (ka.export.for_xnnpack, {}, {"model": "model"}),
    "export.strip_tfmot": (ka.export.strip_tfmot, {}, {"model": "model"}),
    "export.tfmot": (ka.export.tfmot, {"model": ...}, {"model": "model", "scheme": "choice", "skip": "boolean"}),
    "export.to_tf_keras": (
        ka.export.to_tf_keras,
        {"model": ...},
        {"model": "model", "batch_size": "count or None"},
    ),
    "export.litert": (
        ka.export.litert,
        {"model": ..., "path": "m.tflite"},
        {"model": "model", "path": "path", "quantize": "recipe", "representative_data": "samples"}
        | {"check_data": "samples", "tolerance": "not negative", "sparse": "sparse in the file"}
        | {"integer_io": "boolean"},
    ),
    "schedules.tighten": (
        schedules.tighten,
        {"start": 0.0, "end": 0.5, "fraction": 0.5},
        {"start": "share", "end": "share", "fraction": "fraction", "path": "choice"},
    ),
    "schedules.rho_factor": (
        schedules.rho_factor,
        {"growth": "balance", "rho": 0.1, "residuals": None},
        {"growth": "growth", "rho": "not negative", "ratio": "positive", "change": "positive"},
    ),
}
SENTENCE = re.compile(r"must.* Received: .+\. [A-Z`].*\.$|every argument must be|expected. Received: .+\.", re.DOTALL)


def outcome(make, arguments):
    """Nothing if a call is refused with a sentence of ours; else what happened instead."""
    try:
        made = make(**arguments)
    except (TypeError, ValueError) as error:
        return None if SENTENCE.search(str(error)) else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"accepted, {checks.shown(made)}"


ROWS = [(name, argument) for name, (_, _, each) in TABLE.items() for argument in each]
# What is no tensor each backend says in its own way.
ROWS = [pytest.param(*row, marks=pytest.mark.every_backend if "()" in row[0] else ()) for row in ROWS]


@pytest.mark.parametrize("name, argument", ROWS)
def test_a_bad_value_gets_a_sentence(name, argument, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, given, each = TABLE[name]
    given = {key: model if value is ... else value for key, value in given.items()}
    for value in kinds(each[argument]):
        said = outcome(make, {**given, argument: value})
        assert said is None, f"{name}({argument}={checks.shown(value)}): {said}"
    assert not list(tmp_path.iterdir())


def public():
    """Every class and function that the package and its public rooms hold, by its name there."""
    for room, owner in {
        "": ka,
        "constraints.": C,
        "layers.": ka.layers,
        "packed.": ka.packed,
        "export.": ka.export,
        "explain.": ka.explain,
    }.items():
        for name, thing in vars(owner).items():
            if not name.startswith("_") and callable(thing) and thing.__module__.startswith("keras_admm"):
                yield room + name, thing


# Told apart from the table: what has no arguments of its own, and what is made by us alone.
NOT_CALLED = {"PackedFileError", "packed.PackedFileError", "packed.TensorSize", "packed.Sizes"}
NOT_CALLED |= {"Target", "penalties.Penalty", "retraining.Retraining"}  # abstract
NOT_CALLED |= {f"retraining.{each}" for each in ("fix", "retraining_of", "value_table", "multiples", "clusters")}
NOT_CALLED |= {
    "retraining.QuantizedRetraining",
    "constraints.Set",
    "constraints.Codes",
    "constraints.as_set",
    "constraints.is_foreign",
}
NOT_CALLED |= {
    "constraints.Axes",
    "constraints.group_norms",
    "constraints.group_sums",
    "constraints.pattern",
    "constraints.says_sparsity",
}
NOT_CALLED |= {"constraints.view"}
NOT_CALLED |= {f"explain.{each}" for each in ("NamedArray", "Windows", "Motif", "Match", "Compared", "Comparison")}
NOT_CALLED |= {"constraints.chunks", "constraints.check_sparsity", "constraints.reached_by"}
NOT_CALLED |= {"constraints.reached_with_ties", "constraints.counts_of_largest"}
NOT_CALLED |= {"constraints.library", "constraints.nonzeros"}
NOT_CALLED |= {"layers.Mask", "layers.kernels_of", "layers.masked_value", "constraints.Pattern", "constraints.View"}
NOT_CALLED |= {"constraints.factors", "constraints.check_energy", "constraints.check_scheme"}
NOT_CALLED |= {"constraints.full_rank", "constraints.rows_of", "constraints.least_rank", "constraints.spectrum"}
NOT_CALLED |= {"constraints.truncated", "constraints.as_matrix", "constraints.from_matrix"}


def test_every_public_callable_is_in_the_table():
    rows = {id(make): each for make, _, each in TABLE.values()}
    missing = []
    for name, thing in public():
        if name not in NOT_CALLED:
            parameters = [p.name for p in inspect.signature(thing).parameters.values() if p.kind < p.VAR_KEYWORD]
            missing += [f"{name}({p})" for p in parameters if p != "args" and p not in rows.get(id(thing), {})]
    assert not missing


def test_a_table_of_bad_values_can_fail():
    assert outcome(lambda x: x, {"x": 1}) == "accepted, 1"
    assert outcome(float, {"x": 1}).startswith("TypeError")
    assert outcome(int, {"base": Odd()}) is not None
