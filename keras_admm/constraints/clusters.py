"""Optimal k-means clusters of numbers on a line."""

import numpy as np


class Lines:
    """Rows of numbers in rising order, each with how often it occurs; a cluster is a run of a row.

    What lies between the numbers is counted through all rows: `start` and `end` of a run, both of one row, are places
    of a flat array, a row beginning at each of `begins`. Costs are differences of running sums: exact to float64's 16
    digits of a row's sum of all squares.

    Args:
        values: float64 array `(rows, numbers)`, rising in each row.
        counts: float64 array of the same shape; 0 for numbers that fill up a row that has fewer.
    """

    def __init__(self, values, counts):
        # Around their mean, where the squares lose fewest digits.
        centered = values - ((values * counts).sum(axis=1) / counts.sum(axis=1))[:, None]
        masses = (counts, counts * centered, counts * centered**2)
        self.count, self.first, self.second = (np.pad(np.cumsum(m, axis=1), ((0, 0), (1, 0))).ravel() for m in masses)
        self.begins = np.arange(len(values)) * (values.shape[1] + 1)
        self.length = values.shape[1]

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

    Solves, for each row, `argmin_C sum_j counts_j min_{c in C} (values_j - c)^2` over sets `C` of at most `size` means,
    by dynamic programming over the runs of the sorted numbers (Wang and Song, "Ckmeans.1d.dp", The R Journal 3/2,
    2011). Where the best last cluster begins rises with where it ends, so each of the `size` rounds halves its ranges,
    `O(n log n)` each; all rows are done at once.

    Args:
        values: float64 array `(rows, numbers)`, rising in each row.
        counts: float64 array of the same shape, how often each occurs; 0 for numbers that fill up a row.
        size: int, how many clusters.

    Returns:
        A list with a float64 array of no more than `size` means, rising, for each row.

    Example:

    >>> import numpy as np
    >>> optimal_clusters(np.array([[0.0, 1.0, 10.0, 11.0, 30.0]]), np.ones((1, 5)), 3)
    [array([ 0.5, 10.5, 30. ])]
    """
    rows, length = values.shape
    if length <= size:
        return [row[count > 0] for row, count in zip(values, counts, strict=True)]
    lines = Lines(values, counts)
    begins = trace_back(all_rounds(lines, size)[1], lines.begins, lines.begins + length) - lines.begins
    begins = np.unique((begins + np.arange(rows) * length)[begins < length])
    means, counts = means_of(values.ravel(), counts.ravel(), begins)
    of_row = np.searchsorted(begins[counts > 0], np.arange(1, rows) * length)
    return np.split(means[counts > 0], of_row)


def settled(values, counts, size, coarse):
    """The means of clusters that k-means settles on, from the optimal ones of fewer numbers.

    Neighbours are joined to no more than `coarse` numbers, whose clusters are optimal; from there assignment and
    means alternate to a fixed point on all of them.

    Args:
        values: float64 array, rising.
        counts: float64 array, how often each occurs.
        size: int, how many clusters.
        coarse: int, more than `size`.

    Returns:
        float64 array of no more than `size` means, rising.
    """
    count, first = (np.concatenate([[0.0], np.cumsum(mass)]) for mass in (counts, counts * values))
    joined = _even_runs(values, counts, coarse)
    masses, weights = np.diff(first[joined]), np.diff(count[joined])
    (means,) = optimal_clusters((masses / weights)[None], weights[None], size)
    ends = None
    while True:
        moved = np.searchsorted(values, (means[1:] + means[:-1]) / 2, side="right")
        moved = np.unique(np.concatenate([[0], moved, [len(values)]]))
        if np.array_equal(ends, moved):
            return means
        ends, means = moved, np.diff(first[moved]) / np.diff(count[moved])


def _even_runs(values, counts, most):
    """Where runs of numbers begin and end, no more than `most`, that lose about as much each by being joined."""
    # Of n numbers that span a width, that is n * width**2, and of each half of them an eighth.
    shares = np.cumsum(np.cbrt(counts * np.gradient(values) ** 2))
    ends = np.searchsorted(shares, np.linspace(0, shares[-1], most + 1)[1:-1], side="right")
    return np.unique(np.concatenate([[0], ends, [len(values)]]))


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
        totals, self._rounds = all_rounds(Lines(values[None], np.ones((1, len(values)))), size)
        none = np.full(len(values) + 1, -np.inf)
        none[0] = 0
        squares = np.concatenate([[0.0], np.cumsum(values**2)])
        self.gains = [none, *(squares - total for total in totals)]

    def means(self, clusters, count):
        if not count:
            return np.zeros(0)
        begins = trace_back(self._rounds[: clusters - 1], np.array([0]), np.array([count]))
        return means_of(self._values[:count], np.ones(count), np.unique(begins[begins < count]))[0]


def all_rounds(lines, size):
    """The least cost of each first numbers of a row in `1 ... size` clusters, and where the last of these starts."""
    ends = np.arange(len(lines.count))
    totals = [lines.cost(np.repeat(lines.begins, lines.length + 1), ends)]
    rounds = []
    for _ in range(size - 1):
        total, starts = _one_more(lines, totals[-1])
        totals.append(total)
        rounds.append(starts)
    return totals, rounds


def means_of(values, counts, begins):
    """The means of the runs that begin at `begins`, and how many numbers each has; of no numbers 0."""
    sums, counts = np.add.reduceat(counts * values, begins), np.add.reduceat(counts, begins)
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0), counts


def trace_back(rounds, firsts, ends):
    """Where the clusters between `firsts` and `ends` begin, from the last to the first: `(clusters, ends)`."""
    begins = []
    for starts in reversed(rounds):
        ends = starts[ends]
        begins.append(ends)
    return np.stack([*begins, firsts])


def _one_more(lines, total):
    """The least cost of each first numbers of a row in one more cluster, and where that cluster starts."""
    length = lines.length + 1
    best, starts = np.empty(len(total)), np.empty(len(total), dtype=np.intp)
    # Ends are settled from the coarse to the fine: each lies between two that bound where its cluster starts.
    half = 1 << (length.bit_length() - 1)
    while half:
        within = np.arange(half, length + 1, 2 * half) - 1
        ends = lines.begins[:, None] + within
        low = np.where(within >= half, starts[ends - half], lines.begins[:, None])
        high = np.where(within + half < length, starts[np.minimum(ends + half, len(total) - 1)], ends)
        ends = ends.ravel()
        best[ends], starts[ends] = _least(lines, total, ends, low.ravel(), np.minimum(high.ravel(), ends))
        half //= 2
    return best, starts


def _least(lines, total, ends, low, high):
    """For each end the least `total[start] + cost(start, end)` over `low <= start <= high`, and that start."""
    widths = high - low + 1
    offsets = np.cumsum(widths) - widths
    start = np.arange(widths.sum()) + np.repeat(low - offsets, widths)
    costs = total[start] + lines.cost(start, np.repeat(ends, widths))
    least = np.minimum.reduceat(costs, offsets)
    at = np.flatnonzero(costs == np.repeat(least, widths))
    first = at[np.searchsorted(at, offsets)]
    return least, start[first]
