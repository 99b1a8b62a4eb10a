"""The magnitude threshold that so many of all weights reach, found by counting: without a copy of them, or a sort."""

import numpy as np

from keras_admm.constraints.summary import chunks

STEP = 16  # bits of a float that are counted at once


def reached_by(parts, count):
    """The magnitude that `count` of the numbers reach at least, and more only where some are equal to it.

    Args, example: see `reached_with_ties`, of which this is the first result.
    """
    return reached_with_ties(parts, count)[0]


def reached_with_ties(parts, count):
    """The magnitude that `count` of the numbers reach at least, and how many of these are equal to it.

    Args:
        parts: function that returns the numbers as flat arrays, all float32 or all float64, none negative, one after
            the other. It is called twice, for float64 four times.
        count: int, at least 1 and at most how many there are.

    Returns:
        A number of that dtype, and an int.

    Example:

    >>> magnitude, ties = reached_with_ties(lambda: [np.float32([3, 2]), np.float32([2, 5])], 3)
    >>> print(magnitude, ties)
    2.0 1
    """
    dtype = next(iter(parts())).dtype
    counts = _counts(bits >> (8 * dtype.itemsize - STEP) for bits in _bits(parts))
    found, rest = _place(counts, count)
    for shift in range(8 * dtype.itemsize - 2 * STEP, -1, -STEP):
        place, rest = _place(_counts(_below(bits, shift, found) for bits in _bits(parts)), rest)
        found = found << STEP | place
    return np.array(found, f"uint{8 * dtype.itemsize}").view(dtype)[()], rest


def _below(bits, shift, found):
    """The next bits of those numbers whose first bits are `found`."""
    # A float that is not negative orders as its bits do.
    return (bits[bits >> (shift + STEP) == found] >> shift) & ((1 << STEP) - 1)


def _bits(parts):
    return (chunk.view(f"uint{8 * chunk.itemsize}") for part in parts() for chunk in chunks(part))


def _counts(keys):
    counts = np.zeros(1 << STEP, dtype="int64")
    for each in keys:
        counts += np.bincount(each.astype(np.intp), minlength=counts.size)
    return counts


def _place(counts, count):
    """The key that `count` reach at least, and for how many of these there is no greater one."""
    reached = np.cumsum(counts[::-1])[::-1]
    place = int(np.flatnonzero(reached >= count)[-1])
    return place, count - int(reached[place] - counts[place])
