"""Prune a language model after training, without labels: `python examples/stories_layerwise.py --data FOLDER`.

A model of 260,000 parameters that tells stories (see stories.py) is pruned layer by layer on 30 windows of 256 tokens,
the same share in each layer, by magnitudes, Wanda, SparseGPT, Boza's ADMM, ALPS and `ka.prune_layerwise` as it is by
default; the perplexity is of 31 other windows of the same text. How much of what the layers in front have lost a layer
makes up for is chosen on 8 of the 30 windows, which are then held out. Last, the model pruned to half is retrained for
300 steps on the 30 windows, its zeros held.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np
from stories import given, logits_in_numpy, windows

import keras_admm as ka
from keras_admm import admm
from keras_admm.constraints import Sparse
from keras_admm.schedules import tighten

LENGTH, CALIBRATION, HELD_OUT = 256, 30, 8
CORRECTIONS = (0.0, 0.3, 0.5, 0.7, 1.0)
STEPS, EVERY, RATE = 300, 50, 1e-4


class Boza(ka.layerwise.Method):
    """ADMM with a mask that grows to its sparsity in 15 of 20 steps, as published: the penalty stays 1.

    Reference: Boza, "Fast and Effective Weight Update for Pruned Large Language Models", arXiv:2401.02938.
    """

    steps, growing, damping = 20, 15, 0.1

    def solve(self, problem, constraint):
        gram = problem.gram / (problem.scale * problem.scale.transpose(0, 2, 1))
        gram = gram + self.damping * np.eye(gram.shape[1])
        w = target = problem.w * problem.scale
        wanted, inverse = gram @ target, np.linalg.inv(gram + np.eye(gram.shape[1]))
        state = admm.ADMMState(z=w, u=np.zeros_like(w))
        for step in range(1, self.steps + 1):
            if step <= self.growing:
                now = self._tightened(constraint, step / self.growing)
                mask = problem.project(now, w + state.u) != 0
            state, _ = admm.step(w, state, lambda x, mask=mask: x * mask)
            w = inverse @ (wanted + state.z - state.u)
        return problem.kernel((w + state.u) * mask / problem.scale)

    @staticmethod
    def _tightened(constraint, fraction):
        if ":" in constraint.structure:
            return constraint
        return Sparse(tighten(0.0, constraint.sparsity, fraction, "cubic"), axes=constraint.axes)


def perplexity(model, tokens):
    """The exponential of the mean cross-entropy of each next token."""
    logits = model.predict(tokens, batch_size=8, verbose=0)[:, :-1].astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)
    found = np.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0] - np.log(np.exp(logits).sum(axis=-1))
    return float(np.exp(-found.mean()))


class Stories:
    """The model that is given, pruned anew each time."""

    def __init__(self, folder):
        self.tokens = windows(folder, LENGTH)
        self.model = given(folder, LENGTH)
        self._dense = self.model.get_weights()

    def restore(self):
        self.model.set_weights(self._dense)

    def pruned(self, tokens, seen, **how):
        """The perplexity on some windows after pruning on others, and how long that took."""
        self.restore()
        begin = time.perf_counter()
        ka.prune_layerwise(self.model, seen, num_samples=len(seen), verbose=0, **how)
        took = time.perf_counter() - begin
        return perplexity(self.model, tokens), took


def chosen(stories, share):
    """The correction with the lowest perplexity on the windows that are held out of the calibration."""
    seen, held_out = np.split(stories.tokens[:CALIBRATION], [CALIBRATION - HELD_OUT])
    found = {}
    for correction in CORRECTIONS:
        found[correction], _ = stories.pruned(held_out, seen, method=ka.layerwise.ADMM(correction=correction), **share)
    listed = ", ".join(f"{correction} {value:.2f}" for correction, value in found.items())
    print(f"  {', '.join(map(str, share.values()))}: {listed}", flush=True)
    return min(found, key=found.get)


def ways(stories, column):
    """Each method's arguments for a sparsity or `"2:4"`; ours with what was chosen for it, or for half."""
    share = {"structure": "2:4"} if column == "2:4" else {"sparsity": column}
    ours = {"method": ka.layerwise.ADMM(correction=chosen(stories, share))}
    found = {"magnitude": {"method": "magnitude"}, "Wanda": {"method": "wanda"}, "SparseGPT": {"method": "sparsegpt"}}
    found |= {"Boza's ADMM": {"method": Boza(), "damping": 0.0}, "ALPS": {"method": ka.layerwise.ADMM(correction=0.0)}}
    found |= {"prune_layerwise": {}, "  its correction chosen": ours}
    found |= {} if column == "2:4" else {"  and allocation='owl'": {**ours, "allocation": "owl"}}
    return {name: {**share, **arguments} for name, arguments in found.items()}


def table(stories, columns):
    """Each method at each sparsity: the perplexity of the windows that none has seen, and seconds at the last."""
    seen, others = np.split(stories.tokens, [CALIBRATION])
    print(f"\nperplexity of {HELD_OUT} windows held out, by the share of what was lost in front that is made up for")
    given = {column: ways(stories, column) for column in columns}
    heads = [column if column == "2:4" else f"{column:.0%}" for column in columns]
    print(f"\n{f'perplexity of {len(others)} windows':26}{''.join(f'{head:>8}' for head in heads)}  seconds each")
    for name in given[columns[0]]:
        line, times = f"{name:26}", []
        for column in columns:
            value = "-"
            if name in given[column]:
                found, took = stories.pruned(others, seen, **given[column][name])
                value, times = f"{found:.2f}", [*times, took]
            line += f"{value:>8}"
        print(f"{line}  {np.mean(times):12.1f}", flush=True)


def retrained(stories, steps):
    """The perplexity as the model that is pruned to half is retrained on the windows that it was calibrated on."""
    seen, others = np.split(stories.tokens, [CALIBRATION])
    value, _ = stories.pruned(others, seen)
    print(f"\nretraining of half of the weights, {RATE:g} falling to 0, perplexity by steps: 0 {value:.2f}", end="")
    model, batch = ka.mask(stories.model), CALIBRATION // (EVERY // 10)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    last = np.ones(seen.shape, "float32")
    last[:, -1] = 0  # which has no next one
    for step in range(EVERY, steps + 1, EVERY):
        model.fit(seen, np.roll(seen, -1, axis=1), batch, epochs=10, sample_weight=last, verbose=0)
        print(f", {step} {perplexity(model, others):.2f}", end="", flush=True)
    print(f"\n{ka.report(ka.strip(model), exclude='embedding').total.sparsity:.2%} zeros in its kernels")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of stories260K.bin, tok512.bin and the text")
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5, 0.6])
    parser.add_argument("--steps", type=int, default=STEPS, help="of retraining")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    stories = Stories(args.data)
    few = stories.tokens[:2]
    differs = np.abs(stories.model.predict(few, verbose=0) - logits_in_numpy(args.data, few)).max()
    print(f"{len(stories.tokens)} windows; logits differ from those worked out in NumPy by {differs:.1e} at most")
    print(f"perplexity of the dense model {perplexity(stories.model, stories.tokens[CALIBRATION:]):.2f}")
    table(stories, [*args.sparsities, "2:4"])
    retrained(stories, args.steps)


if __name__ == "__main__":
    main()
