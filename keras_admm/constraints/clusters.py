"""The optimal clusters of numbers on a line."""

import numpy as np


class Line:
    """Numbers in rising order, with how often each occurs; a cluster is a run of them.

    Costs are differences of running sums: exact to float64's 16 digits of the sum of all squares.

    Args:
        values: float64 array, rising.
        counts: float64 array.
    """

    def __init__(self, values, counts):
        # Around their mean, where the squares lose fewest digits.
        centered = values - values @ counts / counts.sum()
        masses = (counts, counts * centered, counts * centered**2)
        self.count, self.first, self.second = (np.concatenate([[0.0], np.cumsum(mass)]) for mass in masses)

    def __len__(self):
        return len(self.count) - 1

    def cost(self, start, end):
        """The squared distance of the numbers `[start, end)` to their mean; of none of them 0."""
        count, first = self.count[end] - self.count[start], self.first[end] - self.first[start]
        return (
            self.second[end]
            - self.second[start]
            - np.divide(first**2, count, out=np.zeros_like(first), where=count > 0)
        )


def optimal_clusters(values, counts, size):
    """The means of the clusters whose squared distances to the numbers are least: 1-D k-means, exactly.

    Solves `argmin_C sum_j counts_j min_{c in C} (values_j - c)^2` over sets `C` of at most `size` means, by dynamic
    programming over the runs of the sorted numbers (Wang and Song, "Ckmeans.1d.dp", The R Journal 3/2, 2011). Where
    the best last cluster begins rises with where it ends, so each of the `size` rounds halves its ranges,
    `O(n log n)` each.

    Args:
        values: float64 array, rising, no two equal.
        counts: float64 array, how often each occurs.
        size: int, how many clusters.

    Returns:
        float64 array of no more than `size` means, rising.

    Example:

    >>> import numpy as np
    >>> optimal_clusters(np.array([0.0, 1.0, 10.0, 11.0, 30.0]), np.ones(5), 3)
    array([ 0.5, 10.5, 30. ])
    """
    if len(values) <= size:
        return values
    _, rounds = _all_rounds(Line(values, counts), size)
    return _means(values, counts, _trace_back(rounds, len(values)))


def optimal_ends(values, kept, size):
    """The means of the clusters when all but `kept` numbers may be put to 0 instead.

    Solves `argmin_y sum_j (values_j - y_j)^2` over `y` of at most `kept` non-zeros that take at most `size` values.
    What a number gains over being 0, `max_c (2 v c - c^2)`, is convex in it, so those put to 0 are a run of the
    sorted numbers, and no cluster has members on both its sides. The clusters of each number of lowest and of
    highest numbers are known from `optimal_clusters`' rounds; the best pair that shares `kept` and `size` is the
    minimum.

    Args:
        values: float64 array, rising.
        kept: int, how many may be non-zero, at most `len(values)`.
        size: int, how many clusters.

    Returns:
        `(means, low, high)`: float64 array of no more than `size` means, rising; of how many of the lowest and of
        how many of the highest numbers.
    """
    low, high = _Side(values[:kept], size), _Side(-values[::-1][:kept], size)
    shares = []
    for used, gains in enumerate(low.gains):
        at_most = np.maximum.accumulate(high.gains[size - used])  # gains of no more than so many highest numbers
        both = gains + at_most[::-1]
        shares.append((both.max(), used, int(both.argmax())))
    _, used, lows = max(shares, key=lambda share: share[0])
    highs = int(high.gains[size - used][: kept - lows + 1].argmax())
    means = low.means(used, lows), -high.means(size - used, highs)[::-1]
    return np.concatenate(means), lows, highs


class _Side:
    """The numbers of one end, from the outermost on, with what clusters of each number of them gain over zeros."""

    def __init__(self, values, size):
        self._values = values
        totals, self._rounds = _all_rounds(Line(values, np.ones(len(values))), size)
        none = np.full(len(values) + 1, -np.inf)
        none[0] = 0
        squares = np.concatenate([[0.0], np.cumsum(values**2)])
        self.gains = [none, *(squares - total for total in totals)]

    def means(self, clusters, count):
        if not count:
            return np.zeros(0)
        values = self._values[:count]
        return _means(values, np.ones(count), _trace_back(self._rounds[: clusters - 1], count))


def _all_rounds(line, size):
    """The least cost of each first `end` numbers in `1 ... size` clusters, and where the last of these starts."""
    totals = [line.cost(np.zeros(len(line) + 1, dtype=np.intp), np.arange(len(line) + 1))]
    rounds = []
    for _ in range(size - 1):
        total, starts = _one_more(line, totals[-1])
        totals.append(total)
        rounds.append(starts)
    return totals, rounds


def _means(values, counts, begins):
    begins = np.unique([begin for begin in begins if begin < len(values)])
    return np.add.reduceat(counts * values, begins) / np.add.reduceat(counts, begins)


def _trace_back(rounds, end):
    """Where the clusters of the first `end` numbers begin, from the last to the first."""
    for starts in reversed(rounds):
        end = starts[end]
        yield int(end)
    yield 0


def _one_more(line, total):
    """The least cost of each first `end` numbers in one more cluster, and where that cluster starts."""
    length = len(total)
    best, starts = np.empty(length), np.empty(length, dtype=np.intp)
    # Ends are settled from the coarse to the fine: each lies between two that bound where its cluster starts.
    stride = 1 << length.bit_length()
    while stride > 1:
        ends = np.arange(stride // 2, length + 1, stride) - 1
        low = np.where(ends >= stride // 2, starts[ends - stride // 2], 0)
        above = ends + stride // 2
        high = np.where(above < length, starts[np.minimum(above, length - 1)], ends)
        best[ends], starts[ends] = _least(line, total, ends, low, np.minimum(high, ends))
        stride //= 2
    return best, starts


def _least(line, total, ends, low, high):
    """For each end the least `total[start] + cost(start, end)` over `low <= start <= high`, and that start."""
    widths = high - low + 1
    offsets = np.cumsum(widths) - widths
    start = np.arange(widths.sum()) + np.repeat(low - offsets, widths)
    costs = total[start] + line.cost(start, np.repeat(ends, widths))
    least = np.minimum.reduceat(costs, offsets)
    at = np.flatnonzero(costs == np.repeat(least, widths))
    first = at[np.searchsorted(at, offsets)]
    return least, start[first]
