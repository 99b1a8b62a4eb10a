"""What weights that take few values become at each step, and how their gradients are shared."""

from typing import NamedTuple

import keras
from keras import ops

from keras_admm.attach.slot import HELD

# Modes of a variable, by the methods of `Few`: places found anew at every step, or tied.
THROUGH = ("through_values", "through_scale")
TIED = ("tied_values", "tied_scale")
FEW = (*THROUGH, *TIED)


class Few(NamedTuple):
    """What one variable's places among few values are kept by.

    Attributes:
        target: float32 variable of the weight's shape, that of its `Slot`. With places found anew, by how much the
            weights that are trained differ from the variable's, or `HELD` where a weight stays zero; with tied ones
            the number of each weight's cluster, from 1, or its multiple of the scale; 0 where it stays zero.
        values: float32 variable. With places found anew the values, rising, `(2**n, 1)` for all weights or
            `(2**n, channels)`, the last of them `HELD` where there are fewer; with tied ones, for each cluster or
            scale, 1 / how much counts for it.
    """

    target: keras.Variable
    values: keras.Variable

    def through_values(self, w):
        """Few values in place of the weights that are really trained, which moved as far as `w` did from theirs.

        The target keeps by how much the trained weights differ from `w`; so the optimizer, which knows `w` alone,
        trains them straight through the rounding. Each goes to the nearest of the `values`, each of which then
        becomes the mean of its own.
        """
        return self._through(w, self._means)

    def through_scale(self, w):
        """The same with values whose ratios stay: their scale becomes that of least squares."""
        return self._through(w, self._rescaled)

    def tied_values(self, x):
        """`x` with the mean of its cluster for each: `target` numbers the clusters, `values` are 1 / their sizes."""
        flat, places = ops.reshape(ops.cast(x, "float32"), (-1,)), ops.reshape(ops.cast(self.target, "int32"), (-1,))
        means = ops.segment_sum(flat, places, self.values.shape[0]) * self.values
        return ops.cast(ops.reshape(ops.take(means, places), x.shape), x.dtype)

    def tied_scale(self, x):
        """The multiple of `target` that is nearest to `x`: `values` are 1 / its squares' sum, for all or by channel."""
        pattern = ops.convert_to_tensor(self.target)
        scale = ops.sum(ops.cast(x, "float32") * pattern, axis=self._axes(self.values.shape[0], x)) * self.values
        return ops.cast(scale * pattern, x.dtype)

    def _through(self, w, fitted):
        held = ops.equal(self.target, HELD)
        trained = ops.cast(w, "float32") + ops.where(held, 0.0, ops.convert_to_tensor(self.target))
        place = self._place(trained)
        values = fitted(trained, place, ops.cast(ops.logical_not(held), "float32"))
        near = ops.take(ops.reshape(values, (-1,)), place)
        self.values.assign(values)
        self.target.assign(ops.where(held, HELD, trained - near))
        return ops.cast(ops.where(held, 0.0, near), w.dtype)

    def _place(self, x):
        """Where in the flat `values`, rising along the first axis, is the nearest to each of `x`."""
        values = ops.convert_to_tensor(self.values)
        count, channels = values.shape
        middles = ops.reshape((values[1:] + values[:-1]) / 2, (-1,))
        offset = ops.arange(channels)
        place = ops.zeros(x.shape, "int32")
        # A search by halves: a comparison for each bit, where one for each value would fill the memory.
        for half in (count >> bit for bit in range(1, count.bit_length())):
            above = ops.greater(x, ops.take(middles, (place + (half - 1)) * channels + offset))
            place = place + half * ops.cast(above, "int32")
        return place * channels + offset

    def _means(self, trained, place, live):
        values, flat = ops.convert_to_tensor(self.values), ops.reshape(place, (-1,))
        size = values.shape[0] * values.shape[1]
        sums = ops.segment_sum(ops.reshape(trained * live, (-1,)), flat, size)
        counts = ops.segment_sum(ops.reshape(live, (-1,)), flat, size)
        means = ops.reshape(sums / ops.maximum(counts, 1.0), values.shape)
        return ops.where(ops.reshape(counts, values.shape) > 0, means, values)

    def _rescaled(self, trained, place, live):
        values = ops.convert_to_tensor(self.values)
        near, axes = ops.take(ops.reshape(values, (-1,)), place) * live, self._axes(values.shape[1], trained)
        squares = ops.sum(ops.square(near), axis=axes)
        scale = ops.sum(trained * near, axis=axes) / ops.where(squares > 0, squares, 1.0)
        return ops.where(ops.logical_and(squares > 0, values < HELD), scale * values, values)

    @staticmethod
    def _axes(channels, x):
        """What is summed over for one scale, or for one in each channel."""
        return tuple(range(len(x.shape) - 1)) if channels > 1 else None
