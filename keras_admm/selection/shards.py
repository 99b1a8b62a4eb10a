"""Global magnitude pruning of weights that come shard by shard: one threshold for all, memory for one shard."""

import numpy as np

from keras_admm import checks
from keras_admm.constraints import reached_with_ties


def keep_largest(shards, count):
    """The nearest weights with so many non-zeros, shard by shard: exact global magnitude pruning, streamed.

    Solves `argmin ||Y - X||` over `Y` with exactly `count` non-zeros, `X` all shards together; between equal
    magnitudes those of earlier shards stay, and in a shard those of lower index. The threshold is found by two
    histograms of 16 bits of the magnitudes' floats each, so the shards are gone through four times, and what is held
    beside one of them is half a megabyte.

    Args:
        shards: function without arguments that returns an iterable of float32 NumPy arrays of any shapes, the same
            each time: read from files, or from a model's variables one by one.
        count: int >= 0, how many weights stay; where there are fewer, all do.

    Yields:
        A float32 array for each shard.

    Raises:
        TypeError, ValueError: for a count that is none; for shards of another dtype, or with NaN or infinity.

    Example:

    >>> shards = [np.float32([3, -1]), np.float32([2, 5])]
    >>> list(keep_largest(lambda: shards, 2))
    [array([3., 0.], dtype=float32), array([0., 5.], dtype=float32)]
    """
    checks.takes("keep_largest", "shards", shards, 0, "a function that returns an iterable of arrays")
    checks.integer("keep_largest", "count", count, 0)
    total = sum(_checked(shard).size for shard in shards())
    if count == 0 or count >= total:
        yield from (shard.copy() if count else np.zeros_like(shard) for shard in shards())
        return
    threshold, ties = reached_with_ties(lambda: (np.abs(shard).reshape(-1) for shard in shards()), count)
    for shard in shards():
        magnitudes = np.abs(shard)
        kept = np.where(magnitudes > threshold, shard, np.float32(0))
        if ties:
            equal = np.flatnonzero(magnitudes == threshold)[:ties]
            kept.flat[equal] = shard.flat[equal]  # whatever the order in memory
            ties -= len(equal)
        yield kept


def _checked(shard):
    if not isinstance(shard, np.ndarray) or shard.dtype != np.float32:
        remedy = "Cast them with .astype('float32')."
        raise TypeError(checks.refused("keep_largest", "shards", "of float32 NumPy arrays", shard, remedy))
    if not np.isfinite(shard).all():
        raise ValueError("keep_largest: weights must be finite. Received: NaN or infinity. Load a sound model first.")
    return shard
