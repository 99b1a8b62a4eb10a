"""The one projection behind every pruning pattern.

A pattern sees a tensor as ``(pool, group, member)``: groups compete inside their pool, and of each pool the
``count`` groups of largest norm stay. Which axes make a pool, a group and a member is the pattern's view; what
is kept is decided here, in the same way on every backend: by norm, and between equal norms by lower index.
"""

import numpy as np
from keras import ops


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
    if isinstance(x, np.ndarray):
        return _largest_on_host(x, count)
    return _largest_on_device(x, count)


def _largest_on_host(x, count):
    single = x.shape[2] == 1
    norms = np.abs(x[..., 0], dtype="float32") if single else np.linalg.norm(x.astype("float64"), axis=2)
    # Of single weights there are many: ordered where they are, and taken anew, they need no second buffer.
    ordered = norms if single else norms.copy()
    ordered.partition(norms.shape[1] - count, axis=1)
    thresholds = ordered[:, norms.shape[1] - count].copy()
    if single:
        np.abs(x[..., 0], out=norms)
    keep = norms >= thresholds[:, None]
    for row, kept, threshold in zip(norms, keep, thresholds, strict=True):
        surplus = np.count_nonzero(kept) - count
        if surplus:
            ties = np.flatnonzero(row == threshold)
            kept[ties[ties.size - surplus :]] = False
    return keep


def _largest_on_device(x, count):
    """The same by counting: reductions only, so that a sharded or traced tensor is never gathered or sorted."""
    norms = _norms(ops.cast(x, "float32"))
    # A float that is not negative orders as its bits do, so 31 halvings find the threshold exactly.
    bits = ops.view(norms, dtype="int32")

    def halve(i, low):
        middle = low + ops.left_shift(ops.cast(1, "int32"), ops.cast(30 - i, "int32"))
        enough = ops.sum(ops.cast(bits >= middle[:, None], "int32"), axis=1) >= count
        return ops.where(enough, middle, low)

    threshold = ops.fori_loop(0, 31, halve, ops.zeros((x.shape[0],), dtype="int32"))[:, None]
    above = bits > threshold
    ties = bits == threshold
    room = count - ops.sum(ops.cast(above, "int32"), axis=1, keepdims=True)
    first = ops.cumsum(ops.cast(ties, "int32"), axis=1) <= room
    return ops.logical_or(above, ops.logical_and(ties, first))


def _norms(x):
    if x.shape[2] == 1:
        return ops.abs(x[..., 0])
    # Scaled before squaring: the squares of small weights would vanish, and with them their order.
    scale = ops.max(ops.abs(x), axis=2, keepdims=True)
    safe = ops.where(scale > 0, scale, 1.0)
    return ops.sqrt(ops.sum(ops.square(x / safe), axis=2)) * scale[..., 0]
