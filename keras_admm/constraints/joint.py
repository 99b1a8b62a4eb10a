"""Sparse and quantized at once: tensors with few non-zeros that are also on few levels, or in few clusters."""

import keras
import numpy as np

from keras_admm import checks
from keras_admm.constraints import floats
from keras_admm.constraints.base import Set
from keras_admm.constraints.clusters import optimal_ends
from keras_admm.constraints.codebook import Codebook, few_values, nearest_mean
from keras_admm.constraints.levels import OnLevels
from keras_admm.constraints.patterns import pattern
from keras_admm.constraints.sparse import Sparse, Support

EXACT = 100_000  # kept weights up to which the nearest sparse and clustered tensor is looked for


@keras.saving.register_keras_serializable("keras_admm")
class Joint(Set):
    """Pruned and quantized weights: few non-zeros, and these on levels or in clusters.

    Called with `x` it returns the nearest member, `argmin ||y - x||` over `y` in both. That is proved, and else
    refused, for

    - `Support` with any levels or clusters: what is off the support is 0 in every member, the rest is free of it.
    - `Sparse` of single weights with levels of one scale for the tensor: what a weight gains over being 0,
      `max_m (2 q m |w| - q^2 m^2)`, rises with `|w|` whatever the scale `q`, so the largest stay for the best scale
      too, of `"m:n"` in each window: the tensor is made sparse, and what stays is projected on the levels. (As exact
      as `Levels` itself is.)
    - `Sparse` of single weights, not of `"m:n"`, with a `Codebook`, up to 100,000 kept: what a weight gains is convex
      in it, so those put to 0 are a run of the sorted weights, and the best run and clusters are found together; see
      `clusters.optimal_ends`. A kept weight may become 0 where that is nearer than any cluster.

    Args:
        sparse: a `Sparse` or a `Support`.
        levels: a `Levels`, `Binary(keep_zeros=True)`, `Ternary`, `PowersOfTwo` or `Codebook`.

    Raises:
        TypeError: for other sets.
        ValueError: for a pair whose nearest member is not proved: blocks, a scale or codebook for each channel; for
            levels that allow no zeros; when called, for more than 100,000 kept in clusters.

    Example:

    >>> import numpy as np
    >>> from keras_admm.constraints import Levels
    >>> Joint(Sparse(0.5), Levels(2, zero=False))(np.array([0.5, -1.8, 0.9, 4.1], "float32"))
    array([ 0., -2.,  0.,  4.], dtype=float32)

    Reference: pruning and quantization in one in Ye et al., "A Unified Framework of DNN Weight Pruning and Weight
    Clustering/Quantization Using ADMM", arXiv:1811.01907.
    """

    def __init__(self, sparse: Set, levels: Set):
        _check_types(sparse, levels)
        _check_proved(sparse, levels)
        self.sparse = sparse
        self.levels = levels

    def __call__(self, x):
        if isinstance(self.sparse, Sparse) and isinstance(self.levels, Codebook):
            return floats.on_host("Joint", self._sparse_clusters, x)
        return self.levels(self.sparse(x))

    def along(self, axes):
        return Joint(self.sparse.along(axes), self.levels)

    def check_shape(self, shape):
        self.sparse.check_shape(shape)

    def codes(self, z):
        return self.levels.codes(z)._replace(zeros_stay=True, zero=False)

    def __repr__(self):
        return f"Joint({self.sparse!r}, {self.levels!r})"

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {"sparse": serialize(self.sparse), "levels": serialize(self.levels)}

    @classmethod
    def from_config(cls, config):
        return cls(**{name: keras.saving.deserialize_keras_object(part) for name, part in config.items()})

    def _sparse_clusters(self, x, dtype):
        flat, size = x.reshape(-1), self.levels.size - self.levels.zero
        kept = round((1 - self.sparse.sparsity) * flat.size)
        if np.count_nonzero(flat) <= kept and few_values(flat, size + 1, zero_needed=True):
            return x
        if kept > EXACT:
            raise ValueError(
                f"Joint: the nearest sparse and clustered tensor is proved for up to {EXACT:,} kept weights. Received: "
                f"a tensor of shape {x.shape} that keeps {kept:,}. Prune first, then cluster, or use Levels."
            )
        y = np.zeros_like(flat)
        if not kept:
            return y.reshape(x.shape)
        order = np.argsort(flat, kind="stable")
        means, low, high = optimal_ends(flat[order].astype("float64"), kept, size)
        means = np.unique(floats.rounded(means, floats.digits(dtype), dtype)).astype("float32")
        ends = np.concatenate([order[:low], order[flat.size - high :]])
        y[ends] = nearest_mean(flat[ends], means, keep_zeros=True)
        return y.reshape(x.shape)


def _check_types(sparse, levels):
    if not isinstance(sparse, (Sparse, Support)):
        raise TypeError(checks.refused("Joint", "sparse", "a Sparse or a Support", sparse, "Pass Sparse(0.9)."))
    if not isinstance(levels, (OnLevels, Codebook)):
        must = "a Levels, Binary, Ternary, PowersOfTwo or Codebook"
        raise TypeError(checks.refused("Joint", "levels", must, levels, "Pass Levels(4)."))


def _check_proved(sparse, levels):
    if not levels.zeros_apart:
        raise ValueError(
            "Joint: what is pruned must stay 0. Received: a set that moves zeros, "
            f"{type(levels).__name__} with {levels.get_config()}. Pass keep_zeros=True."
        )
    if isinstance(sparse, Support):
        return
    together = pattern("Joint", sparse.structure)
    if not together.single or isinstance(levels, Codebook) and together.sparsity is not None:
        raise ValueError(
            "Joint: the nearest member is proved for single weights only, in clusters for all of a tensor together: "
            "of blocks, or in each window, the largest need not be those that gain most. Received: "
            f"structure={sparse.structure!r}, {type(levels).__name__}. Prune first, and pass the Support of it."
        )
    if levels.scope != "tensor":
        raise ValueError(
            "Joint: the nearest member is proved for one scale or codebook only: with one for each channel the largest "
            f"need not be those that gain most. Received: scope={levels.scope!r}. Prune first, and pass the Support of "
            "it."
        )
