"""The projection behind every pruning pattern: the groups of weights of largest norm are kept.

A pattern sees a tensor as ``(pool, group, member)``: groups compete inside their pool, and of each pool the
``count`` groups of largest norm stay. Which axes make a pool, a group and a member is the pattern's view; what
is kept is decided here, in the same way on every backend: by norm, and between equal norms by lower index.
"""

import numpy as np
from keras import ops

from keras_admm.constraints import counting

CHUNK = 1 << 16  # weights whose magnitudes stay in a processor's cache
FEW = 16  # groups of a pool up to which comparing each with each is faster than sorting them


def largest(x, count):
    """Mark the groups that the nearest member with `count` groups in each pool keeps.

    Solves, for every pool, `argmax sum_{g in K} ||x_g||^2` over sets `K` of exactly `count` groups.

    Args:
        x: NumPy array or backend tensor of shape `(pool, group, member)`.
        count: int, how many groups of each pool stay, `0 <= count <= group`.

    Returns:
        Booleans of shape `(pool, group)`, exactly `count` of them true in each row.
    """
    groups = x.shape[1]
    if count <= 0 or count >= groups:
        full = np.full if isinstance(x, np.ndarray) else ops.full
        return full(tuple(x.shape[:2]), count > 0, dtype="bool")
    if not isinstance(x, np.ndarray):
        return _largest_on_device(x, count)
    return _largest_on_host(x, count) if len(x) == 1 else _largest_of_pools(x, count)


def keep_largest(x, count):
    """A float32 NumPy array without all but its `count` largest weights: `largest` of single weights, and their place.

    The buffer in which the threshold is found becomes the result: of large arrays the pages of a second one would
    cost more than the arithmetic.
    """
    flat, size = x.reshape(-1), x.size
    kept = np.abs(flat)
    threshold, surplus = _threshold(kept, count), -count
    for begin in range(0, size, CHUNK):
        part = slice(begin, begin + CHUNK)
        keep = np.abs(flat[part]) >= threshold
        surplus += np.count_nonzero(keep)
        restrict(flat[part], keep, out=kept[part])
    for end in range(size, 0, -CHUNK):  # of equal ones the last go
        if not surplus:
            break
        part = kept[max(end - CHUNK, 0) : end]
        ties = np.flatnonzero(np.abs(part) == threshold)[-surplus:]
        part[ties] = 0
        surplus -= ties.size
    return kept.reshape(x.shape)


def _threshold(magnitudes, count):
    """The magnitude that `count` of a flat array reach at least; the array may be reordered."""
    live = np.count_nonzero(magnitudes)
    if live <= count:
        return magnitudes.dtype.type(0)
    if live < magnitudes.size // 2:  # a selection is slow among many that are equal, as the zeros of a pruned tensor
        magnitudes = magnitudes[magnitudes != 0]
    magnitudes.partition(magnitudes.size - count)
    return magnitudes[magnitudes.size - count]


def restrict(x, support, out=None):
    """A NumPy array with zeros outside a support. Not a product of floats: 0 * inf is NaN, and 0 * -1 negative."""
    bits = np.dtype(f"i{x.dtype.itemsize}")  # whose product is one pass, where a choice is two
    out = None if out is None else out.view(bits)
    return np.multiply(x.view(bits), support, out=out, dtype=bits).view(x.dtype)


def largest_of_all(x, count):
    """`largest` of a tensor of the backend whose weights all compete with all, as it lies: booleans of its shape."""
    return counting.largest(ops.abs(ops.cast(x, "float32")), count)


def norms(x):
    """The norm of each group of a tensor `(pool, group, member)`, to be compared with those of other tensors."""
    return norms_on_host(x) if isinstance(x, np.ndarray) else _of_members(ops.abs(ops.cast(x, "float32")))


def norms_on_host(x):
    """The norm of each group of a NumPy array `(pool, group, member)`, summed in float64, which holds all squares."""
    return np.sqrt(np.einsum("pgm,pgm->pg", x, x, dtype="float64"))


def _largest_on_host(x, count):
    """Of one pool."""
    single = x.shape[2] == 1
    norms = np.abs(x[0, :, 0], dtype="float32") if single else norms_on_host(x)[0]
    # Of single weights there are many: ordered where they are, and taken anew, they need no second buffer.
    threshold = _threshold(norms if single else norms.copy(), count)
    if single:
        np.abs(x[0, :, 0], out=norms)
    keep = norms >= threshold
    surplus = np.count_nonzero(keep) - count
    if surplus:
        ties = np.flatnonzero(norms == threshold)
        keep[ties[ties.size - surplus :]] = False
    return keep[None]


def _largest_of_pools(x, count):
    """Of many pools at once, of few groups each: how many are larger, or equal and before it, tells of each group."""
    norms = np.abs(x[..., 0], dtype="float32") if x.shape[2] == 1 else norms_on_host(x)
    groups = norms.shape[1]
    if groups > FEW:
        order = np.argsort(-norms, axis=1, kind="stable")
        keep = np.zeros(norms.shape, bool)
        np.put_along_axis(keep, order[:, :count], True, axis=1)
        return keep
    columns = np.ascontiguousarray(norms.T)
    before = np.zeros(columns.shape, np.uint8)
    for i in range(groups):
        before[:i] += columns[i] > columns[:i]
        before[i + 1 :] += columns[i] >= columns[i + 1 :]
    return (before < count).T


def _largest_on_device(x, count):
    """The same by counting: reductions only, so that a sharded or traced tensor is never gathered or sorted."""
    return counting.largest(_norms(ops.cast(x, "float32")), count, axes=(1,))


def _norms(x):
    """The norm of each group, of all groups in one unit that is a power of two."""
    if x.shape[2] == 1:
        return ops.abs(x[..., 0])
    return _of_members(_lifted(ops.abs(x)))


def _of_members(x):
    """The norm of each group of magnitudes."""
    # Scaled before squaring: the squares of small weights would vanish, and with them their order. Never by a scale
    # whose reciprocal is no normal number, by which XLA may multiply instead.
    scale = ops.maximum(ops.max(x, axis=2, keepdims=True), 1e-36)
    return ops.sqrt(ops.sum(ops.square(x / scale), axis=2)) * scale[..., 0]


def _lifted(magnitudes):
    """Times the power of two that brings the largest to about 2**100, below which float32 has most room.

    Numbers below the normal ones are made from their bits, for devices compute with them as zeros.
    """
    bits = ops.view(magnitudes, dtype="int32")
    exponent = 100 + 127 - ops.right_shift(ops.max(bits), 23)
    below = _times_two_to(ops.cast(bits, "float32"), exponent - 149)
    return ops.where(bits < 1 << 23, below, _times_two_to(magnitudes, exponent))


def _times_two_to(x, exponent):
    """`x * 2**exponent`, by two factors, for one may be no float32."""
    half = ops.right_shift(exponent, 1)
    for part in (half, exponent - half):
        x = x * ops.view(ops.left_shift(part + 127, 23), dtype="float32")
    return x
