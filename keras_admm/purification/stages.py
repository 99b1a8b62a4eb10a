"""What a computation lets through, channel by channel: which outputs are constant, which inputs are needed.

A channel is an index of the last axis. A constant is a float64, the same for all samples and places, or NaN where
there is none. `forward` takes the constants of each input to those of the output, `backward` the output's needs to a
list of those of each input. On the way both change the weights: constants move into biases, what is not needed
becomes zero. Neither changes a channel that is needed.
"""

import numpy as np


class Each:
    """A function of each channel by itself, of one input or of several.

    Args:
        function: takes an array of constants for each input, NaN where there is none, and returns one.
        inputs: how many.
    """

    def __init__(self, function, inputs=1):
        self.forward = function
        self._inputs = inputs

    def backward(self, needed):
        return [needed] * self._inputs


class Mixed:
    """A function of all channels together, such as softmax."""

    def forward(self, constant):
        return np.full(len(constant), np.nan)

    def backward(self, needed):
        return [np.full(len(needed), needed.any())]


class Linear:
    """Dense or convolved: output [group, o] = bias + the sum over places and i of kernel * input [group, i].

    Args:
        kernel: array of shape `(places, inputs, groups, outputs)`, a view that is written to.
        bias: array of one number for each output, written to, or None.
        padded: whether zeros stand around the input, beside which only a zero is constant.
        exact: whether a bias may take up constants: not where the layer computes too coarsely to tell.
    """

    def __init__(self, kernel, bias, padded, exact):
        self._kernel = kernel
        self._bias = None if bias is None else bias.reshape(kernel.shape[2:])
        self._padded = padded
        self._foldable = exact and bias is not None

    def forward(self, constant):
        constant = constant.reshape(self._kernel.shape[2], -1).T
        if self._padded:
            constant = np.where(constant == 0, 0.0, np.nan)
        known = ~np.isnan(constant)
        given = self._given(constant, known)
        if self._foldable:
            self._bias += given
            given = 0.0
        self._kernel[:, known if self._foldable else constant == 0] = 0
        varies = (self._kernel.any(0) & ~known[:, :, None]).any(0)
        value = given + (0.0 if self._bias is None else self._bias)
        return np.where(varies, np.nan, value).reshape(-1)

    def _given(self, constant, known):
        """What the constants come to in each output."""
        i, group = np.nonzero(known & (constant != 0))
        parts = constant[i, group, None] * self._kernel[:, i, group].sum(0, dtype=np.float64)
        given = np.zeros(self._kernel.shape[2:])
        np.add.at(given, group, parts)
        return given

    def backward(self, needed):
        needed = needed.reshape(self._kernel.shape[2:])
        self._kernel[:, :, ~needed] = 0
        if self._bias is not None:
            self._bias[~needed] = 0
        return [self._kernel.any((0, 3)).T.reshape(-1)]


class Scale:
    """Batch normalisation at inference: output = gamma * (input - mean) / deviation + beta.

    Args:
        gamma, beta: arrays, written to, or None.
        mean, deviation: arrays.
        exact: as for `Linear`.
    """

    def __init__(self, gamma, beta, mean, deviation, exact):
        self._gamma, self._beta = gamma, beta
        self._mean, self._deviation = mean, deviation
        self._foldable = exact and gamma is not None and beta is not None

    def forward(self, constant):
        gamma = 1.0 if self._gamma is None else self._gamma.astype(np.float64)
        scaled = np.where(gamma == 0, 0.0, gamma * (constant - self._mean) / self._deviation)
        value = scaled + (0.0 if self._beta is None else self._beta)
        if self._foldable:
            known = ~np.isnan(value)
            self._beta[known] = value[known]
            self._gamma[known] = 0
        return value

    def backward(self, needed):
        for array in (self._gamma, self._beta):
            if array is not None:
                array[~needed] = 0
        return [needed if self._gamma is None else needed & (self._gamma != 0)]


class Regroup:
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

    def backward(self, needed):
        if self._after >= self._before:
            return [needed.reshape(-1, self._before).any(0)]
        return [np.tile(needed, self._before // self._after)]


class Joined:
    """Channels of several inputs, one after another.

    Args:
        sizes: how many each input has.
    """

    def __init__(self, sizes):
        self._ends = np.cumsum(sizes)[:-1]

    def forward(self, *constants):
        return np.concatenate(constants)

    def backward(self, needed):
        return np.split(needed, self._ends)
