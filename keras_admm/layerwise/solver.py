"""ADMM for one layer: which weights of its kernel stay, and the values with which it gives most nearly what it gave."""

from collections.abc import Callable

import numpy as np

from keras_admm import admm, checks
from keras_admm.layerwise.methods import Method, check_correction

EVERY = 3  # iterations between two looks at how much of the support changed
SETTLED = 3e-4  # of the support: less than that is no change, after so many iterations
EARLIEST = 30
GROWTH = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))  # of rho, where more than this share of the support changed
BACK = 0.2  # times rho where the support does not move at all


class ADMM(Method):
    """The kernel and its nearest member of the set come together by ADMM; then the kept weights are fitted.

    `W = (G + rho)^-1 (G W0 + rho (Z - U))`, `Z = P(W + U)`, `U = U + W - Z`, in units in which `G` has a diagonal of
    ones. The penalty grows while the support changes, the faster the more of it does. On the last support the weights
    are those of conjugate gradients.

    Args:
        rho: float > 0, the penalty to begin with.
        iterations: int, how many there are at most.
        fits: int, how many steps of conjugate gradients.
        correction: float from 0 to 1, which share of what the layers in front have lost the kernel makes up for: it is
            fitted to `X T = X W0 + correction * (X0 - X) W0`, as near as that comes, `X0` what came in before any layer
            was changed. 0: each layer is to give what it gave for what now comes in. Chosen on text that was held out
            of the calibration of a language model, where it lowers the perplexity at half of the weights by a fifth.

    Reference: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models",
    arXiv:2406.07831; the correction is that of Li et al., "GPTAQ", arXiv:2504.02692, for quantization.
    """

    def __init__(self, rho: float = 0.1, iterations: int = 300, fits: int = 10, correction: float = 0.7):
        self.rho = checks.number("ADMM", "rho", rho, 1e-12, "a number > 0", "Start with 0.1.")
        self.iterations = checks.integer("ADMM", "iterations", iterations)
        self.fits = checks.integer("ADMM", "fits", fits, 0)
        self.correction = check_correction("ADMM", correction)

    def solve(self, problem, constraint):
        scale = problem.scale
        gram = problem.gram / (scale * scale.transpose(0, 2, 1))
        target = problem.w * scale
        chosen = self.chosen(gram, target, lambda w: problem.project(constraint, w), np.bool_)
        fitted = fit(gram, gram @ target, chosen, self.fits) / scale
        return np.where(problem.kernel(chosen) != 0, problem.kernel(fitted), np.float32(0))

    def chosen(
        self, gram: np.ndarray, target: np.ndarray, project: Callable[[np.ndarray], np.ndarray], choice: type
    ) -> np.ndarray:
        """The nearest member of a set to the solution that ADMM comes to.

        Args:
            gram: float64 array `(groups, inputs, inputs)`.
            target: float64 array `(groups, inputs, outputs)`, the solution but for the set.
            project: function of such an array that returns the nearest member.
            choice: dtype in which two members are the same where they have made the same choice: `bool` where a set
                says which weights are zero, a float where it says their values.
        """
        values, vectors = np.linalg.eigh(gram)
        wanted = gram @ target
        begin = admm.ADMMState(z=target, u=np.zeros_like(target))
        state, rho, inverse = begin, self.rho, _inverse(values, vectors, self.rho)
        made, grown = project(target).astype(choice), False
        for iteration in range(1, self.iterations + 1):
            w = inverse @ (wanted + rho * (state.z - state.u))
            state, _ = admm.step(w, state, project)
            if iteration % EVERY:
                continue
            before, made = made, state.z.astype(choice)
            change = np.count_nonzero(before != made) / max(np.count_nonzero(made), 1)
            if grown and not change or iteration > EARLIEST and change < SETTLED:
                break
            factor = growth(change, grown)
            grown = grown or factor > 1
            if change and factor < 1:
                state, w = begin, target
            rho *= factor
            state, inverse = admm.rescaled(state, factor), _inverse(values, vectors, rho)
        return project(w)


def growth(change, grown):
    """The factor of rho where that share of the support changed, and whether rho has grown before."""
    for least, factor in GROWTH[: len(GROWTH) if grown else -1]:
        if change > least:
            return factor
    return BACK


def fit(gram, wanted, w, steps):
    """The least squares `argmin ||X W - Y||` over matrices that are zero where `w` is, from `w` by conjugate gradients.

    Args:
        gram: float64 array `(groups, inputs, inputs)`.
        wanted: float64 array `X^T Y` of the shape of `w`.
        w: float64 array `(groups, inputs, outputs)`.
        steps: int; each column goes its own way.
    """
    support = w != 0
    residual = (wanted - gram @ w) * support
    direction, square = residual, _squares(residual)
    for _ in range(steps):
        moved = gram @ direction
        curve = np.sum(direction * moved, axis=1, keepdims=True)
        step = np.divide(square, curve, out=np.zeros_like(square), where=curve > 0)
        w, residual = w + step * direction, (residual - step * moved) * support
        before, square = square, _squares(residual)
        direction = residual + np.divide(square, before, out=np.zeros_like(square), where=before > 0) * direction
    return w


def _squares(x):
    return np.sum(x * x, axis=1, keepdims=True)


def _inverse(values, vectors, rho):
    return (vectors / (values[:, None] + rho)) @ vectors.transpose(0, 2, 1)
