"""The stages that the channels of a layer's input go through: which are constant, and which are needed.

A channel is an index of the last axis. A constant is a number, the same for all samples and places, or NaN where there
is none.
"""

import math
from abc import ABC, abstractmethod

import numpy as np


class Stage(ABC):
    """One computation in a layer, as far as channels go. It changes nothing."""

    @abstractmethod
    def forward(self, *constants):
        """The constants of the output, of those of each input: arrays of one number for each channel."""

    @abstractmethod
    def backward(self, needed, *constants):
        """Which channels of each input are needed, a list: of those of the output, and the constants of each input.

        What is constant and can be computed beforehand is not needed.
        """


class Elementwise(Stage):
    """A function of each channel by itself, of one input or of several: activations, merges, pooling.

    Args:
        function: takes an array of constants for each input, NaN where there is none, and returns one.
    """

    def __init__(self, function):
        self._function = function

    def forward(self, *constants):
        return self._function(*constants)

    def backward(self, needed, *constants):
        return [needed] * len(constants)


class Mixing(Stage):
    """A function of all channels together, such as softmax."""

    def forward(self, constant):
        return np.full(len(constant), np.nan)

    def backward(self, needed, constant):
        return [np.full(len(needed), needed.any())]


class Linear(Stage):
    """A dense layer or a convolution: output [g, o] = bias + the sum over places and i of kernel * input [g, i].

    Args:
        kernel: array of axes `(*places, inputs, groups, outputs)`.
        bias: array of one number for each output, or None.
        padded: whether zeros stand around the input, beside which only a zero is constant.
        exact: whether the bias may take up constants: not where the layer computes too coarsely to tell.

    Attributes:
        kernel, bias: these.
    """

    def __init__(self, kernel, bias=None, padded=False, exact=True):
        self.kernel = kernel
        self.bias = None if bias is None else bias.reshape(kernel.shape[-2:])
        self._padded = padded
        self._foldable = exact and bias is not None

    def forward(self, constant):
        given = self._inputs(constant)
        varies = (self._used & np.isnan(given)[:, :, None]).any(0)
        if self._foldable:
            value = self.folded(constant)
        else:
            value = self._given(given) + (0.0 if self.bias is None else self.bias)
        return np.where(varies, np.nan, value).reshape(-1)

    def backward(self, needed, constant):
        used = (self._used & needed.reshape(self.kernel.shape[-2:])).any(-1)
        return [(used & ~self.settled(constant)).T.reshape(-1)]

    def settled(self, constant):
        """Which inputs [input, group] say nothing that the bias cannot."""
        given = self._inputs(constant)
        return ~np.isnan(given) if self._foldable else given == 0

    def folded(self, constant):
        """The bias with what the constants come to, where it may take them up; None without a bias."""
        if not self._foldable:
            return self.bias
        return (self.bias + self._given(self._inputs(constant))).astype(self.bias.dtype)

    @property
    def _used(self):
        return self.kernel.any(tuple(range(self.kernel.ndim - 3)))

    def _inputs(self, constant):
        constant = constant.reshape(self.kernel.shape[-2], -1).T
        return np.where(constant == 0, 0.0, np.nan) if self._padded else constant

    def _given(self, constant):
        """What the constants come to in each output."""
        i, group = np.nonzero(~np.isnan(constant) & (constant != 0))
        places = math.prod(self.kernel.shape[:-3])
        parts = self.kernel[..., i, group, :].reshape(places, len(i), self.kernel.shape[-1])
        given = np.zeros(self.kernel.shape[-2:])
        np.add.at(given, group, constant[i, group, None] * parts.sum(0, dtype=np.float64))
        return given


class Scale(Stage):
    """Batch normalization at inference: output = gamma * (input - mean) / sqrt(variance + epsilon) + beta.

    Args:
        gamma, beta: arrays, or None.
        mean, variance: arrays.
        epsilon: float.
        exact: as for `Linear`.

    Attributes:
        gamma, beta, mean, variance: these.
    """

    def __init__(self, gamma, beta, mean, variance, epsilon, exact=True):
        self.gamma, self.beta, self.mean, self.variance = gamma, beta, mean, variance
        self._epsilon = epsilon
        self._foldable = exact and gamma is not None and beta is not None

    def forward(self, constant):
        gamma = 1.0 if self.gamma is None else self.gamma.astype(np.float64)
        deviation = np.sqrt(self.variance.astype(np.float64) + self._epsilon)
        scaled = np.where(gamma == 0, 0.0, gamma * (constant - self.mean) / deviation)
        return scaled + (0.0 if self.beta is None else self.beta)

    def backward(self, needed, constant):
        if self.gamma is None:
            return [needed]
        return [needed & (self.gamma != 0) & ~self.settled(constant)]

    def settled(self, constant):
        """Which channels say nothing that beta cannot."""
        known = ~np.isnan(self.forward(constant))
        return known if self._foldable else np.zeros_like(known)


class Reshape(Stage):
    """A reshape: the channels repeat along the new last axis, or several of them share a new one.

    Args:
        before, after: how many channels; one divides the other.
    """

    def __init__(self, before, after):
        self._before, self._after = before, after

    def forward(self, constant):
        if self._after >= self._before:
            return np.tile(constant, self._after // self._before)
        sharing = constant.reshape(-1, self._after)
        return np.where((sharing == sharing[0]).all(0), sharing[0], np.nan)

    def backward(self, needed, constant):
        if self._after >= self._before:
            return [needed.reshape(-1, self._before).any(0)]
        return [np.tile(needed, self._before // self._after)]


class Concat(Stage):
    """Channels of several inputs, one after another.

    Args:
        sizes: how many each input has.
    """

    def __init__(self, sizes):
        self._ends = np.cumsum(sizes)[:-1]

    def forward(self, *constants):
        return np.concatenate(constants)

    def backward(self, needed, *constants):
        return np.split(needed, self._ends)
