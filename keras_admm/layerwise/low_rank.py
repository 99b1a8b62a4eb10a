"""Kernels of low rank after training, layer by layer: those with which layers give most nearly what they gave."""

import contextlib

import numpy as np

from keras_admm import weights
from keras_admm.constraints import LowRank
from keras_admm.layerwise import samples
from keras_admm.layerwise.methods import Method, check_correction
from keras_admm.layerwise.run import Run, candidates

BATCH_SIZE, DAMPING, SEED = 32, 0.01, 0


class OutputComponents(Method):
    """The kernel whose outputs are the principal components of what the layer gave: `W0 V V^T`.

    It is `argmin ||X W - X W0||^2` over kernels of rank r, exactly (Eckart and Young, for `X W0`): the columns of `V`
    are the r eigenvectors of `W0^T X^T X W0` that have the largest eigenvalues.

    Args:
        correction: see `ADMM`; here all that the layers in front have lost is made up for, as far as may be.

    Reference: Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection",
    arXiv:1505.06798, which also fits each layer to what the model gave on what the smaller one does.
    """

    def __init__(self, correction: float = 1.0):
        self.correction = check_correction("OutputComponents", correction)

    def solve(self, problem, constraint):
        given = problem.w.transpose(0, 2, 1) @ problem.gram @ problem.w
        _, vectors = np.linalg.eigh(given)  # of rising eigenvalues
        kept = vectors[..., -constraint.rank :]
        return constraint.project(problem.kernel(problem.w @ kept @ kept.transpose(0, 2, 1)))

    def check(self, constraint):
        if not isinstance(constraint, LowRank) or constraint.rank is None:
            raise ValueError(
                "OutputComponents: the set must be a constraints.LowRank of a rank. Received: "
                f"{type(constraint).__name__} with {constraint.get_config()}. Use method='admm' for it, or "
                "keras_admm.factorize(model, rank=..., data=...) for low rank."
            )


@contextlib.contextmanager
def of_rank(name, model, data, variables, sets, num_samples):
    """Within it kernels of a model are of low rank; behind it they are what they were.

    Args:
        name: str, name used in error messages.
        model: the model.
        data: samples of its inputs; see `prune_layerwise`.
        variables: dict of names to kernels.
        sets: dict of some of the names to the `constraints.LowRank` of each, a rank given.
        num_samples: int.

    Gives:
        The `LayerwiseReport`, in which those are `skipped` that stay as they were.
    """
    batches = samples.batches(name, data, num_samples, BATCH_SIZE, SEED)
    samples.check_runs(name, model, batches[0])
    items, skipped = candidates(model, {n: variables[n] for n in sets})
    method = OutputComponents()
    before = {n: weights.read(item.variable) for n, item in items.items()}
    try:
        yield Run(name, method, DAMPING, 0).compress(model, batches, items, {n: sets[n] for n in items}, skipped)
    finally:
        for n, value in before.items():
            weights.write(items[n].variable, value)
