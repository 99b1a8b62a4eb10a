"""Low-rank weights: kernels that two smaller ones make, one after the other (truncated SVD)."""

import math

import keras
import numpy as np
from keras import ops

from keras_admm import checks, hints
from keras_admm.constraints import floats
from keras_admm.constraints.base import Set

SCHEMES = ("channel", "spatial")


@keras.saving.register_keras_serializable("keras_admm")
class LowRank(Set):
    """Low-rank weights: a kernel, seen as a matrix, is of a given rank, so that two smaller layers can stand for it.

    Called with `x` it returns the nearest member, `argmin ||y - x||` over `y` of rank `rank` at most: the truncated
    singular value decomposition (Eckart and Young), computed in float64. `keras_admm.factorize` then takes the layer
    apart.

    Args:
        rank: int >= 1, the largest rank.
        energy: float in `(0, 1]`, in the place of `rank`: the share of the squared singular values that stays, by as
            few of them as can be. The rank is then chosen for each tensor that is projected, and is held from the
            projection on that ends ADMM.
        scheme: what the rows and the columns of the matrix are. `"spatial"`: the last axis and the last place of the
            filter by all others: a `k x 1` convolution to `rank` filters, then one of `1 x k`; of kernels with fewer
            than two places the same as `"channel"`, the last axis of the kernel by all others: a `k x k` convolution to
            `rank` filters, then one of `1 x 1`; of a Dense kernel, as it is. Or a tuple of
            ints, the axes of the rows, for kernels of other layers, such as `(0,)` for the `abc,cde->abde` of an
            EinsumDense.

    Returns when called:
        A tensor of the shape and dtype of its input, which may be a NumPy array or a tensor of the backend. What is of
        that rank already, but for the rounding to its dtype, is returned as it is.

    Raises:
        TypeError: for values that are no numbers.
        ValueError: for both or neither of `rank` and `energy`, or values out of their range; when called, for a rank
            above the full one of the matrix, a tensor without two axes, or one with NaN or infinity.

    Example:

    >>> LowRank(1)(np.array([[3.0, 0.0], [0.0, 1.0]], "float32"))
    array([[3., 0.],
           [0., 0.]], dtype=float32)
    >>> LowRank(energy=0.95).rank_of(np.array([[3.0, 0.0], [0.0, 1.0]]))  # of 9 + 1
    2

    References: the two schemes and the energy in Xu et al., "TRP: Trained Rank Pruning for Efficient Deep Neural
    Networks", arXiv:2004.14566; low rank as the set of ADMM in Yin et al., "Towards Efficient Tensor
    Decomposition-Based DNN Model Compression with Optimization Framework", arXiv:2107.12422.
    """

    def __init__(self, rank: int | None = None, *, energy: float | None = None, scheme: hints.Scheme = "spatial"):
        if (rank is None) == (energy is None):
            raise ValueError(
                "LowRank: one of `rank` and `energy` must be given, and not both. Received: "
                f"rank={checks.shown(rank)}, energy={checks.shown(energy)}. Pass LowRank(8) or LowRank(energy=0.9)."
            )
        self.rank = None if rank is None else checks.integer("LowRank", "rank", rank)
        self.energy = None if energy is None else check_energy("LowRank", energy)
        self.scheme = check_scheme("LowRank", scheme)

    def __call__(self, x):
        return floats.on_host("LowRank", self._nearest, x, traced=self._traced)

    def rank_of(self, x: np.ndarray) -> int:
        """The rank of the nearest member of an array: `rank`, or the one that `energy` asks for."""
        if self.rank is None:
            return least_rank(spectrum(x, self.scheme), self.energy)
        return self._checked(full_rank(x.shape, self.scheme), x.shape)

    def held(self, x):
        return self if self.rank is not None else LowRank(max(1, self.rank_of(x)), scheme=self.scheme)

    def inside(self, z):
        squares, vectors = _decomposed(as_matrix(np.asarray(z), self.scheme).astype("float64"))
        kept = vectors[:, : self.rank_of(z) if self.rank is not None else np.count_nonzero(squares)]
        return (kept @ kept.T).astype("float32")

    def get_config(self):
        return {"rank": self.rank, "energy": self.energy, "scheme": self.scheme}

    def _nearest(self, x, dtype):
        matrix = as_matrix(x, self.scheme).astype("float64")
        squares, vectors = _decomposed(matrix)
        rank = least_rank(squares, self.energy) if self.rank is None else self._checked(len(squares), x.shape)
        kept = _times_its_transpose(matrix, vectors[:, :rank])
        # What is of this rank, rounded, is no farther from it than each number can be from what it was rounded from.
        unit = 2.0 ** -floats.digits(dtype) * np.linalg.norm(matrix)
        if np.linalg.norm(matrix - kept) <= 1.001 * unit + floats.smallest(dtype) * math.sqrt(matrix.size):
            return x
        return from_matrix(kept, x.shape, self.scheme).astype("float32")

    def _traced(self, x):
        """The same in a compiled step, by the singular value decomposition of the backend."""
        matrix = as_matrix(ops.cast(x, "float32"), self.scheme)
        left, values, right = ops.linalg.svd(matrix, full_matrices=False)
        if self.rank is None:
            squares = ops.square(values)
            before = ops.cumsum(squares) - squares  # what the larger ones have
            keep = ops.logical_and(before < self.energy * ops.sum(squares), squares > 0)
        else:
            full = full_rank(x.shape, self.scheme)
            keep = ops.arange(full) < self._checked(full, x.shape)
        kept = ops.matmul(left * ops.where(keep, values, 0.0), right)
        return ops.cast(from_matrix(kept, tuple(x.shape), self.scheme), x.dtype)

    def _checked(self, full, shape):
        if self.rank > full:
            raise ValueError(
                f"LowRank: the rank must be at most the full one, {full} for a tensor of shape {tuple(shape)} in the "
                f"scheme {self.scheme!r}. Received: rank={self.rank}. Lower it, leave this kernel out with exclude=, "
                "or give the energy that stays instead, such as energy=0.9."
            )
        return self.rank


