"""`prune_layerwise`: a trained model is pruned layer by layer, on a few samples, without labels and retraining."""

from typing import Literal

import keras

from keras_admm import checks, hints, weights
from keras_admm.allocation import OWL, Allocation
from keras_admm.constraints import Pattern, pattern
from keras_admm.layerwise import samples
from keras_admm.layerwise.methods import Magnitude, Method, SparseGPT, Wanda
from keras_admm.layerwise.report import LayerwiseReport
from keras_admm.layerwise.run import Run, candidates
from keras_admm.layerwise.solver import ADMM
from keras_admm.plan import PruningTarget, sets_of

NAMED = {"admm": ADMM, "sparsegpt": SparseGPT, "wanda": Wanda, "magnitude": Magnitude}


def prune_layerwise(
    model: keras.Model,
    data: hints.Data,
    sparsity: float = 0.5,
    *,
    method: str | Method = "admm",
    structure: str | Pattern | None = None,
    allocation: Allocation | Literal["owl"] = "uniform",
    layers: hints.Weights = None,
    exclude: hints.Weights = None,
    num_samples: int = 128,
    batch_size: int = 8,
    damping: float = 0.01,
    seed: int = 0,
    verbose: int = 1,
) -> LayerwiseReport:
    """Prunes a trained model layer by layer on a few samples: post-training pruning, without labels or retraining.

    For each kernel in the order in which they compute it solves `argmin_W ||X W - X W0||^2` over kernels `W` of that
    sparsity, `W0` the trained kernel and `X` what comes in to it on the samples, behind layers that are pruned already.
    Convolutions are unfolded, the axes of an `EinsumDense` are told by its equation, those of attention have a problem
    each; embeddings stay. Samples go through the model block by block: the blocks of
    `model.get_quantization_layer_structure()` where it has one, else the calls of its graph, with what is passed
    between them held for one block; a subclassed model is computed from its inputs for each layer.

    Args:
        model: a built model of Keras 3, on any backend. It is changed in place.
        data: an array, or a list or dict of arrays, one for each input, of which `num_samples` samples are drawn; or an
            iterable of batches (a `tf.data.Dataset`, a `keras.utils.PyDataset`), of inputs or of tuples that begin
            with them, the first of which are taken as they come.
        sparsity: float in `[0, 1)`, the share of zeros; a structure of the form `"m:n"` says its own.
        method: `"admm"`, see `keras_admm.layerwise.ADMM`; or one to compare with: `"sparsegpt"`, `"wanda"`,
            `"magnitude"`; or a `keras_admm.layerwise.Method`.
        structure: None for single weights, or as in `keras_admm.ADMMPrune`: `"2:4"`, `"block(1,4)"`, `"filter"`.
        allocation: `"uniform"`, the sparsity in every kernel; `"owl"`, `keras_admm.allocation.OWL` of the samples; or
            as in `keras_admm.allocate`.
        layers: which kernels, as in `keras_admm.ADMMPrune`; frozen ones too.
        exclude: which to leave out, same forms as `layers`.
        num_samples: int, how many samples.
        batch_size: int, how many go through the model at once.
        damping: float >= 0, what is added to the diagonal of `X^T X`, in shares of its mean.
        seed: int, of the draw of samples.
        verbose: 1 shows a progress bar and prints the report; 0 nothing.

    Returns:
        A `LayerwiseReport`: what each kernel kept and its error, and why others are as they were.

    Raises:
        ValueError, TypeError: before anything is changed, for a model that is not built or of tf_keras, arguments out
            of their range, data on which the model fails, or where no kernel can be pruned. While it runs, for inputs
            of a layer that are not finite.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(4)])
    >>> x = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
    >>> report = prune_layerwise(model, x, 0.75, verbose=0)
    >>> [(row.kept, row.weights) for row in report.rows]
    [(32, 128), (16, 64)]

    Reference: Meng et al., "ALPS", arXiv:2406.07831; Boza, "Fast and Effective Weight Update for Pruned Large Language
    Models", arXiv:2401.02938.
    """
    name = "prune_layerwise"
    method = named_method(name, method)
    batches = begin(name, model, data, num_samples, batch_size, damping, seed, verbose)
    if isinstance(allocation, str) and allocation == "owl":
        allocation = OWL(samples.together(batches))
    target = pruning_target(name, sparsity, structure, allocation)
    items, skipped = candidates(model, weights.choose(model, layers, exclude, training=False))
    samples.check_runs(name, model, batches[0])
    sets, misfits = sets_for(name, model, items, target, skipped)
    for constraint in sets.values():
        method.check(constraint)
    return Run(name, method, damping, verbose).compress(model, batches, items, sets, skipped | misfits)


def begin(name, model, data, num_samples, batch_size, damping, seed, verbose):
    """The batches of samples; raises for arguments that are out of their range whatever the model's weights."""
    weights.check_keras_3(name, model, "Build it with Keras 3.")
    checks.integer(name, "num_samples", num_samples)
    checks.integer(name, "batch_size", batch_size)
    must, remedy = "a number >= 0, a share of the mean of the diagonal", "Start with 0.01."
    checks.number(name, "damping", damping, 0, must, remedy)
    checks.integer(name, "seed", seed, 0)
    checks.integer(name, "verbose", verbose, 0, 1, "Pass 0 to print nothing.")
    return samples.batches(name, data, num_samples, batch_size, seed)


def sets_for(name, model, items, target, skipped):
    """The sets of a target for the items that they fit, by name, and why they do not fit others: `{name: reason}`.

    Args:
        name: str, name used in error messages.
        model: the model.
        items: dict of names to `Item`s.
        target: a `keras_admm.Target`.
        skipped: dict of the names of other kernels to reasons.

    Raises:
        ValueError: where no item is left.
    """
    variables = {n: item.variable for n, item in items.items()}
    target = target.of(model, variables)
    if not variables.keys() - target.misfits.keys():
        reasons = "; ".join(f"{n}: {reason}" for n, reason in (skipped | target.misfits).items())
        raise ValueError(
            f"{name}: at least one kernel of {model.name} must be compressible. Received: "
            f"{reasons or 'no kernel is chosen'}. Choose other layers."
        )
    return sets_of(name, target, weights.views(variables), 1.0), target.misfits


def named_method(name, method):
    """A `Method`, by name or itself."""
    if isinstance(method, Method):
        return method
    if not isinstance(method, str) or method not in NAMED:
        must = f"one of {', '.join(map(repr, NAMED))}, or a keras_admm.layerwise.Method"
        raise ValueError(checks.refused(name, "method", must, method, "Use 'admm', the most accurate one."))
    return NAMED[method]()


def pruning_target(name, sparsity, structure, allocation):
    """The target of a share of zeros, or of a structure of the form `"m:n"`."""
    structure = "element" if structure is None else structure
    says = pattern(name, structure).sparsity
    if says is None:
        return PruningTarget(sparsity, allocation=allocation, structure=structure, name=name)
    if sparsity not in (0.5, says):
        must = f"left out beside structure={structure!r}, which says its own"
        raise ValueError(checks.refused(name, "sparsity", must, sparsity, "Choose one of the two."))
    return PruningTarget(structure=structure, name=name)
