"""What weights that take few values become at each step, and how their gradients are shared."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_admm.attach.slot import HELD

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
            weights that are trained differ from the variable's, or `HELD` where a weight stays zero; with tied ones
            the number of each weight's cluster, from 1, or its multiple of the scale; 0 where it stays zero.
        values: float32 variable. With places found anew the values, rising, `(2**n, 1)` for all weights or
            `(2**n, channels)`, the last of them `HELD` where there are fewer; with tied ones, for each scale, or each
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
        return self._through(w, self._means)

    def through_scale(self, w):
        """The same with values whose ratios stay: their scale becomes that of least squares."""
        return self._through(w, self._rescaled)

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
        scale = ops.sum(ops.cast(x, "float32") * pattern, axis=self._axes(self.values.shape[0], x)) * self.values
        return ops.cast(scale * pattern, x.dtype)

    def _through(self, w, fitted):
        held = ops.equal(self.target, HELD)
        trained = ops.cast(w, "float32") + ops.where(held, 0.0, ops.convert_to_tensor(self.target))
        values, near = fitted(trained, ops.logical_not(held))
        self.values.assign(values)
        self.steps.assign(self.steps + 1)
        self.target.assign(ops.where(held, HELD, trained - near))
        return ops.cast(ops.where(held, 0.0, near), w.dtype)

    def _means(self, trained, live):
        """The values, some of which become, by turns, the means of their own weights; and the value of each weight.

        All of many values at every step would be a pass over all weights for each, which costs more than the step.
        """
        values, middles = self._ladder()
        count = values.shape[0]
        fitted, at_once = values, max(REFITTED // count, 1)
        for i in range(min(at_once, count)):
            turn = ops.mod(ops.cast(self.steps, "int32") * at_once + i, count)
            now = ops.expand_dims(ops.equal(ops.arange(count), turn), 1)
            fitted = ops.where(now, self._mean(trained, live, values, middles, turn), fitted)
        return fitted, nearest(trained, middles, fitted)

    def _mean(self, trained, live, values, middles, turn):
        """The mean of the weights that one of the values is the nearest to; of none, the value itself."""
        edge = ops.full((1, values.shape[1]), np.inf, "float32")
        above, upto = (ops.take(ops.concatenate(e), turn, axis=0) for e in ([-edge, middles], [middles, edge]))
        own = ops.logical_and(live, ops.logical_and(ops.greater(trained, above), ops.less_equal(trained, upto)))
        axes, value = self._axes(values.shape[1], trained), ops.take(values, turn, axis=0)
        # Of the distances, for a sum of float32s is the more exact the smaller they are.
        distance = ops.sum(ops.where(own, trained - value, 0.0), axis=axes)
        return value + distance / ops.maximum(ops.sum(ops.cast(own, "float32"), axis=axes), 1.0)

    def _rescaled(self, trained, live):
        """The values on the scale of least squares, and the value of each weight."""
        values, middles = self._ladder()
        near, axes = ops.where(live, nearest(trained, middles, values), 0.0), self._axes(values.shape[1], trained)
        top = ops.max(ops.where(values < HELD, ops.abs(values), 0.0), axis=0)
        unit = 1 / ops.where(top > 0, top, 1.0)  # in which the squares are numbers of float32
        squares = ops.sum(ops.square(unit * near), axis=axes)
        along = ops.sum(unit * trained * (unit * near), axis=axes)
        scale = ops.where(squares > 0, along / ops.where(squares > 0, squares, 1.0), 1.0)
        return ops.where(values < HELD, scale * values, values), scale * near

    def _ladder(self):
        """The values and the middles between them, along the first axis."""
        values = ops.convert_to_tensor(self.values)
        return values, (values[1:] + values[:-1]) / 2

    @staticmethod
    def _axes(channels, x):
        """What is summed over for one scale, or for one in each channel."""
        return tuple(range(len(x.shape) - 1)) if channels > 1 else None


def nearest(x, middles, values):
    """Of `values`, `(n, 1)` or `(n, channels)`, that of each of `x` by the `middles` that it is above."""
    if values.shape[0] > COMPARED:
        return ops.take(ops.reshape(values, (-1,)), _place(x, middles, *values.shape))
    near = ops.broadcast_to(values[0], x.shape)
    for i in range(values.shape[0] - 1):
        near = ops.where(ops.greater(x, middles[i]), values[i + 1], near)
    return near


def _place(x, middles, count, channels):
    """Where in the flat values, a power of two of them, is the one of each of `x`: by halves, a search for each bit."""
    middles, offset, place = ops.reshape(middles, (-1,)), ops.arange(channels), ops.zeros(x.shape, "int32")
    for half in (count >> bit for bit in range(1, count.bit_length())):
        above = ops.greater(x, ops.take(middles, (place + (half - 1)) * channels + offset))
        place = place + half * ops.cast(above, "int32")
    return place * channels + offset
