"""Weight clustering: tensors with few distinct values, which may be any."""

import keras
import numpy as np

from keras_admm import checks, hints
from keras_admm.constraints import floats
from keras_admm.constraints.base import Codes, Set
from keras_admm.constraints.clusters import optimal_clusters, settled
from keras_admm.constraints.summary import chunks, summarize
from keras_admm.constraints.zero_cluster import clusters_beside_zero

EXACT = 10_000  # weights up to which the clusters are the optimal ones
BINS = 1 << 14  # beyond, how many means of bins stand for the weights
COARSE = 1 << 10  # of one tensor, by how many the clusters are found that the bins then settle
TOGETHER = 100_000  # numbers of channels that are clustered at once, and weights of all up to which it is exact
LEAST = 64  # for each cluster of one channel among many: weights up to which it is exact, and bins
COMPARED = 64  # middles up to which a comparison with each is faster than a search
PREFIX = 4096  # weights that tell at once that a tensor has many values


@keras.saving.register_keras_serializable("keras_admm")
class Codebook(Set):
    """Weight clustering: no more than `size` distinct values in a tensor or an output channel, zeros apart.

    Called with `x` it returns the nearest member, `argmin_{c, a} ||c[a] - x||` over codebooks `c` of `size` values and
    assignments `a`: 1-D k-means. With `keep_zeros`, weights that are exactly 0 stay 0 and take no place in the
    codebook, as the zeros of a pruned tensor must; every other weight goes to one of the `size` values. With `zero`,
    one of the values is 0, which other weights may join: `argmin` over codebooks of 0 and `size - 1` values.

    Up to 10,000 weights (non-zeros, with `keep_zeros`) the clusters are the optimal ones, see
    `clusters.optimal_clusters`. Beyond, they begin as the optimal ones for a histogram of 1,024 bins (or 16 for each
    cluster), and settle by k-means on one of at most 16,384 bins, each a narrow share of its value wide and standing
    for the mean of its weights; every weight then goes to the nearest value. On a million weights of Student's t with 3
    degrees of freedom the squared distance was 1e-5 above the optimum. Between two values equally near the lower is
    taken.

    With `scope="channel"`, TFMOT's `cluster_per_channel`, the same is solved for each output channel (an index of the
    last axis) by itself; a tensor of one axis is one channel. The channels share 100,000 weights up to which the
    clusters are the optimal ones, and beyond 16,384 bins; but each has at least 64 of both for each cluster, and 16,384
    over the number of clusters: with 16 clusters in 256 channels of 2,304 normal weights the squared distance was
    1.4e-4 above the optimum.

    Args:
        size: int from 1 to 65,536, how many values; with `zero` from 2.
        keep_zeros: bool, whether exact zeros stay, and are no cluster's.
        scope: `"tensor"` for one codebook, `"channel"` for one for each output channel (the last axis).
        zero: bool, whether 0 is one of the `size` values, where the loss and the other weights do not move it. Then
            `keep_zeros` says whether training to the set holds what is zero already, as in a pruned tensor; the nearest
            member is the same.

    Returns when called:
        A tensor of the shape and dtype of its input, which may be a NumPy array or a tensor of the backend that has its
        numbers already: not one in a compiled step.

    Raises:
        TypeError: for a size that is not a whole number.
        ValueError: for a size outside its range or an unknown scope; when called, for a tensor that is not finite, or
            is in a compiled step.

    Example:

    >>> import numpy as np
    >>> Codebook(2)(np.array([0.0, 1.0, 3.0, -5.0], "float32"))
    array([ 0.,  2.,  2., -5.], dtype=float32)
    >>> Codebook(3, zero=True)(np.array([0.5, 1.0, 3.0, -5.0], "float32"))
    array([ 0.,  0.,  3., -5.], dtype=float32)
    >>> Codebook(2, scope="channel")(np.array([[1, 10], [1, 20], [2, 30], [9, 30]], "float32")).T
    array([[ 1.3333334,  1.3333334,  1.3333334,  9.       ],
           [15.       , 15.       , 30.       , 30.       ]], dtype=float32)

    Reference: weight clustering in Ye et al., "A Unified Framework of DNN Weight Pruning and Weight
    Clustering/Quantization Using ADMM", arXiv:1811.01907.
    """

    def __init__(self, size: int, keep_zeros: bool = True, scope: hints.Scope = "tensor", zero: bool = False):
        self.zero = checks.boolean("Codebook", "zero", zero)
        least = 2 if zero else 1
        self.size = checks.integer("Codebook", "size", size, least, 65536, "Pass 16 for four bits a weight.")
        self.keep_zeros = checks.boolean("Codebook", "keep_zeros", keep_zeros)
        self.scope = checks.choice("Codebook", "scope", scope, ("tensor", "channel"))

    def __call__(self, x):
        return floats.on_host("Codebook", self._project, x)

    def codes(self, z):
        by_channel = self.scope == "channel" and z.ndim > 1
        return Codes(z, by_channel, scaled=False, zeros_stay=self.keep_zeros, zero=self.zero)

    @property
    def zeros_apart(self) -> bool:
        """Whether a zero stays zero wherever the clusters are."""
        return self.keep_zeros or self.zero

    def get_config(self):
        return {"size": self.size, "keep_zeros": self.keep_zeros, "scope": self.scope, "zero": self.zero}

    def _project(self, x, dtype):
        rows = x.reshape(1, -1)
        by_channel = self.scope == "channel" and x.ndim > 1
        if by_channel:
            rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)
        done = self._nearest(rows, dtype)
        return np.ascontiguousarray(done.T).reshape(x.shape) if by_channel else done.reshape(x.shape)

    def _nearest(self, rows, dtype):
        """The nearest member of each row."""
        most = self.size + (self.keep_zeros and not self.zero)
        moved = [i for i, row in enumerate(rows) if row.size and not few_values(row, most, self.zeros_apart)]
        done = rows.copy() if moved else rows
        for part in _together(moved, min(self._limits(len(rows))[0], rows.shape[1])):
            for i, means in zip(part, self._means(rows, part), strict=True):
                means = np.unique(floats.rounded(means, floats.digits(dtype), dtype)).astype("float32")
                done[i] = nearest_mean(rows[i], means, self.zeros_apart)
        return done

    def _means(self, rows, part):
        """The clusters of some of the rows, those of all found at once."""
        told = [self._summary(rows[i], *self._limits(len(rows))) for i in part]
        if self.zero:
            return clusters_beside_zero(told, self.size - 1)
        length = max(len(values) for values, _ in told)
        values = [np.pad(v, (0, length - len(v)), mode="edge") for v, _ in told]
        counts = [np.pad(c, (0, length - len(c))) for _, c in told]
        if len(rows) == 1 and counts[0].sum() > EXACT:
            return [settled(values[0], counts[0], self.size, max(COARSE, 16 * self.size))]
        return optimal_clusters(np.stack(values), np.stack(counts), self.size)

    def _summary(self, row, exact, bins):
        weights = np.count_nonzero(row) if self.zeros_apart else row.size
        return summarize(row, exact if weights <= exact else bins, zeros=not self.zeros_apart)

    def _limits(self, rows):
        """Up to how many weights of each of so many rows the clusters are the optimal ones; beyond, how many bins."""
        if rows <= 1:
            return EXACT, BINS
        least = max(min(LEAST * self.size, BINS), BINS // self.size)
        return max(TOGETHER // rows, least), max(BINS // rows, least)


def _together(rows, length):
    """The rows in parts whose numbers are no more than so many."""
    step = max(TOGETHER // max(length, 1), 1)
    return (rows[start : start + step] for start in range(0, len(rows), step))


def few_values(x, most, zero_needed):
    """Whether a flat tensor has no more than `most` distinct values; one of them has to be 0 if `zero_needed`."""
    found = np.unique(x[:PREFIX])
    if zero_needed:
        found = np.union1d(found, np.float32(0))
    while found.size <= most:
        other = x[found[np.searchsorted(found, x).clip(max=found.size - 1)] != x]
        if not other.size:
            return True
        found = np.union1d(found, other[:PREFIX])
    return False


def nearest_mean(x, means, keep_zeros):
    """For each weight the nearest of the rising `means`, the lower of two."""
    middles = ((means[1:].astype("float64") + means[:-1]) / 2).astype("float32")
    middles = np.minimum(middles, np.nextafter(means[1:], np.float32(-np.inf)))  # neighbours' middle may round up
    y = np.empty_like(x)
    for whole, part in zip(chunks(x), chunks(y), strict=True):
        np.take(means, _places(middles, whole), out=part)
        if keep_zeros:
            part[whole == 0] = 0  # not a product, which makes zeros with a sign
    return y


def _places(middles, x):
    """How many of the rising `middles` each weight is above: by comparisons, of which a handful is a search."""
    if middles.size > COMPARED:
        return np.searchsorted(middles, x)
    places = np.zeros(x.shape, "uint8")
    for middle in middles:
        places += x > middle
    return places
