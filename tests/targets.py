"""Every kind of target that a run may have; as a program it prints what identifies a run of each, in JSON."""

import functools
import json

import keras
import numpy as np

import keras_admm as ka
from keras_admm.constraints import Codebook, Joint, Levels, LowRank, PowersOfTwo, Sparse, Support
from keras_admm.engine import Engine

SAMPLES = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")


def evenly(arrays, sparsity, least=1):
    return {n: max(least, round((1 - sparsity) * a.size)) for n, a in arrays.items()}


def halves(share):
    """A target that has closed over its share."""
    return lambda arrays, fraction: {n: Sparse(share * (1 + fraction)) for n in arrays}


def supports(arrays, fraction):
    return {n: Support(np.random.default_rng(0).random(a.shape) < 0.5) for n, a in arrays.items()}


# What is pruned, and what comes to few values: these are retrained in one of three ways.
SPARSE = {
    "sparsity": lambda **k: ka.ADMMPrune(0.5, **k),
    "list of sparsities": lambda **k: ka.ADMMPrune([0.5, 0.9], **k),
    "geometric path": lambda **k: ka.ADMMPrune([0.5, 0.9], path="geometric", **k),
    "cubic path": lambda **k: ka.ADMMPrune(0.9, path="cubic", **k),
    "erk": lambda **k: ka.ADMMPrune([0.5, 0.8], allocation="erk", **k),
    "lamp": lambda **k: ka.ADMMPrune([0.5, 0.8], allocation="lamp", **k),
    "uniform blocks": lambda **k: ka.ADMMPrune(0.5, allocation="uniform", structure="block(1,2)", **k),
    "one of two": lambda **k: ka.ADMMPrune(structure="1:2", **k),
    "allocation by patterns": lambda **k: ka.ADMMPrune(0.5, allocation={"*": 0.5, "head": 0.25}, **k),
    "allocation by patterns, in another order": lambda **k: ka.ADMMPrune(0.5, allocation={"head": 0.25, "*": 0.5}, **k),
    "allocation by a function": lambda **k: ka.ADMMPrune(0.5, allocation=evenly, **k),
    "allocation by a partial": lambda **k: ka.ADMMPrune(0.5, allocation=functools.partial(evenly, least=2), **k),
    "allocation by a lambda": lambda **k: ka.ADMMPrune(0.5, allocation=lambda a, s: evenly(a, s, 3), **k),
    "owl": lambda **k: ka.ADMMPrune([0.5, 0.8], allocation=ka.allocation.OWL(SAMPLES, threshold=1.5), **k),
    "parameters by owl": lambda **k: ka.ADMMPrune(
        budget={"params": 0.5}, allocation=ka.allocation.OWL(SAMPLES, threshold=1.5), **k
    ),
    "saliency": lambda **k: ka.ADMMPrune(
        [0.5, 0.8], allocation=ka.allocation.Saliency((SAMPLES, SAMPLES[:, :6]), "mse"), structure="column", **k
    ),
    "one set for all": lambda **k: ka.ADMM(Sparse(0.5), **k),
    "layers by a callable": lambda **k: ka.ADMMPrune(
        0.5, layers=lambda v: "kernel" in v.path and "head" not in v.path, **k
    ),
    "a callable": lambda **k: ka.ADMM(supports, **k),
    "closures": lambda **k: ka.ADMM([halves(0.25), halves(0.4)], **k),
    "channels": lambda **k: ka.ADMMPrune(structure="channel", budget={"params": 0.5}, **k),
    "parameters": lambda **k: ka.ADMMPrune(budget={"params": 0.5}, **k),
    "bytes": lambda **k: ka.ADMMPrune(budget={"bytes": 0.9}, **k),
    "shares of channels": lambda **k: ka.ADMMPrune([0.3, 0.5], structure="channel", **k),
    "adaptive": lambda **k: ka.ADMMAdaptive({"params": 0.5}, **k),
    "biases": lambda **k: ka.ADMMPrune([0.5, 0.8], biases=True, **k),
}
VALUES = {
    "bits": lambda **k: ka.ADMMQuantize(3, **k),
    "binary": lambda **k: ka.ADMMQuantize(levels="binary", **k),
    "ternary": lambda **k: ka.ADMMQuantize(levels="ternary", **k),
    "powers of two": lambda **k: ka.ADMMQuantize(3, levels="power_of_two", **k),
    "bits by channel": lambda **k: ka.ADMMQuantize(3, scope="channel", biases=True, **k),
    "clusters": lambda **k: ka.ADMMCluster(4, **k),
    "clusters, the outer ones last": lambda **k: ka.ADMMCluster(4, first_last="last", **k),
    "clusters and 0": lambda **k: ka.ADMMCluster(4, zero=True, **k),
    "pruned, then clusters and 0": lambda **k: ka.ADMM([Sparse(0.5), Codebook(4, zero=True)], **k),
    "joint": lambda **k: ka.ADMM([Joint(Sparse(0.5), Levels(3, zero=False)), Joint(Sparse(0.7), Codebook(3))], **k),
    "sets by patterns": lambda **k: ka.ADMM({"*kernel": Codebook(4), "*bias": Levels(4)}, biases=True, **k),
    "sets of steps": lambda **k: ka.ADMM([Sparse(0.5), {"*": Levels(3, zero=False), "head": PowersOfTwo(3)}], **k),
}
LOW_RANK = {
    "ranks by energy": lambda **k: ka.ADMMLowRank(energy=0.7, retrain_epochs=1, **k),
    "ranks by a budget": lambda **k: ka.ADMMLowRank(budget={"macs": 0.6}, retrain_epochs=1, **k),
    "low rank as a set": lambda **k: ka.ADMM(LowRank(energy=0.7), **k),
}
TARGETS = {**SPARSE, **VALUES, **LOW_RANK}


def model():
    dense = keras.layers.Dense
    hidden = [dense(10, activation="relu"), keras.layers.Dropout(0.2), dense(8, activation="relu")]
    return keras.Sequential([keras.Input((8,)), *hidden, dense(6, name="head")])


def identities():
    """What identifies a run of each target, by name."""
    found = {}
    for name, make in TARGETS.items():
        run = make()
        engine = Engine(model(), run.plan, run.layers, run.exclude, optimizer=None, biases=run.biases)
        found[name] = engine.identity
    return found


if __name__ == "__main__":
    print(json.dumps(identities()))
