"""Which branches of a model leave as a whole: what adds nothing to a sum and no channel to a concatenation."""

import numpy as np
from keras import tree

from keras_admm.graph.groups import living
from keras_admm.structure.readers import class_of
from keras_admm.weights import of_class

ADDED, SUBTRACTED, STRUNG, MULTIPLIED = "Add", "Subtract", "Concatenate", "Multiply"  # layers and operations
RECURRENT = "RNN", "Bidirectional", "SimpleRNNCell", "GRUCell", "LSTMCell", "StackedRNNCells"


class Leaving:
    """The calls that stay, and which of their inputs do not.

    Args:
        groups: `Groups` of the model.
        alive: array of bools over the groups.
        zero: set of the `Tensor`s that are zero for all inputs.

    Attributes:
        calls: list of the calls that stay.
        skipped: dict of `id(layer)` to the set of the places, among the tensors that it merges, of those that leave.
    """

    def __init__(self, groups, alive, zero):
        self._groups, self._alive, self._zero = groups, alive, zero
        self.skipped = self._agreed()
        calls, wanted = [], set(tree.flatten(groups.calls.outputs))
        for call in reversed(groups.calls.calls):
            if not wanted.isdisjoint(call.outputs):
                calls.append(call)
                wanted.update(self.taken(call))
        self.calls = calls[::-1]

    def taken(self, call):
        """The tensors that a call still takes."""
        skipped = self.skipped.get(id(call.layer), ())
        return [x for place, x in enumerate(call.reads()) if place not in skipped]

    def _agreed(self):
        """Of a layer that is called several times what leaves in each of its calls."""
        found = {}
        for call in self._groups.calls:
            skipped = self._skipped(call)
            found[id(call.layer)] = found.get(id(call.layer), skipped) & skipped
        return {key: skipped for key, skipped in found.items() if skipped}

    def _skipped(self, call):
        kind, read = class_of(call.layer), call.reads()
        if any(mask is not None for mask in call.masks) or tree.flatten(call.args) != read:
            return set()
        if kind == STRUNG:
            skipped = {place for place, x in enumerate(read) if self._is_empty(x, call.layer.axis)}
            return skipped - ({0} if len(skipped) == len(read) else set())
        skipped = {place for place, x in enumerate(read) if x in self._zero}
        skipped -= {0} if kind == SUBTRACTED or len(skipped) == len(read) else set()
        rest = [x for place, x in enumerate(read) if place not in skipped]
        return skipped if kind in (ADDED, SUBTRACTED) and _broadcast(rest) == _known(call.outputs[0]) else set()

    def _is_empty(self, tensor, axis):
        """Whether no place of an axis stays."""
        width = self._groups.tensors.get(tensor, [None] * len(tensor.shape))[axis]
        return width is not None and not living(width, self._alive).any()


def _starts_from(call):
    """Whether a recurrent call is given states, which pass without any weights."""
    return of_class(call.layer, *RECURRENT) and len(call.reads()) > 1


def _broadcast(tensors):
    return np.broadcast_shapes(*map(_known, tensors))


def _known(tensor):
    return tuple(size or 0 for size in tensor.shape)


def zeros(groups, weights, alive, passed):
    """The tensors that are zero for all inputs: not by what they were for some, but by the weights.

    Args:
        groups: `Groups` of the model.
        weights: `Weights`.
        alive: array of bools over the groups.
        passed: `Passed`, by which one that depends on no input is known to be zero.
    """
    settled, zero = set(), set()
    for call in groups.calls:
        read, kind = call.reads(), class_of(call.layer)
        product = kind == MULTIPLIED and any(x in zero for x in read)
        # Of a layer of one's own zeros may say anything.
        silent = kind is not None and not _starts_from(call) and weights.is_silent(call, alive)
        if product or silent or read and all(x in settled for x in read):
            settled.update(call.outputs)
            zero.update(x for x in call.outputs if passed.is_zero(x))
    return zero
