"""Layer by layer through a model: what comes in to each kernel, the kernel that gives the same, and on with that."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_admm import weights
from keras_admm.graph import every_layer
from keras_admm.layers import Masked
from keras_admm.layerwise.calibration import Calls, moments
from keras_admm.layerwise.passages import named_blocks, passage_of
from keras_admm.layerwise.problem import Problem
from keras_admm.layerwise.products import Product, product_of
from keras_admm.layerwise.report import LayerwiseReport, LayerwiseRow


class Item(NamedTuple):
    """One kernel to be compressed.

    Attributes:
        name: the variable's name.
        variable: the variable.
        product: its `Product`.
    """

    name: str
    variable: object
    product: Product


def candidates(model, chosen):
    """The `Item`s of chosen variables, a dict by name, and why the others are none: `{name: reason}`."""
    within = named_blocks(model)
    inside = None if within is None else {id(each) for block in within for each in every_layer(block)}
    owners, masked = {}, set()
    for layer in every_layer(model):
        for variable in layer.variables:
            owners[id(variable)] = layer  # the innermost comes last
        if isinstance(layer, Masked):
            masked |= {id(v) for v in layer.variables}
    items, skipped = {}, {}
    for name, variable in chosen.items():
        layer = owners[id(variable)]
        found = product_of(layer, variable)
        if id(variable) in masked:
            found = "Masked holds its zeros where they are; keras_admm.strip(model) first"
        elif inside is not None and id(layer) not in inside:
            found = "it is in none of the blocks of model.get_quantization_layer_structure()"
        if isinstance(found, str):
            skipped[name] = found
        else:
            items[name] = Item(name, variable, found)
    return items, skipped


class Run:
    """The compression of a model's kernels, one after the other.

    Args:
        name: str, name used in error messages.
        method: a `Method`.
        damping: float, see `Problem`.
        verbose: int, whether a progress bar is shown.
    """

    def __init__(self, name, method, damping, verbose):
        self._name, self._method, self._damping, self._verbose = name, method, damping, verbose

    def compress(self, model, batches, items, sets, skipped):
        """Compresses in place the items that have a set.

        Args:
            model: the model.
            batches: list of batches of its inputs.
            items: dict of names to `Item`s.
            sets: dict of names to the `keras_admm.constraints.Set` of each.
            skipped: dict of the names of other kernels to the reasons.

        Returns:
            The `LayerwiseReport`.
        """
        left, rows, skipped = {n: items[n] for n in sets}, [], dict(skipped)
        bar = keras.utils.Progbar(len(left), unit_name="kernel") if self._verbose else None
        variables, twice = [item.variable for item in left.values()], self._method.correction > 0
        for block in passage_of(model, batches, variables, twice).blocks():
            inside = set(map(id, block.layers))
            mine = {n: item for n, item in left.items() if id(item.product.layer) in inside}
            for row in self._block(block, len(batches), mine, sets, skipped) if mine else ():
                rows.append(row)
                bar.add(1) if bar else None
            left = {n: item for n, item in left.items() if n not in mine}
        skipped |= dict.fromkeys(left, "its layer is not called")
        bar.update(len(sets), finalize=True) if bar else None
        report = LayerwiseReport(tuple(rows), skipped)
        print(report) if bar else None
        return report

    def _block(self, block, count, items, sets, skipped):
        by_layer = {id(item.product.layer): item for item in items.values()}
        calls = Calls(block, [item.product.layer for item in items.values()])
        skipped.update({by_layer[id(layer)].name: "its layer is called in a loop" for layer in calls.loops})
        called = {id(layer) for group in (*calls.groups, calls.loops) for layer in group}
        skipped.update({item.name: "its layer is not called" for key, item in by_layer.items() if key not in called})
        for group in calls.groups:
            each = [by_layer[id(layer)] for layer in group]
            found = moments(block, count, calls, [item.product for item in each], self._method.correction > 0)
            for item in each:
                block.before[id(item.variable)] = ops.copy(ops.convert_to_tensor(item.variable))
                yield self._solved(item, found[id(item.product.layer)], sets[item.name])

    def _solved(self, item, found, constraint):
        if not np.isfinite(found.gram).all():
            raise ValueError(
                f"{self._name}: what comes in to a layer must be finite. Received: NaN or infinity at {item.name}. "
                "Compress in float32, or fewer weights; those of the layers before it are compressed by now."
            )
        seen, kernel = item.product.matrices, weights.read(item.variable)
        problem = Problem(found, kernel, seen, self._damping, self._method.correction)
        kernel = self._method.solve(problem, constraint)
        weights.write(item.variable, kernel)
        return LayerwiseRow(item.name, kernel.shape, int(np.count_nonzero(kernel)), problem.error(kernel))
