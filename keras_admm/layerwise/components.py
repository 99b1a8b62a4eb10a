"""The kernel of a rank with which a layer gives most nearly what it gave, and what each rank loses."""

import numpy as np

from keras_admm.constraints import rows_of

SWEEPS = 12  # over the two factors
STEPS = 4  # of conjugate gradients for the first of them in each, from where it was
EXACT = 1e-12  # of the squares, which is nothing to be fitted
SETTLED = 0.003  # of the error: a sweep that takes less than this share away is the last


class Components:
    """A kernel's problem along directions of the columns of its matrix.

    Of the scheme `"channel"` all that comes in is in the rows, and `argmin ||X W - X W0||^2` over kernels of a rank is
    `W0 V V^T`, the columns of `V` the eigenvectors of `W0^T X^T X W0` with the largest eigenvalues (Eckart and Young,
    for `X W0`). Of `"spatial"` the columns are the places of one side of the filter by the outputs: the same formula,
    with the mean of the Gram matrices of the places, would be the solution if what comes in at two places had nothing
    in common. It is where alternating least squares for the two factors begin.

    Args:
        problem: a `Problem` of one group.
        scheme: see `constraints.LowRank`.

    Attributes:
        squares: float64 array, the sum of squares along each direction, falling; their shares are what ranks lose, an
            upper bound of it where the columns are places too.

    References: Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection",
    arXiv:1505.06798; Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions",
    arXiv:1405.3866, of kernels apart by side, fitted to what layers give.
    """

    def __init__(self, problem, scheme):
        self._problem, self._scheme = problem, scheme
        gram, target, _ = _by_columns(problem, scheme)
        mean = np.einsum("wawb->ab", gram) / len(gram)
        flat = target.reshape(len(mean), -1)
        squares, directions = np.linalg.eigh(flat.T @ mean @ flat)  # rising
        self.squares = squares[::-1][: min(flat.shape)].clip(0)
        self._directions = directions[:, ::-1]

    def kernel(self, rank):
        """The kernel of a rank, a float32 array, and the share of what the layer gave, in squares, that it loses."""
        gram, target, back = _by_columns(self._problem, self._scheme)  # again: large, and there is one for each kernel
        directions = self._directions[:, :rank]
        first = target.reshape(len(target), -1) @ directions
        second = directions.T.reshape(rank, *target.shape[1:])
        if len(gram) > 1 and self.squares[rank:].sum() > EXACT * self.squares.sum():
            first, second = _fitted(gram, target, first, second)
        kernel = self._problem.kernel(back(np.einsum("ar,rwo->awo", first, second)))
        return kernel, self._problem.error(kernel)


def _by_columns(problem, scheme):
    """The Gram matrix `(w, a, w, a)`, the kernel `(a, w, outputs)`, and the function from the latter to matrices.

    `w` counts what comes in that is in the columns, `a` what is in the rows; outputs are the last axis of the kernel,
    or axes, which then are all there is in the columns.
    """
    gram, target = problem.gram[0], problem.w[0]
    columns = rows_of(problem.shape, scheme)[1] if scheme == "spatial" else ()
    inside = [axis for axis in columns if axis < len(problem.shape) - 1]
    if not inside:
        return gram[None, :, None], target[:, None], lambda kernel: kernel.reshape(1, *target.shape)
    sizes, (place,) = problem.shape[:-1], inside
    count, outputs = sizes[place], target.shape[1]
    order = np.moveaxis(np.arange(len(target)).reshape(sizes), place, 0).reshape(count, -1)  # the input at (w, a)
    ordered = gram[np.ix_(order.ravel(), order.ravel())].reshape(*order.shape, *order.shape)

    def back(kernel):
        matrix = np.empty_like(target)
        matrix[order.T.ravel()] = kernel.reshape(-1, outputs)
        return matrix[None]

    return ordered, target[order.T], back


def _fitted(gram, target, first, second):
    """`argmin ||sum_w X_w (A B_w - T_w)||^2` over `A (a, rank)` and `B (rank, w, outputs)`, from some to begin with."""
    wanted = np.einsum("wavb,bvo->wao", gram, target, optimize=True)
    error = None
    for _ in range(SWEEPS):
        second = _second(gram, wanted, first)
        # The rows of the second are made orthonormal, for the first then is as easy to find as can be.
        turned, scales = np.linalg.qr(second.reshape(len(second), -1).T)
        second = turned.T.reshape(second.shape)
        first = _first(gram, wanted, first @ scales.T, second)
        before, error = error, _error(gram, target, wanted, first, second)
        if before is not None and error >= (1 - SETTLED) * before:
            break
    return first, second


def _second(gram, wanted, first):
    """The best second factor beside a first: least squares."""
    seen = np.einsum("ar,wavb,bs->wrvs", first, gram, first, optimize=True)
    count = seen.shape[0] * seen.shape[1]
    seen, given = seen.reshape(count, count), np.einsum("ar,wao->wro", first, wanted, optimize=True)
    seen += 1e-9 * np.trace(seen) / count * np.eye(count)
    solved = np.linalg.solve(seen, given.reshape(count, -1))
    return solved.reshape(given.shape).transpose(1, 0, 2)


def _first(gram, wanted, first, second):
    """The first factor beside a second, some steps of conjugate gradients nearer to the best."""
    mixed = np.einsum("rwo,svo->wrvs", second, second, optimize=True)

    def product(x):
        return np.einsum("wavb,bs,wrvs->ar", gram, x, mixed, optimize=True)

    residual = np.einsum("wao,rwo->ar", wanted, second, optimize=True) - product(first)
    direction, square = residual, np.sum(residual**2)
    least = 1e-16 * square
    for _ in range(STEPS):
        if square <= least:
            break
        moved = product(direction)
        step = square / np.sum(direction * moved)
        first, residual = first + step * direction, residual - step * moved
        before, square = square, np.sum(residual**2)
        direction = residual + square / before * direction
    return first


def _error(gram, target, wanted, first, second):
    """What the layer does not give any more, in squares."""
    made = np.einsum("ar,rwo->awo", first, second, optimize=True)
    seen = np.einsum("wavb,bvo->wao", gram, made, optimize=True)
    cross = np.einsum("awo,wao->", made, seen - 2 * wanted)
    return float(cross + np.einsum("awo,wao->", target, wanted))
