"""What passes through a model at inference on some inputs, as far as it is zero or not."""

import keras
import numpy as np
from keras import ops

from keras_admm.graph.groups import FIXED


class Passed:
    """Which channels of a model's tensors were not zero for some inputs.

    Args:
        groups: `Groups` of the model.
        value: function of a variable that gives the value that it has here.
        inputs: arrays, in the structure that the model is called with.
    """

    def __init__(self, groups, value, inputs):
        self._groups, self._nonzero = groups, {}
        held = [(v, ops.convert_to_tensor(value(v), dtype=v.dtype)) for v in groups.variables]
        with keras.StatelessScope(held):
            groups.calls.needed().run(keras.tree.map_structure(ops.convert_to_tensor, inputs), self._noted)

    def _noted(self, call, args, kwargs):
        outputs = call.layer(*args, **kwargs)
        for x, y in zip(call.outputs, keras.tree.flatten(outputs), strict=True):
            found = ops.convert_to_numpy(ops.not_equal(y, ops.zeros_like(y)))
            axes = self._groups.tensors.get(x) or [None] * found.ndim
            self._nonzero[x] = (
                bool(found.any()),
                [
                    None if width is None else found.any(tuple(a for a in range(found.ndim) if a != axis))
                    for axis, width in enumerate(axes)
                ],
            )
        return outputs

    def is_zero(self, tensor):
        """Whether all of a tensor was zero."""
        return tensor in self._nonzero and not self._nonzero[tensor][0]

    def heard(self, readers):
        """The groups that were not zero where something reads them, an array of bools.

        Args:
            readers: `Readers`.
        """
        found = np.zeros(len(self._groups), bool)
        for call in self._groups.calls:
            here = np.zeros(len(self._groups), bool)
            for x in call.reads():
                widths, nonzero = self._groups.tensors.get(x) or (), self._nonzero.get(x, (True, ()))[1]
                for width, hit in zip(widths, nonzero, strict=False):
                    if width is not None:
                        here[width[hit & (width != FIXED)]] = True
            found |= here & readers.of(call)
        return found