def check_energy(name, energy):
    """Returns `energy` as a float, or raises ValueError or TypeError."""
    must, remedy = "a number in (0, 1], the share of the squared singular values that stays", "Pass for example 0.9."
    value = checks.number(name, "energy", energy, 0, must, remedy)
    if not 0 < value <= 1:
        raise ValueError(checks.refused(name, "energy", must, energy, remedy))
    return value


def check_scheme(name, scheme):
    """Returns the scheme, axes as a tuple of ints, or raises ValueError."""
    if isinstance(scheme, str) and scheme in SCHEMES:
        return scheme
    axes = scheme if isinstance(scheme, (list, tuple)) else ()
    if not axes or not all(type(axis) is int and axis >= 0 for axis in axes) or len(set(axes)) < len(axes):
        must = "'channel', 'spatial', or a tuple of the axes that are the rows"
        raise ValueError(checks.refused(name, "scheme", must, scheme, "Use 'channel' for a 1x1 convolution behind."))
    return tuple(axes)


def rows_of(shape, scheme):
    """The axes of a kernel that are the rows of its matrix, and those that are its columns."""
    count = len(shape)
    if scheme == "channel" or scheme == "spatial" and count < 4:
        rows = tuple(range(count - 1))
    elif scheme == "spatial":
        rows = (*range(count - 3), count - 2)
    else:
        rows = scheme
    columns = tuple(axis for axis in range(count) if axis not in rows)
    if count < 2 or not columns or max(rows) >= count:
        raise ValueError(
            f"LowRank: a kernel must have two axes at least, rows and columns of a matrix. Received: a tensor of shape "
            f"{tuple(shape)} in the scheme {scheme!r}. Leave it out with exclude=, or give the axes of its rows."
        )
    return rows, columns


