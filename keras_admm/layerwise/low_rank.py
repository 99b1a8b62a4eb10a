"""Kernels of low rank after training, layer by layer: those with which layers give most nearly what they gave."""

import contextlib

import numpy as np

from keras_admm import weights
from keras_admm.constraints import LowRank
from keras_admm.layerwise import samples
from keras_admm.layerwise.components import Components
from keras_admm.layerwise.methods import Method, check_correction
from keras_admm.layerwise.report import LayerwiseReport, LayerwiseRow
from keras_admm.layerwise.run import Run, candidates

BATCH_SIZE, DAMPING, SEED = 32, 0.01, 0


class OutputComponents(Method):
    """The kernel of a rank with which a layer gives most nearly what it gave: see `Components`.

    Args:
        correction: see `ADMM`; here all that the layers in front have lost is made up for, as far as may be.

    Reference: Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection",
    arXiv:1505.06798, which also fits each layer to what the model gave on what the smaller one does.
    """

    def __init__(self, correction: float = 1.0):
        self.correction = check_correction("OutputComponents", correction)

    def solve(self, problem, constraint):
        return constraint.project(Components(problem, constraint.scheme).kernel(constraint.rank)[0])

    def check(self, constraint):
        if not isinstance(constraint, LowRank) or constraint.rank is None:
            raise ValueError(
                "OutputComponents: the set must be a constraints.LowRank of a rank. Received: "
                f"{type(constraint).__name__} with {constraint.get_config()}. Use method='admm' for it, or "
                "keras_admm.factorize(model, rank=..., data=...) for low rank."
            )


class _Noted(Method):
    """Leaves every kernel as it is, and notes the problem of its layer."""

    def __init__(self):
        self.found = []

    def solve(self, problem, constraint):
        self.found.append(problem)
        return problem.kernel(problem.w)


def given(name, model, data, variables, schemes, num_samples):
    """The `Components` of each kernel's layer in the model as it is, a dict by name; layers without one are left out.

    Args:
        name, model, data, num_samples: see `of_rank`.
        variables: dict of names to kernels.
        schemes: dict of some of the names to the scheme of each: those that are looked at.
    """
    method, batches = _Noted(), samples.batches(name, data, num_samples, BATCH_SIZE, SEED)
    samples.check_runs(name, model, batches[0])
    items, skipped = candidates(model, {n: variables[n] for n in schemes})
    report = Run(name, method, 0.0, 0).compress(model, batches, items, dict.fromkeys(items), skipped)
    found = zip(report.rows, method.found, strict=True)
    return {row.name: Components(problem, schemes[row.name]) for row, problem in found}


@contextlib.contextmanager
def of_rank(name, model, data, variables, sets, found, num_samples, correction):
    """Within it kernels of a model are of low rank; behind it they are what they were.

    Args:
        name: str, name used in error messages.
        model: the model.
        data: samples of its inputs; see `prune_layerwise`.
        variables: dict of names to kernels.
        sets: dict of some of the names to the `constraints.LowRank` of each, a rank given.
        found: dict of names to their `Components`.
        num_samples: int.
        correction: see `OutputComponents`; with 0 each layer is seen by itself, as it is in the model.

    Gives:
        The `LayerwiseReport`, in which those are `skipped` that stay as they were.
    """
    batches = samples.batches(name, data, num_samples, BATCH_SIZE, SEED)
    samples.check_runs(name, model, batches[0])
    items, skipped = candidates(model, {n: variables[n] for n in sets})
    method, sets = OutputComponents(correction), {n: sets[n] for n in items}
    before = {n: weights.read(item.variable) for n, item in items.items()}
    try:
        if correction:
            yield Run(name, method, DAMPING, 0).compress(model, batches, items, sets, skipped)
        else:
            yield LayerwiseReport(tuple(_alone(items[n], sets[n], found[n]) for n in sets if n in found), skipped)
    finally:
        for n, value in before.items():
            weights.write(items[n].variable, value)


def _alone(item, constraint, given):
    """A kernel of a rank with which its layer gives most nearly what it gave, whatever happens to others."""
    kernel, lost = given.kernel(constraint.rank)
    kernel = constraint.project(kernel)
    weights.write(item.variable, kernel)
    return LayerwiseRow(item.name, kernel.shape, int(np.count_nonzero(kernel)), lost)
