"""Symbols of a large tensor, by one table of frequencies that does not change: whole arrays at a time."""

import math

import constriction
import numpy as np

from .errors import malformed

TOTAL = 1 << 24
WORDS_OF_A_STATE = 2  # of the range coder, which may leave them out
CHUNK = 1 << 16  # symbols that are decoded at a time
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
    """`count` symbols, int32, in arrays of at most `CHUNK`: a section may announce more than memory holds.

    Raises:
        PackedFileError: at once for fewer words than so many symbols take even if all are the commonest one.
    """
    least = count * -math.log2((max(weights) + 1) / TOTAL)
    if 32 * (len(words) + WORDS_OF_A_STATE) < least:
        raise malformed(f"{len(words)} words where {count} symbols are announced")
    return _decoded(words, weights, count)


def _decoded(words, weights, count):
    decoder, model = constriction.stream.queue.RangeDecoder(words), _model(weights)
    for start in range(0, count, CHUNK):
        try:
            yield decoder.decode(model, min(CHUNK, count - start))
        except AssertionError as error:
            raise malformed("a stream that ends in impossible bits") from error


def _model(weights):
    # constriction adds 1 to each weight; whole numbers that then add up to 2^24 are not rounded.
    return constriction.stream.model.Categorical(np.array(weights, np.float64), perfect=False)
