"""The values of a tensor with how often each occurs: all of them, or those of a histogram."""

import numpy as np
from keras import ops

CHUNK = 1 << 18  # weights that are worked on at once: they stay in the processor's cache
SHIFT = 12  # of a float's 23 digits these are dropped: 2,048 bins for each power of two


def summarize(x, most, zeros=True):
    """What a fit needs to know of a tensor.

    Up to `most` weights (non-zeros, where zeros do not count) it is exact. Beyond, one pass counts and sums the
    weights in bins 1/2,048 to 1/4,096 of their value wide, and bins are joined in pairs until no more than `most` are
    in use; a bin stands for its mean.

    Args:
        x: float32 NumPy array.
        most: int, how many values may be returned.
        zeros: bool, whether the zeros count.

    Returns:
        `(values, counts)`, float64, values in rising order.
    """
    x = x.reshape(-1)
    if (x.size if zeros else np.count_nonzero(x)) > most:
        return _histogram(x, most, zeros)
    values, counts = np.unique(x if zeros else x[x != 0], return_counts=True)
    return values.astype("float64"), counts.astype("float64")


def library(x):
    """What computes with a tensor: NumPy with its own, `keras.ops` with those of the backend."""
    return np if isinstance(x, np.ndarray) else ops


def chunks(x):
    """An array flat, piece by piece; a tensor of the backend as it is, for its parts may lie on several devices."""
    if not isinstance(x, np.ndarray):
        return (x,)
    x = x.reshape(-1)
    return (x[start : start + CHUNK] for start in range(0, x.size, CHUNK))


def nonzeros(x):
    """How many numbers of a tensor, or of an array, are not 0."""
    return int(np.count_nonzero(x) if isinstance(x, np.ndarray) else ops.sum(ops.cast(ops.cast(x, "bool"), "int32")))


def _histogram(x, most, zeros):
    if x.size <= CHUNK:  # too few to look through all bins for those in use
        x = x if zeros else x[x != 0]
        used, places = np.unique(_keys(x), return_inverse=True)
        return _joined(used, np.bincount(places).astype("float64"), np.bincount(places, weights=x), most)
    bins = 1 << (32 - SHIFT)
    counts, sums = np.zeros(bins), np.zeros(bins)
    for chunk in chunks(x):
        chunk = chunk if zeros else chunk[chunk != 0]
        if chunk.size:
            keys = _keys(chunk)
            low, high = int(keys.min()), int(keys.max()) + 1
            keys -= low
            counts[low:high] += np.bincount(keys)
            sums[low:high] += np.bincount(keys, weights=chunk)
    used = np.flatnonzero(counts)
    return _joined(used, counts[used], sums[used], most)


def _joined(keys, counts, sums, most):
    """Means and counts of bins, after joining them in pairs until no more than `most` are left."""
    while keys.size > most:
        keys, first = np.unique(keys >> 1, return_index=True)
        counts, sums = np.add.reduceat(counts, first), np.add.reduceat(sums, first)
    return sums / counts, counts


def _keys(x):
    """The bin of each weight. Floats order as their bits do, the negative ones backwards."""
    bits = x.view("int32")
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered >> SHIFT).astype(np.intp) + (1 << (31 - SHIFT))
