"""Shared values: weights that stay in their cluster, or on their multiple of a scale, and train together."""

import abc
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_admm.attach.rules import Holding, dense
from keras_admm.attach.straight_through import scale_axes


@dataclass(frozen=True, eq=False)
class SharedValuesRule(Holding):
    """Weights that share a value share its gradient, and its update. The target says who does; 0 stays zero.

    Args:
        shape: of the weights of the sums; see the subclasses.
    """

    shape: tuple
    zero = np.float32(0)

    @property
    def own_variables(self):
        """For each cluster, or each scale, 1 / how much counts for it."""
        return {"shares": (self.shape, "float32")}

    def set_shares(self, shares):
        """Set what each sum is multiplied by, an array."""
        self.state.own["shares"].assign(shares)

    def gradient(self, gradient, w, scale):
        return self.shared(dense(gradient, w))

    def after_update(self, w):
        return self.shared(w)

    @abc.abstractmethod
    def shared(self, x):
        """The nearest to `x`, a tensor, of those in which what belongs together is equal."""


class SharedClusters(SharedValuesRule):
    """The mean of its cluster for each weight. The target numbers the clusters by channel, from 1.

    Args:
        shape: `(n, 1)` or `(n, channels)`, of 1 / the sizes of the clusters.
    """

    def shared(self, x):
        shares = self.state.own["shares"]
        count, channels = self.shape
        places = ops.cast(self.state.target, "int32") * channels + ops.arange(channels, dtype="int32")
        flat, places = ops.reshape(ops.cast(x, "float32"), (-1,)), ops.reshape(places, (-1,))
        means = ops.segment_sum(flat, places, count * channels) * ops.reshape(shares, (-1,))
        return ops.cast(ops.reshape(ops.take(means, places), x.shape), x.dtype)


class SharedScale(SharedValuesRule):
    """The nearest multiple of the target, which holds the weights' ratios.

    Args:
        shape: `(1,)` or `(channels,)`, of 1 / the sum of the target's squares.
    """

    def shared(self, x):
        pattern = ops.convert_to_tensor(self.state.target)
        along = ops.sum(ops.cast(x, "float32") * pattern, axis=scale_axes(self.shape[0], x))
        return ops.cast(along * self.state.own["shares"] * pattern, x.dtype)
