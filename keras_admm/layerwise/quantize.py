"""`quantize_layerwise`: a trained model is quantized or clustered layer by layer, on a few samples, without labels."""

import keras

from keras_admm import checks, hints, weights
from keras_admm.constraints import Levels, Pattern, Set
from keras_admm.layerwise import samples
from keras_admm.layerwise.prune import begin, pruning_target, sets_for
from keras_admm.layerwise.report import LayerwiseReport
from keras_admm.layerwise.run import Run, candidates
from keras_admm.layerwise.solver import ADMM
from keras_admm.layerwise.values import OnValues
from keras_admm.plan import as_target


def quantize_layerwise(
    model: keras.Model,
    data: hints.Data,
    levels: int | Set = 4,
    *,
    sparsity: float | None = None,
    structure: str | Pattern | None = None,
    layers: hints.Weights = None,
    exclude: hints.Weights = None,
    num_samples: int = 128,
    batch_size: int = 8,
    damping: float = 0.01,
    seed: int = 0,
    verbose: int = 1,
) -> LayerwiseReport:
    """Quantizes or clusters a trained model layer by layer on a few samples: post-training quantization of weights.

    For each kernel in the order in which they compute it solves `argmin_W ||X W - X W0||^2` over kernels `W` of few
    values, which may be sparse as well; see `keras_admm.prune_layerwise` for `X`, and for the layers that can be.
    Weights stay floats on their levels. On the default ones, Keras's int4 then holds them as they are, a scale for each
    output: `model.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=-1))`. (Without a config, Keras
    3.15 has a scale and a zero for each 128 inputs, which are other levels.)

    Args:
        model: a built model of Keras 3, on any backend. It is changed in place.
        data: the samples; see `keras_admm.prune_layerwise`.
        levels: int, the bits of equal steps around zero whose largest is the largest weight of an output channel:
            `constraints.Levels(bits, scope="channel", fit="max")`; or any set of few values, such as
            `constraints.Codebook(16)`, `constraints.Ternary("channel")`.
        sparsity: float in `[0, 1)`, the share of weights that are zero beside that, chosen as in
            `keras_admm.prune_layerwise`; None for no pruning.
        structure: of what is zero, as there; `"2:4"` needs no sparsity.
        layers, exclude, num_samples, batch_size, damping, seed, verbose: see `keras_admm.prune_layerwise`.

    Returns:
        A `LayerwiseReport`.

    Raises:
        ValueError, TypeError: as `keras_admm.prune_layerwise` does; for levels without a place for zeros beside a
            sparsity.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(4)])
    >>> x = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
    >>> report = quantize_layerwise(model, x, 3, sparsity=0.5, verbose=0)
    >>> max(len(np.unique(channel)) for channel in keras.ops.convert_to_numpy(model.layers[0].kernel).T) <= 7
    True

    Reference: Frantar et al., "GPTQ", arXiv:2210.17323; Zhang et al., "COMQ", arXiv:2403.07134; the share of lost
    activations that layers make up for: Li et al., "GPTAQ", arXiv:2504.02692.
    """
    name = "quantize_layerwise"
    levels = _checked(name, levels)
    batches = begin(name, model, data, num_samples, batch_size, damping, seed, verbose)
    target = as_target(name, levels)
    if sparsity is not None or structure is not None:
        target = pruning_target(name, 0.5 if sparsity is None else sparsity, structure, "uniform")
        _check_zeros(name, levels)
    items, skipped = candidates(model, weights.choose(model, layers, exclude, training=False))
    samples.check_runs(name, model, batches[0])
    sets, misfits = sets_for(name, model, items, target, skipped)
    method = OnValues(levels, ADMM())
    return Run(name, method, damping, verbose).compress(model, batches, items, sets, skipped | misfits)


def _checked(name, levels):
    if isinstance(levels, Set) and levels.says_codes:
        return levels
    if isinstance(levels, Set):
        must = "a number of bits, or a constraint of few values"
        raise TypeError(checks.refused(name, "levels", must, levels, "Pass 4, or constraints.Codebook(16)."))
    return Levels(checks.integer(name, "levels", levels, 2, 16, "Pass 4."), scope="channel", fit="max")


def _check_zeros(name, levels):
    if not levels.zeros_apart:
        raise ValueError(
            f"{name}: what is pruned must stay 0. Received: a set that moves zeros, {type(levels).__name__} with "
            f"{levels.get_config()}. Pass keep_zeros=True."
        )