def full_rank(shape, scheme):
    """The largest rank of a kernel of a shape."""
    return min(math.prod(shape[axis] for axis in axes) for axes in rows_of(shape, scheme))


def as_matrix(x, scheme):
    """A kernel, a NumPy array or a tensor, as its matrix."""
    rows, columns = rows_of(x.shape, scheme)
    moved = x.transpose(*rows, *columns) if isinstance(x, np.ndarray) else ops.transpose(x, (*rows, *columns))
    shape = (math.prod(x.shape[axis] for axis in axes) for axes in (rows, columns))
    return moved.reshape(*shape) if isinstance(x, np.ndarray) else ops.reshape(moved, tuple(shape))


def from_matrix(matrix, shape, scheme):
    """The kernel of a shape that a matrix is."""
    order = [axis for axes in rows_of(shape, scheme) for axis in axes]
    sizes, back = tuple(shape[axis] for axis in order), tuple(order.index(axis) for axis in range(len(order)))
    if isinstance(matrix, np.ndarray):
        return matrix.reshape(sizes).transpose(back)
    return ops.transpose(ops.reshape(matrix, sizes), back)


def spectrum(x, scheme):
    """The squared singular values of a kernel, falling: float64."""
    return _decomposed(as_matrix(np.asarray(x), scheme).astype("float64"))[0]


def factors(x, scheme, rank):
    """Two matrices, of as large numbers each, whose product is the nearest one of a rank to a kernel's: float64."""
    matrix = as_matrix(np.asarray(x), scheme).astype("float64")
    squares, vectors = _decomposed(matrix)
    vectors, roots = vectors[:, :rank], np.sqrt(np.sqrt(squares[:rank]))
    inverse = np.divide(1, roots, out=np.zeros_like(roots), where=roots > 0)
    if matrix.shape[1] <= matrix.shape[0]:
        return matrix @ vectors * inverse, (vectors * roots).T
    return vectors * roots, (vectors * inverse).T @ matrix


def truncated(x, scheme, energy):
    """A kernel cut to the rank that has a share of its squared singular values, and what its nuclear norm grows by.

    Returns:
        `(nearest, direction, rank)`: the truncated singular value decomposition `U S V^T` of a NumPy array, `U V^T` of
        what is left, a sub-gradient of the sum of its singular values, both float32 and of its shape, and the rank.
    """
    matrix = as_matrix(x, scheme).astype("float64")
    squares, vectors = _decomposed(matrix)
    rank = least_rank(squares, energy)
    vectors, scales = vectors[:, :rank], np.sqrt(squares[:rank])
    nearest = _times_its_transpose(matrix, vectors)
    inverse = (vectors / scales) @ vectors.T
    direction = matrix @ inverse if matrix.shape[1] <= matrix.shape[0] else inverse @ matrix
    both = (from_matrix(each, x.shape, scheme).astype("float32") for each in (nearest, direction))
    return *both, rank


def least_rank(squares, energy):
    """How few of the squared singular values, falling, have this share of their sum; 0 of none but zeros."""
    sums = np.cumsum(squares)
    if not sums[-1]:
        return 0
    return min(int(np.searchsorted(sums, energy * sums[-1] * (1 - 1e-12))) + 1, np.count_nonzero(squares))


def _decomposed(matrix):
    """The squared singular values, falling, and the singular vectors of the shorter side.

    Of the matrix times its transpose: in float64 that is as exact as a float32 can tell, and many times faster.
    """
    short = matrix if matrix.shape[1] <= matrix.shape[0] else matrix.T
    squares, vectors = np.linalg.eigh(short.T @ short)
    return np.maximum(squares[::-1], 0), vectors[:, ::-1]


def _times_its_transpose(matrix, vectors):
    """The matrix projected on the span of some singular vectors of its shorter side."""
    if matrix.shape[1] <= matrix.shape[0]:
        return (matrix @ vectors) @ vectors.T
    return vectors @ (vectors.T @ matrix)
