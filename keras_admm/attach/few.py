"""What weights that take few values become at each step, and how their gradients are shared."""

import math
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_admm.attach.slot import PRUNED
from keras_admm.attach.sweeps import counted, in_one_sweep

# Modes of a variable, by the methods of `Few`: places found anew at every step, or tied.
THROUGH = ("through_values", "through_scale")
TIED = ("tied_values", "tied_scale")
FEW = (*THROUGH, *TIED)
# Up to so many values, a comparison for each is faster than a search, whose every look-up is a gather.
COMPARED = 64
# At each step, so many values become the means of their weights, divided by how many there are.
REFITTED = 16


class Few(NamedTuple):
    """What one variable's places among few values are kept by.

    Attributes:
        target: float32 variable of the weight's shape, that of its `Slot`. With places found anew, by how much the
            weights that are trained differ from the variable's, or `PRUNED` where a weight stays zero; with tied ones
            the number of each weight's cluster, from 1, or its multiple of the scale; 0 where it stays zero.
        values: float32 variable. With places found anew the values, rising, `(2**n, 1)` for all weights or
            `(2**n, channels)`, the last of them `PRUNED` where there are fewer; with tied ones, for each scale, or each
            cluster `(n, 1)` or `(n, channels)`, 1 / how much counts for it.
        steps: int32 variable, how many updates there were with places found anew: whose turn it is among the values.
    """

    target: keras.Variable
    values: keras.Variable
    steps: keras.Variable

    def through_values(self, w):
        """Few values in place of the weights that are really trained, which moved as far as `w` did from theirs.

        The target keeps by how much the trained weights differ from `w`; so the optimizer, which knows `w` alone,
        trains them straight through the rounding. Each goes to the nearest of the `values`, which become the means of
        their own: of 16 values one at each step, of 4 all.
        """
        return self._through(w, _means)

    def through_scale(self, w):
        """The same with values whose ratios stay: their scale becomes that of least squares."""
        return self._through(w, _rescaled)

    def tied_values(self, x):
        """`x` with the mean of its cluster for each: `target` numbers them by channel, `values` are 1 / their sizes."""
        count, channels = self.values.shape
        places = ops.cast(self.target, "int32") * channels + ops.arange(channels, dtype="int32")
        flat, places = ops.reshape(ops.cast(x, "float32"), (-1,)), ops.reshape(places, (-1,))
        means = ops.segment_sum(flat, places, count * channels) * ops.reshape(self.values, (-1,))
        return ops.cast(ops.reshape(ops.take(means, places), x.shape), x.dtype)

    def tied_scale(self, x):
        """The multiple of `target` that is nearest to `x`: `values` are 1 / its squares' sum, for all or by channel."""
        pattern = ops.convert_to_tensor(self.target)
        scale = ops.sum(ops.cast(x, "float32") * pattern, axis=_axes(self.values.shape[0], x)) * self.values
        return ops.cast(scale * pattern, x.dtype)

    def _through(self, w, fitted):
        step = in_one_sweep(partial(_straight_through, fitted), size=math.prod(w.shape))
        near, target, values = step(*map(ops.convert_to_tensor, (w, self.target, self.values, self.steps)))
        self.target.assign(target)
        self.values.assign(values)
        self.steps.assign(self.steps + 1)
        return near


def _straight_through(fitted, w, target, values, steps):
    """What is in the weights' places, by how much they differ from that, and the values; all by tensors alone.

    A weight that is held is trained at `PRUNED` and its value is 0, so that nothing else looks for those.
    """
    trained = ops.where(ops.equal(target, PRUNED), PRUNED, ops.cast(w, "float32") + target)
    near, fitted_values = fitted(trained, values, steps)
    return ops.cast(near, w.dtype), trained - near, fitted_values


