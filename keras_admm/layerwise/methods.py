"""Ways to prune one layer after training: by magnitude, Wanda, SparseGPT; ADMM has a file of its own."""

import abc

import numpy as np

from keras_admm import checks
from keras_admm.constraints import Pattern, Set, Sparse, View, pattern
from keras_admm.layerwise.problem import Problem

BLOCK = 128  # inputs that SparseGPT chooses the zeros of at once


class Method(abc.ABC):
    """A way to solve the problem of one layer. Base class of what `prune_layerwise` takes as `method`.

    Attributes:
        correction: float in [0, 1], which share of what the layers in front of a layer have lost its kernel is to make
            up for. Where it is not 0, samples go through the model as it was as well.
    """

    correction = 0.0

    @abc.abstractmethod
    def solve(self, problem: Problem, constraint: Set) -> np.ndarray:
        """The kernel in a set that is to give what the layer gave.

        Args:
            problem: a `Problem`.
            constraint: a `keras_admm.constraints.Set` of kernels.

        Returns:
            A float32 array of the kernel's shape, in the set.
        """

    def check(self, constraint: Set) -> None:  # noqa: B027, any set will do unless a subclass says otherwise
        """Raises ValueError for a set that it cannot reach."""


class Magnitude(Method):
    """The nearest kernel in the set, whatever comes in."""

    def solve(self, problem, constraint):
        return constraint.project(problem.kernel(problem.w))


class Wanda(Method):
    """The largest products of magnitude and norm of the input, for each output; what stays is as it was.

    Reference: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", arXiv:2306.11695.
    """

    def solve(self, problem, constraint):
        if isinstance(constraint, Sparse) and constraint.structure == "element":
            constraint = Sparse(constraint.sparsity, EachOutput(), constraint.axes)
        kept = constraint.support(problem.kernel(problem.w * problem.scale))
        return np.where(kept, problem.kernel(problem.w), np.float32(0))

    def check(self, constraint):
        if not constraint.says_support:
            raise ValueError(_needs_zeros("wanda", constraint))


class EachOutput(Pattern):
    """Single weights, those of one output competing with one another."""

    single = True

    def view(self, shape, axes):
        axes = axes.of(len(shape))
        outputs = (*axes.groups, *axes.outputs)
        rest = tuple(axis for axis in range(len(shape)) if axis not in outputs)
        return View(tuple(shape), tuple(shape), (*outputs, *rest), pools=len(outputs), members=0)


class SparseGPT(Method):
    """Input by input, the error of what is zeroed is made up for by the weights of the inputs behind it.

    Which weights go is decided for 128 inputs at once, by `w^2 / C^2`, `C` the diagonal of the Cholesky factor of the
    inverse Gram matrix. Reference: Frantar and Alistarh, "SparseGPT", arXiv:2301.00774.
    """

    def solve(self, problem, constraint):
        factors = np.linalg.cholesky(np.linalg.inv(problem.gram)).transpose(0, 2, 1)
        zeros = pattern("sparsegpt", constraint.structure)
        done = []
        for w, factor in zip(problem.w, factors, strict=True):
            if zeros.sparsity is None:
                done.append(_swept(w, factor, _Share(1 - constraint.sparsity, w.shape[1]), BLOCK))
            else:
                kept = zeros.window - zeros.zeros
                done.append(_swept(w, factor, lambda scores, _, k=kept: _largest(scores.T, k).T, zeros.window))
        return problem.kernel(np.stack(done))

    def check(self, constraint):
        fits = isinstance(constraint, Sparse) and pattern("sparsegpt", constraint.structure).single
        if not fits:
            raise ValueError(_needs_zeros("sparsegpt", constraint))


def check_correction(name, correction):
    """Returns a `Method.correction` as a float, or raises ValueError or TypeError."""
    must, remedy = "a number from 0 to 1", "Start with 0.7."
    value = checks.number(name, "correction", correction, 0, must, remedy)
    if value > 1:
        raise ValueError(checks.refused(name, "correction", must, correction, remedy))
    return value


def _swept(w, factor, choose, count):
    """The matrix `(inputs, outputs)` once each input's zeros are made up for by those behind it.

    Args:
        w: float64 array.
        factor: upper Cholesky factor of the inverse Gram matrix.
        choose: function of scores of some inputs and the number of the last one that says which weights stay.
        count: int, of how many inputs the zeros are chosen at once.
    """
    w, diagonal = w.copy(), np.diag(factor)[:, None]
    for start in range(0, len(w), count):
        end = min(start + count, len(w))
        keep = choose((w[start:end] / diagonal[start:end]) ** 2, end)
        errors = np.empty_like(w[start:end])
        for i in range(start, end):
            errors[i - start] = np.where(keep[i - start], 0, w[i]) / factor[i, i]
            w[i:end] -= np.outer(factor[i, i:end], errors[i - start])
        w[start:end][~keep] = 0  # but for rounding they are
        w[end:] -= factor[start:end, end:].T @ errors
    return w


class _Share:
    """A share of the weights of all inputs so far, single ones; the share is exact at the last."""

    def __init__(self, density, outputs):
        self._density, self._outputs, self._kept = density, outputs, 0

    def __call__(self, scores, end):
        count = round(self._density * end * self._outputs) - self._kept
        self._kept += count
        return _largest(scores.reshape(1, -1), count).reshape(scores.shape)


def _largest(scores, count):
    """Booleans: the `count` largest of each row, between equal ones the first."""
    keep = np.zeros(scores.shape, bool)
    np.put_along_axis(keep, np.argsort(-scores, axis=1, kind="stable")[:, :count], True, axis=1)
    return keep


def _needs_zeros(name, constraint):
    return (
        f"method={name!r} chooses single weights to be zero. Received: {type(constraint).__name__} with "
        f"{constraint.get_config()}. Use method='admm'."
    )
