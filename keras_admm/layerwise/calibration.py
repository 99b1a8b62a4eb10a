"""What comes in to layers: which read the same, in which order, and the second moments of it on all samples."""

import contextlib

import keras
from keras import ops

from keras_admm.graph import observe
from keras_admm.layerwise.problem import Moments


class Enough(Exception):
    """All that was to be seen of a batch has been."""


class Calls:
    """The calls of some layers on the first batch of a block: in groups of neighbours that read the same.

    Attributes:
        groups: list of lists of layers; the layers of each are calibrated at once.
        counts: dict of `id(layer)` to how often it is called.
        loops: list of layers that are called in a loop that is traced: their inputs cannot be told.
    """

    def __init__(self, block, layers):
        self.groups, self.counts, self.loops = [], {}, []
        self._seen = []
        with observe(layers, self._note):
            block.run(0)
        self._group()

    def _note(self, call):
        self._seen.append(call)
        self.counts[id(call.layer)] = self.counts.get(id(call.layer), 0) + 1

    def _group(self):
        self.loops = list({id(call.layer): call.layer for call in self._seen if call.in_loop}.values())
        taken, before = set(map(id, self.loops)), None
        for call in self._seen:
            if id(call.layer) in taken:
                continue
            taken.add(id(call.layer))
            if before is None or call.inputs is not before.inputs:
                self.groups.append([])
            self.groups[-1].append(call.layer)
            before = call
        del self._seen


def moments(block, count, calls, products, twice):
    """The `Moments` of the products of layers that read the same, those that are alike once: a dict by `id(layer)`.

    Args:
        block: the `Block` that they are in.
        count: int, how many batches there are.
        calls: its `Calls`.
        products: list of `Product`s of the layers of one group.
        twice: see `Moments`.
    """
    found, alike = {}, {}
    for product in products:
        key = product.alike if calls.counts[id(product.layer)] == 1 else id(product.layer)
        alike.setdefault(key, (product.layer, Moments(product, twice)))
        found[id(product.layer)] = alike[key][1]
    layers = [layer for layer, _ in alike.values()]
    calls_left = sum(calls.counts[id(layer)] for layer in layers)
    for index in range(count):
        now = _inputs(lambda index=index: block.run(index), layers, calls_left)
        before = _inputs(lambda index=index: block.run_before(index), layers, calls_left) if twice else now
        for layer, each in alike.values():
            for x, x_before in zip(now[id(layer)], before[id(layer)], strict=True):
                each.add(x, x_before)
    return found


def _inputs(run, layers, calls_left):
    """What comes in to layers in a run, that ends after so many of their calls: lists of arrays by `id(layer)`."""
    found = {id(layer): [] for layer in layers}

    def note(call):
        found[id(call.layer)].append(array(call.inputs))
        if sum(map(len, found.values())) == calls_left:
            raise Enough

    with contextlib.suppress(Enough), observe(layers, note):
        run()
    return found


def array(x):
    """A tensor as a float32 NumPy array; of several the first."""
    first = next(iter(keras.tree.flatten(x)))
    return ops.convert_to_numpy(ops.cast(first, "float32"))
