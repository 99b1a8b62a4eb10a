"""Straight-through estimation: weights take few values at each step, while others behind them are trained."""

import abc
import math
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import ops

from keras_admm.attach.rule_state import PRUNED
from keras_admm.attach.rules import Holding, dense
from keras_admm.attach.sweeps import counted, in_one_sweep

# Up to so many values, a comparison for each is faster than a search, whose every look-up is a gather.
COMPARED = 64
# At each step, so many values become the means of their weights, divided by how many there are.
REFITTED = 16


@dataclass(frozen=True, eq=False)
class StraightThroughRule(Holding):
    """Few values in place of the weights that are really trained, which move as far as `w` did from theirs.

    The target keeps by how much the trained weights differ from `w`; so the optimizer, which knows `w` alone, trains
    them straight through the rounding. Each goes to the nearest of the values, which follow. It is `PRUNED` where a
    weight stays zero.

    Args:
        shape: of the values: `(2**n, 1)` for all weights, or `(2**n, channels)`.
    """

    shape: tuple

    @property
    def own_variables(self):
        """The values; and how many updates there were, by which it is known whose turn it is among them."""
        return {"values": (self.shape, "float32"), "steps": ((), "int32")}

    @property
    def assigned(self):
        return self.state.target, self.state.own["values"], self.state.own["steps"]

    def set_values(self, values):
        """Set the values, an array, rising: the last of them `PRUNED` where there are fewer than a power of two."""
        self.state.own["values"].assign(values)

    def gradient(self, gradient, w, scale):
        return self.state.zero(dense(gradient, w))

    def after_update(self, w):
        target, values, steps = self.assigned
        step = in_one_sweep(partial(_straight_through, self._fitted), size=math.prod(w.shape))
        near, behind, fitted = step(*map(ops.convert_to_tensor, (w, target, values, steps)))
        target.assign(behind)
        values.assign(fitted)
        steps.assign(steps + 1)
        return near

    @staticmethod
    @abc.abstractmethod
    def _fitted(trained, values, steps):
        """The value of each weight, and the values as they are from here on: a pure function of tensors."""


class StraightThroughValues(StraightThroughRule):
    """The values become the means of their own weights: of 16 values one at each step, of 4 all."""

    @staticmethod
    def _fitted(trained, values, steps):
        return _means(trained, values, steps)


class StraightThroughValuesAndZero(StraightThroughRule):
    """The same, but a value that is 0 stays 0: weights join it and leave it."""

    @staticmethod
    def _fitted(trained, values, steps):
        return _means(trained, values, steps, moves=ops.not_equal(values, 0))


class StraightThroughScale(StraightThroughRule):
    """The ratios of the values stay: their scale becomes that of least squares."""

    @staticmethod
    def _fitted(trained, values, steps):
        return _rescaled(trained, values)


def _straight_through(fitted, w, target, values, steps):
    """What is in the weights' places, by how much they differ from that, and the values; all by tensors alone.

    A weight that is held is trained at `PRUNED` and its value is 0, so that nothing else looks for those.
    """
    trained = ops.where(ops.equal(target, PRUNED), PRUNED, ops.cast(w, "float32") + target)
    near, fitted_values = fitted(trained, values, steps)
    return ops.cast(near, w.dtype), trained - near, fitted_values


def _means(trained, values, steps, moves=True):
    """The value of each weight; and the values, some of which become, by turns, the means of their own weights.

    All may but those of which `moves` says that they stay.

    All of many values at every step would be a pass over all weights for each, which costs more than the step.
    """
    count, middles, fitted = values.shape[0], _middles(values), values
    at_once = max(REFITTED // count, 1)
    for i in range(min(at_once, count)):
        turn = ops.mod(ops.cast(steps, "int32") * at_once + i, count)
        now = ops.expand_dims(ops.equal(ops.arange(count), turn), 1)
        now = ops.logical_and(now, moves)
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


def _rescaled(trained, values):
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
        return ops.sum(x * y, axis=scale_axes(channels, x))
    if keras.backend.backend() != "tensorflow":
        return ops.dot(ops.reshape(x, (-1,)), ops.reshape(y, (-1,)))
    sums = ops.sum(ops.reshape(x * y, (-1, x.shape[-1])), axis=0)
    return ops.dot(sums, ops.ones_like(sums))


def scale_axes(channels, x):
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