def _means(trained, values, steps):
    """The value of each weight; and the values, some of which become, by turns, the means of their own weights.

    All of many values at every step would be a pass over all weights for each, which costs more than the step.
    """
    count, middles, fitted = values.shape[0], _middles(values), values
    at_once = max(REFITTED // count, 1)
    for i in range(min(at_once, count)):
        turn = ops.mod(ops.cast(steps, "int32") * at_once + i, count)
        now = ops.expand_dims(ops.equal(ops.arange(count), turn), 1)
        fitted = ops.where(now, _mean(trained, values, middles, turn), fitted)
    return nearest(trained, middles, fitted), fitted


def _mean(trained, values, middles, turn):
    """The mean of the weights that one of the values is the nearest to; of none, the value itself."""
    edges = ops.concatenate([ops.full((1, values.shape[1]), -np.inf, "float32"), middles])
    above, upto, value = (ops.take(rows, turn, axis=0) for rows in (edges, middles, values))
    own = ops.logical_and(ops.greater(trained, above), ops.less_equal(trained, upto))
    own, channels = ops.cast(own, "float32"), values.shape[1]
    # Of the distances, for a sum of float32s is the more exact the smaller they are.
    distance = _product(own, ops.where(own > 0, trained - value, 0.0), channels)
    return value + distance / ops.maximum(_product(own, own, channels), 1.0)


def _rescaled(trained, values, steps):
    """The value of each weight, on the scale of least squares, and the values on it."""
    near, channels = nearest(trained, _middles(values), values), values.shape[1]
    top = ops.max(ops.where(values < PRUNED, ops.abs(values), 0.0), axis=0)
    unit = 1 / ops.where(top > 0, top, 1.0)  # in which the squares are numbers of float32
    relative = unit * near
    squares = _product(relative, relative, channels)
    along = unit * _product(trained, relative, channels)
    scale = ops.where(squares > 0, along / ops.where(squares > 0, squares, 1.0), 1.0)
    return scale * near, ops.where(values < PRUNED, scale * values, values)


def _product(x, y, channels):
    """The sum of `x * y` over all weights, or over those of each channel.

    Over all by a product, and on TensorFlow down the channels first: XLA sums in a core's lanes only so.
    """
    if channels > 1:
        return ops.sum(x * y, axis=_axes(channels, x))
    if keras.backend.backend() != "tensorflow":
        return ops.dot(ops.reshape(x, (-1,)), ops.reshape(y, (-1,)))
    sums = ops.sum(ops.reshape(x * y, (-1, x.shape[-1])), axis=0)
    return ops.dot(sums, ops.ones_like(sums))


def _axes(channels, x):
    """What is summed over for one scale, or for one in each channel."""
    return tuple(range(len(x.shape) - 1)) if channels > 1 else None


def _middles(values):
    """Between each of the values and the next; the last to what is held."""
    return (values + ops.concatenate([values[1:], ops.full((1, values.shape[1]), PRUNED, "float32")])) / 2


def nearest(x, middles, values):
    """Of `values`, `(n, 1)` or `(n, channels)`, that of each of `x` by the `middles` below it; 0 for `PRUNED`."""
    count = values.shape[0]
    table = ops.where(values < PRUNED, values, 0.0)
    if count > COMPARED:
        return ops.where(x < PRUNED, ops.take(ops.reshape(table, (-1,)), _place(x, middles, *values.shape)), 0.0)
    table = ops.concatenate([table, ops.zeros((1, values.shape[1]), "float32")])
    if keras.backend.backend() == "torch":
        return counted(x, middles, table)
    near = ops.broadcast_to(table[0], x.shape)
    for i in range(count):
        near = ops.where(ops.greater(x, middles[i]), table[i + 1], near)
    return near


def _place(x, middles, count, channels):
    """Where in the flat values, a power of two of them, is the one of each of `x`: by halves, a search for each bit."""
    middles, offset, place = ops.reshape(middles, (-1,)), ops.arange(channels), ops.zeros(x.shape, "int32")
    for half in (count >> bit for bit in range(1, count.bit_length())):
        above = ops.greater(x, ops.take(middles, (place + (half - 1)) * channels + offset))
        place = place + half * ops.cast(above, "int32")
    return place * channels + offset
