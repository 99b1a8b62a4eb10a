"""Symbols of a large tensor, by one table of frequencies that does not change: whole arrays at a time."""

import constriction
import numpy as np

from .errors import malformed

TOTAL = 1 << 24
SYMBOLS = 256  # of a gap: 0 to 254 zeros and a non-zero, or 255 zeros and no more


def from_counts(counts):
    """The table of how often each symbol comes, from the counts themselves."""
    counts = [int(c) for c in counts]
    total, room = sum(counts), TOTAL - len(counts)
    weights = [room * c // total for c in counts]
    weights[weights.index(max(weights))] += room - sum(weights)
    return weights


def of_gaps(density):
    """The table of the zeros before a non-zero, where each cell is one with `density` / 65536."""
    left, weights = TOTAL - SYMBOLS, []
    for _ in range(SYMBOLS - 1):
        after = left * (65536 - density) >> 16
        weights.append(left - after)
        left = after
    return [*weights, left]


def encode(symbols, weights):
    """Words of 32 bits."""
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols.astype(np.int32, copy=False), _model(weights))
    return encoder.get_compressed()


def decode(words, weights, count):
    """`count` symbols, int32."""
    decoder = constriction.stream.queue.RangeDecoder(words)
    try:
        return decoder.decode(_model(weights), count)
    except AssertionError as error:
        raise malformed("a stream that ends in impossible bits") from error


def _model(weights):
    # constriction adds 1 to each weight; whole numbers that then add up to 2^24 are not rounded.
    return constriction.stream.model.Categorical(np.array(weights, np.float64), perfect=False)
