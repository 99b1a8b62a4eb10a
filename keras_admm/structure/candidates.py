"""Which kernels of a model come apart into two, what that costs, and why others do not."""

import math
import re
from typing import NamedTuple

import keras

from keras_admm import graph, macs
from keras_admm.structure.splits import Split, refusal, split


class Candidate(NamedTuple):
    """A kernel whose layer comes apart.

    Attributes:
        split: the `Split` of the layer.
        each, whole: ints, the MACs of each rank of the two layers, and of the layer as it is, in all its calls.
    """

    split: Split
    each: int
    whole: int

    def saves(self, rank):
        """Whether two layers of a rank are cheaper than the one."""
        return rank * self.each < self.whole

    def costs(self, unit):
        """The cost of each rank, and of the whole layer, in `"macs"`, `"params"` or `"bytes"`."""
        if unit == "macs":
            return self.each, self.whole
        kernel = self.split.layer.kernel
        size = _size(kernel, unit)
        return size * self.split.params, size * math.prod(kernel.shape)


def candidates(model, variables, scheme):
    """The kernels that come apart, and why the others do not.

    Args:
        model: a built model. Of one without a graph the layers are known, but not how often each is called: their MACs
            are those of one place.
        variables: dict of names to variables of it.
        scheme: see `constraints.LowRank`.

    Returns:
        `(found, refused)`: dicts of the names to `Candidate`s, and to sentences without a beginning.
    """
    found, refused = {}, {}
    calls = graph.calls.of(model, "its layers can be replaced") if graph.has_graph(model) else ()
    owners = _owners([call.layer for call in calls] or graph.every_layer(model)[::-1])
    readers = calls.readers() if calls else {}
    for name, variable in variables.items():
        layer = owners.get(id(variable))
        reason = _reason(layer, variable, readers.get(id(variable), ()))
        if reason:
            refused[name] = reason
        else:
            found[name] = _candidate(split(layer, scheme), [call for call in calls if call.layer is layer])
    return found, refused


def total(model, unit):
    """How many MACs, parameters or bytes a model has; None where that cannot be known.

    Args:
        model: built.
        unit: `"macs"`, of all weights whose MACs are known, `"params"`, or `"bytes"`, of all its weights.
    """
    if unit == "macs":
        counted, _ = macs.uses(model)
        return sum((counted.get(id(v)) or 0) * math.prod(v.shape) for v in model.variables) if counted else None
    return sum(_size(v, unit) * math.prod(v.shape) for v in model.weights)


def _size(variable, unit):
    """How much one number of a variable is."""
    bits = re.findall(r"\d+", keras.backend.standardize_dtype(variable.dtype))
    return 1 if unit == "params" or not bits else int(bits[0]) // 8


def _owners(layers):
    """The layer that is called, of those that hold a variable, by `id(variable)`: the first of them in the list."""
    owners = {}
    for layer in layers:
        for variable in layer.variables if isinstance(layer, keras.layers.Layer) else ():
            owners.setdefault(id(variable), layer)
    return owners


def _reason(layer, variable, readers):
    if layer is None:
        return "no layer that is called holds it"
    reason = refusal(layer)
    if not reason and layer.kernel is not variable:
        return "it is no kernel"
    if not reason and any(call.layer is not layer for call in readers):
        return "another layer reads it too"
    return reason


def _candidate(parts, calls):
    if not calls:
        return Candidate(parts, parts.params, math.prod(parts.layer.kernel.shape))
    each, whole = zip(*(parts.costs(call.inputs[0].shape) for call in calls), strict=True)
    return Candidate(parts, sum(each), sum(whole))
