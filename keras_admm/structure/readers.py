"""What in a model reads which groups of channels: kernels, and products of two tensors."""

import numpy as np

from keras_admm.graph.groups import FIXED, READS

# They read what they take, though some of it goes on.
PRODUCTS = {"Attention", "AdditiveAttention", "Matmul", "Einsum"}


class Readers:
    """Which groups each call of a model reads.

    Args:
        groups: `Groups` of the model.

    Attributes:
        by_kernels: array of bools, the groups that some variable reads.
        by_products: array of bools, the groups that are read without one: whatever the weights are.
    """

    def __init__(self, groups):
        self._groups = groups
        self.by_kernels, self.by_products = np.zeros((2, len(groups)), bool)
        self._read = {}
        for call in groups.calls:
            kernels, products = self._by_kernels(call), self._by_products(call)
            self.by_kernels |= kernels
            self.by_products |= products & ~kernels
            self._read[call] = kernels | products

    def of(self, call):
        """The groups that a call reads, an array of bools."""
        return self._read[call]

    def _by_kernels(self, call):
        variables = ((key, axis) for key, v in call.variables.items() for axis in range(len(v.shape)))
        return self._marked(self._groups.widths[k] for k in variables if READS in self._groups.roles.get(k, ()))

    def _by_products(self, call):
        """What comes in and does not go on as it is."""
        given, passed = (self._carried(tensors) for tensors in (call.reads(), call.outputs))
        return given if class_of(call.layer) in PRODUCTS else given & ~passed

    def _carried(self, tensors):
        widths = (width for x in tensors for width in self._groups.tensors.get(x, ()) if width is not None)
        return self._marked(widths)

    def _marked(self, widths):
        found = np.zeros(len(self._groups), bool)
        for width in widths:
            found[width[width != FIXED]] = True
        return found


def class_of(layer):
    """The name of the class of a layer or an operation of Keras's own; of another's None."""
    return type(layer).__name__ if type(layer).__module__.split(".")[0] == "keras" else None
