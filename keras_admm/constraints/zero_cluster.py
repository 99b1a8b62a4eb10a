"""Optimal k-means clusters of numbers on a line of which one stays at 0."""

import numpy as np

from keras_admm.constraints.clusters import Lines, all_rounds, means_of, trace_back


def clusters_beside_zero(rows, size):
    """The means of the clusters whose squared distances to the numbers are least, and 0, which is one more.

    Solves, for each row, `argmin_C sum_j counts_j min_{c in C or 0} (values_j - c)^2` over sets `C` of at most `size`
    means, exactly. What a number gains over being at 0, `max_c (2 v c - c^2)`, is convex in it, so those at 0 are a run
    of the sorted numbers, the clusters below it hold negative numbers alone and those above it positive ones. Each
    side's best clusters of any number of its outermost numbers are known from `clusters.all_rounds`; the best division
    of `size` over the two sides is the minimum.

    Args:
        rows: list of pairs of float64 arrays of equal length: values, rising, and how often each occurs.
        size: int >= 1, how many clusters beside that of 0.

    Returns:
        A list with a float64 array of no more than `size` means and 0, rising, for each row.

    Example:

    >>> import numpy as np
    >>> clusters_beside_zero([(np.array([-5.0, 0.5, 1.0, 3.0]), np.ones(4))], 2)
    [array([-5.,  0.,  3.])]
    """
    low = Sides([(v[v < 0], c[v < 0]) for v, c in rows], size)
    high = Sides([(-v[v > 0][::-1], c[v > 0][::-1]) for v, c in rows], size)
    above = (low.most[:, ::-1] + high.most).argmax(axis=1)  # how many of the clusters
    return [np.concatenate([low.means(i, size - n), [0.0], -high.means(i, n)[::-1]]) for i, n in enumerate(above)]


class Sides:
    """Rows of numbers on one side of 0, from the outermost on, and what clusters of them gain over being at 0.

    Args:
        rows: list of pairs of float64 arrays: negative values, rising, and how often each occurs.
        size: int, up to how many clusters.

    Attributes:
        most: array `(rows, size + 1)`, the most that so many clusters of a row gain.
    """

    def __init__(self, rows, size):
        # Behind each row a 0, so that none is empty, and what fills it up: neither gains.
        length = 1 + max(len(values) for values, _ in rows)
        self._values = np.stack([np.pad(values, (0, length - len(values))) for values, _ in rows])
        self._counts = np.stack([np.pad(np.append(c, 1.0), (0, length - 1 - len(c))) for _, c in rows])
        lines = Lines(self._values, self._counts)
        totals, self._rounds = all_rounds(lines, min(size, length))
        squares = np.pad(np.cumsum(self._counts * self._values**2, axis=1), ((0, 0), (1, 0)))
        gains = (squares - total.reshape(squares.shape) for total in totals)
        found = [(gain.argmax(axis=1), gain.max(axis=1)) for gain in gains]
        ends, most = (np.stack([np.zeros_like(each[0]), *each], axis=1) for each in zip(*found, strict=True))
        of = np.minimum(np.arange(size + 1), length)  # more clusters than numbers gain no more
        self._begins, self._ends, self.most = lines.begins, ends[:, of], most[:, of]

    def means(self, row, clusters):
        """The means of the clusters of a row that gain most, rising."""
        count = self._ends[row, clusters]
        if not count:
            return np.zeros(0)
        first = self._begins[row]
        begins = trace_back(self._rounds[: clusters - 1], np.array([first]), np.array([first + count])) - first
        begins = np.unique(begins[begins < count])
        return means_of(self._values[row, :count], self._counts[row, :count], begins)[0]
