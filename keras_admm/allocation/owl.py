"""`OWL`, outlier weighed layerwise sparsity: layers whose weights and inputs have outliers keep more."""

import keras
import numpy as np
from keras import ops

from keras_admm import checks, graph, hints, inference, scoring, weights
from keras_admm.allocation.division import rounded
from keras_admm.allocation.measured import MeasuredAllocation

DATA = "an array of samples, or a list or dict of arrays"


class OWL(MeasuredAllocation):
    """Outlier weighed layerwise sparsity: the more outliers a kernel has, the more of its weights stay.

    A weight counts by `|w| * ||x||`, with the norm over `data` of the input that it multiplies. The outliers of a
    kernel are the share of its weights that count more than `threshold` times their mean; scaled to `r` in [0, 1] over
    the kernels, a kernel's density is `t + 2 * spread * r`, within [0, 1], with the one `t` for which the budget is
    spent exactly. So all are within `spread` of the mean between the extremes.

    Kernels that read something else than the inputs of their layer (of recurrence, embeddings, the second one of a
    separable convolution) are measured as if all that they read were alike.

    Args:
        data: an array of a few hundred samples as the model is called with, or a list or dict of arrays. No labels.
        threshold: float > 0, how many times the mean an outlier is: `M` of the paper, which has 5 to 10.
        spread: float > 0, `lambda` of the paper. Where the density of the whole is lower, or so high that less is left
            above it, that is taken in its place; and less where most weights are in kernels of many outliers, so that
            the other kernels keep at least half of that density.
        batch_size: int, samples in one forward pass.

    Raises:
        ValueError, TypeError: for values out of their range.

    Example:

    >>> from keras_admm.callbacks import ADMMPrune
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(2)])
    >>> model.compile("adam", "mse")
    >>> prune = ADMMPrune(0.75, allocation=OWL(x, threshold=2.0))
    >>> history = model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[prune])
    >>> round(history.history["sparsity"][-1], 2)
    0.75

    Reference: Yin et al., "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning LLMs to High
    Sparsity", arXiv:2310.05175; there of whole blocks of a transformer, here of single kernels.
    """

    def __init__(self, data: hints.Data, *, threshold: float = 5.0, spread: float = 0.08, batch_size: int = 64):
        checks.arrays("OWL", "data", data, DATA)
        scoring.check_samples("OWL", "data", data, f"{DATA}, as many samples in each", "Pass x_train[:256].")
        self.data = keras.tree.map_structure(np.asarray, data)
        self.threshold = checks.number("OWL", "threshold", threshold, 1e-12, "a number > 0, times the mean")
        self.spread = checks.number("OWL", "spread", spread, 1e-12, "a number > 0, such as 0.08")
        self.batch_size = checks.integer("OWL", "batch_size", batch_size)

    def measure(self, model, variables):
        norms = _input_norms(model, variables, self.data, self.batch_size)
        found = {}
        for name, variable in variables.items():
            counts = np.abs(weights.read(variable)) * norms[name]
            if not np.isfinite(counts).all():
                raise ValueError(
                    f"OWL: what weights multiply must be finite. Received: NaN or infinity at {name}. Look at the data."
                )
            found[name] = np.float32(np.mean(counts > self.threshold * counts.mean()))
        return found

    def shares(self, measured, sizes, budget):
        outliers = np.array([float(measured[name]) for name in sizes])
        r = (outliers - outliers.min()) / (np.ptp(outliers) or 1.0)
        n = np.array(list(sizes.values()), float)
        density = budget / n.sum()
        at_most = density / max(1.0, 4 * (n @ r) / n.sum())  # so that what has no outliers keeps half of the density
        wide = 2 * r * min(self.spread, at_most, 1 - density)
        low, high = -wide.max() - 1, 2.0
        for _ in range(60):  # halved to less than any float tells
            t = (low + high) / 2
            low, high = (low, t) if n @ np.clip(t + wide, 0, 1) > budget else (t, high)
        return rounded(dict(zip(sizes, n * np.clip(t + wide, 0, 1), strict=True)), budget, sizes)

    def get_config(self):
        return {name: getattr(self, name) for name in ("data", "threshold", "spread")}


def _input_norms(model, variables, data, batch_size):
    """The norm of what each weight multiplies over all samples, `{name: array}`, to be broadcast to the variable."""
    owners = {id(v): layer for layer in graph.every_layer(model) for v in layer.variables}  # the innermost come last
    axes, squares = weights.axes(model, variables), {}
    readers = {name: owners[id(v)] for name, v in variables.items() if _reads_inputs(owners[id(v)], v)}

    def note(call):
        for name in (name for name, layer in readers.items() if layer is call.layer and not call.in_loop):
            found = _squares(call, axes[name].of(len(variables[name].shape)), tuple(variables[name].shape))
            squares[name] = squares.get(name, 0.0) + found

    with graph.observe(list({id(layer): layer for layer in readers.values()}.values()), note):
        for batch in inference.batches(data, batch_size):
            inference.call(model, batch)
    return {name: np.sqrt(squares.get(name, 1.0)) for name in variables}


def _reads_inputs(layer, variable):
    """Whether a kernel is the first of its layer, which is what multiplies the layer's inputs."""
    kernels = weights.kernels(layer)
    return bool(kernels) and kernels[0] is variable and not weights.of_class(layer, "Embedding")


def _squares(call, axes, shape):
    """The sum of the squares of what each input of a kernel reads in a call, with as many axes as the kernel.

    Where the inputs of the layer are not those of the kernel, 1.
    """
    x = np.square(ops.convert_to_numpy(ops.cast(keras.tree.flatten(call.inputs)[0], "float32")).astype(float))
    if getattr(call.layer, "data_format", None) == "channels_first":
        x = np.moveaxis(x, 1, -1)
    read = sorted((*axes.inputs, *axes.groups))
    sizes = tuple(shape[axis] for axis in read)
    if x.shape[-len(read) :] == sizes and read:
        sums = x.reshape(-1, *sizes).sum(axis=0)
        return sums.reshape([shape[axis] if axis in read else 1 for axis in range(len(shape))])
    grouped = len(read) == 1 and read[0] == len(shape) - 2 and not x.shape[-1] % sizes[0]
    if not grouped:
        return np.float64(1)
    sums = x.reshape(-1, x.shape[-1] // sizes[0], sizes[0]).sum(axis=0)  # a group of channels for each of the outputs
    return np.repeat(sums.T, shape[-1] // len(sums), axis=1)
