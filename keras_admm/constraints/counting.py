"""Which of many numbers are the largest, by counting alone: reductions in static shapes, exact, on every device.

A tensor whose parts lie on several devices stays there: nothing is sorted, gathered or seen as one flat array, and what
the devices tell one another is how many numbers of their parts are large enough. A histogram would look at the numbers
less often, but is scattered into, which TPUs do one number at a time.
"""

import functools
import math

from keras import ops

from keras_admm.compiling import compiled

MOST = (1 << 31) - 1  # numbers that an int32 counts


def largest(magnitudes, count, axes=None):
    """Mark the largest numbers; between equal ones those of lower index.

    Args:
        magnitudes: float32 tensor, none negative.
        count: int, how many are marked, `0 <= count <= size`; it may change without a new compilation.
        axes: tuple of ints, those along which numbers compete; the others are of pools, each with `count` of its own.
            None: all.

    Returns:
        Booleans of the same shape.
    """
    shape = tuple(magnitudes.shape)
    _check_countable(math.prod(shape))
    axes = tuple(range(len(shape))) if axes is None else axes
    return _marking(shape, axes)(magnitudes, ops.convert_to_tensor(count, "int32"))


@functools.cache
def _marking(shape, axes):
    return compiled(lambda magnitudes, count: mark(magnitudes, count, axes))


def mark(magnitudes, count, axes):
    """`largest`, to be compiled."""
    shape = magnitudes.shape

    def number(true):
        return ops.sum(ops.cast(true, "int32"), axis=axes, keepdims=True)

    bits, none = (
        _bits(magnitudes),
        ops.zeros([1 if axis in axes else shape[axis] for axis in range(len(shape))], "int32"),
    )
    threshold = _largest_where(lambda least: number(bits >= least) >= count, none, 31)
    above, ties = bits > threshold, bits == threshold
    room = count - number(above)
    size = math.prod(shape[axis] for axis in axes)
    turns = ops.where(ties, size - _index(shape, axes), 0)  # the first has most
    last = _largest_where(lambda least: number(turns >= least) >= room, none, size.bit_length())
    return ops.logical_or(above, ops.logical_and(ties, turns >= last))


def counts_of_largest(tensors, count):
    """How many of the largest magnitudes of several tensors each holds; between equal ones the earlier tensor's count.

    Args:
        tensors: list of float tensors, of less than `2**31` numbers together, or a ValueError says so.
        count: int, how many magnitudes of all count.

    Returns:
        A list of ints, one for each.

    Example:

    >>> counts_of_largest([ops.convert_to_tensor([1.0, -3.0]), ops.convert_to_tensor([3.0, 2.0, 0.0])], 2)
    [1, 1]
    """
    _check_countable(sum(math.prod(each.shape) for each in tensors))
    found = _of_shapes(tuple(tuple(each.shape) for each in tensors))(tensors, ops.convert_to_tensor(count, "int32"))
    return ops.convert_to_numpy(found).tolist()


@functools.cache
def _of_shapes(shapes):
    return compiled(numbers_of_largest)


def numbers_of_largest(tensors, count):
    """`counts_of_largest`, to be compiled: an int32 tensor."""
    bits = [_bits(ops.abs(ops.cast(each, "float32"))) for each in tensors]

    def numbers(compared):
        return ops.stack([ops.sum(ops.cast(compared(each), "int32")) for each in bits])

    def enough(least):
        return ops.sum(numbers(lambda each: each >= least)) >= count

    threshold = _largest_where(enough, ops.zeros((), dtype="int32"), 31)
    above, ties = numbers(lambda each: each > threshold), numbers(lambda each: each == threshold)
    before = ops.cumsum(ties) - ties
    return above + ops.clip(count - ops.sum(above) - before, 0, ties)


def _check_countable(size):
    if size > MOST:
        raise ValueError(
            f"Sparse: at most {MOST:,} weights can be compared on the device, where an int32 counts them. Received: "
            f"{size:,}. Use state='host'."
        )


def _bits(magnitudes):
    """Integers in the order of the floats: those that are not negative order as their bits do."""
    return ops.view(magnitudes, dtype="int32")


def _index(shape, axes):
    """The place of each number among those that it competes with: from one range for each axis, added up."""
    found, stride = 0, 1
    for axis in reversed(axes):
        along = [1] * len(shape)
        along[axis] = shape[axis]
        found = found + ops.reshape(ops.arange(0, shape[axis] * stride, stride, dtype="int32"), along)
        stride *= shape[axis]
    return found


def _largest_where(enough, zeros, bits):
    """The largest int32 of so many bits for which `enough` is true, of a tensor of numbers: it is up to some number."""

    def halve(i, low):
        middle = low + ops.left_shift(ops.cast(1, "int32"), ops.cast(bits - 1 - i, "int32"))
        return ops.where(enough(middle), middle, low)

    return ops.fori_loop(0, bits, halve, zeros)
