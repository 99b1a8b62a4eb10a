"""Labels of channels, united where channels must live or die together: what the rules of layer kinds work with."""

import keras
import numpy as np

from keras_admm.graph.calls import Call, Tensor

FIXED = 0  # the label of all that never leaves


class Widths:
    """The labels of the axes of a model's tensors and variables, as one goes through its calls.

    A label is an int; an axis that may shrink has an array of them, one for each place along it. Places with one label,
    or with labels that were united, live or die together. An axis without labels (None) never shrinks.

    Args:
        ask: function `(call, widths)` that asks the rule of a call's layer.

    Attributes:
        layer: the layer or operation whose rule is asked.
        times: how often what is asked of is called in a call of the model, None where that is open.
        tensors: dict of `Tensor` to a tuple of the labels of each of its axes.
        carried: dict of `(id(variable), axis)` to labels.
        roles: dict of `(id(variable), axis)` to a list of the roles in which they are carried.
        variables: dict of `id(variable)` to the variable, in the order in which they were met.
        carriers: dict of `id(variable)` to the layer that carried it first.
        frozen: list of `(layer, reason, labels)`, what never leaves by `freeze`.
        origins: list of the layer at which each label was made.

    Example: the rule of a layer that multiplies with a matrix, and with it the groups of a model.

    >>> from keras_admm import graph
    >>> class Projection(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.w = self.add_weight(shape=(shape[-1], 3))
    ...     def call(self, x):
    ...         return x @ self.w
    >>> def projection(layer, call, widths):
    ...     *places, channels = widths.axes(call.inputs[0])
    ...     widths.carry(layer.w, 0, channels, graph.groups.READS)
    ...     out = widths.carry(layer.w, 1, widths.new(3), graph.groups.WRITES)
    ...     widths.give(call.outputs[0], [*places, out])
    >>> graph.register(Projection, graph.Kind(groups=projection))
    >>> model = keras.Sequential([keras.Input((5,)), Projection(name="a"), Projection(name="b")])
    >>> [group.name for group in graph.groups.of(model)]
    ['a[0]', 'a[1]', 'a[2]']
    """

    def __init__(self, ask):
        self._ask = ask
        self.layer, self.times = None, 1
        self.tensors, self.carried, self.roles, self.variables, self.carriers = {}, {}, {}, {}, {}
        self.frozen = []
        self.origins = [None]
        self._parents = np.zeros(1024, int)

    def axes(self, tensor):
        """The labels of each axis of a tensor, as a list: arrays of ints, None where it never shrinks."""
        return list(self.tensors.get(tensor) or [None] * len(tensor.shape))

    def give(self, tensor, axes):
        """Says what labels the axes of a call's output have; of an output that none are given for, no axis shrinks."""
        self.tensors[tensor] = tuple(axes)

    def new(self, size):
        """Labels for so many new channels."""
        start = len(self.origins)
        self.origins += [self.layer] * size
        while len(self.origins) > len(self._parents):
            self._parents = np.concatenate([self._parents, np.zeros_like(self._parents)])
        self._parents[start : start + size] = np.arange(start, start + size)
        return np.arange(start, start + size)

    @staticmethod
    def fixed(size):
        """Labels for so many places that never leave."""
        return np.full(size, FIXED)

    def roots(self, labels):
        """The one of all united labels that stands for each."""
        before, after = labels, self._parents[labels]
        while not np.array_equal(before, after):
            before, after = after, self._parents[after]
        return after

    def unite(self, *axes, reason="it joins them with what cannot shrink"):
        """Has the channels at the same place of several axes live or die together.

        Args:
            axes: labels of one length each, or None; where one is None all are frozen.
            reason: str, why, as in `freeze`.

        Returns:
            Labels for what they are joined to; None if none has any.
        """
        known = [labels for labels in axes if labels is not None]
        if not known:
            return None
        fixed = np.any([self.fixed(len(known[0])) == FIXED if x is None else x == FIXED for x in axes], axis=0)
        if fixed.any():
            for labels in known:
                self.freeze(labels[fixed], reason)
        for labels in known[1:]:
            self._unite(known[0][~fixed], labels[~fixed])
        return known[0]

    def freeze(self, labels, reason):
        """Says that channels never leave.

        Args:
            labels: array of ints, or None, of which nothing has to be said.
            reason: str, why, as the end of a sentence that begins with the layer's name; None if that need not be said.
        """
        if labels is not None:
            self.frozen.append((self.layer, reason, labels))

    def is_frozen(self, labels):
        """Whether a layer before has said that channels never leave."""
        return any(np.array_equal(labels, each) for _, _, each in self.frozen)

    def note(self, reason):
        """Has a layer told of whose own channels never leave."""
        self.frozen.append((self.layer, reason, None))

    def settled(self):
        """Freezes what is frozen; returns those of `frozen` that made a difference and have a reason.

        What needs no reason comes first, so that nothing is told of what never leaves in any case.
        """
        told = []
        for layer, reason, labels in sorted(self.frozen, key=lambda each: each[1] is not None):
            if reason is not None and (labels is None or self.roots(labels).any()):
                told.append((layer, reason))
            if labels is not None:
                self._unite(labels, self.fixed(len(labels)))
        return list(dict.fromkeys(told))

    def inner(self, layer, inputs, shapes, times=1, **kwargs):
        """Goes through a layer that another holds and calls.

        Args:
            layer: the inner layer.
            inputs: list of `Tensor` that it is called with.
            shapes: list of the shapes of what it gives.
            times: how often it is called in a call of the layer that holds it, None where that is open.
            kwargs: other arguments that it is called with.

        Returns:
            The list of its outputs, each a `Tensor`.
        """
        outputs = [self.tensor(layer, shape) for shape in shapes]
        args = tuple(inputs)
        known = {id(v): v for v in layer.variables}
        before, self.times = self.times, None if None in (self.times, times) else self.times * times
        self._ask(Call(layer, args, kwargs, list(inputs), [None] * len(inputs), outputs, known), self)
        self.times = before
        return outputs

    def tensor(self, layer, shape, axes=None):
        """A `Tensor` inside of a layer, with the labels of its axes."""
        made = Tensor(keras.KerasTensor(tuple(shape)), layer)
        if axes is not None:
            self.give(made, axes)
        return made

    def carry(self, variable, axis, labels, role):
        """Says which channels the places along an axis of a variable belong to.

        Args:
            variable: one of the layer's.
            axis: int.
            labels: array of ints, one for each place along the axis, or None: they never leave.
            role: `groups.WRITES`, `groups.READS` or `groups.STATE`.

        Returns:
            The labels. Where the variable is met for the second time, they are united with those of the first.
        """
        key = id(variable), axis % len(variable.shape)
        size = variable.shape[axis]
        if labels is not None and len(labels) != size:
            raise ValueError(
                f"{self.layer.name}: axis {axis} of {variable.name}, of size {size}, must have as many labels. "
                f"Received: {len(labels)}. Mend the rule of {type(self.layer).__name__}."
            )
        self.variables.setdefault(id(variable), variable)
        self.carriers.setdefault(id(variable), self.layer)
        if key not in self.carried:
            self.carried[key] = self.fixed(size) if labels is None else labels
        else:
            reason = "it is used again where they cannot shrink"
            self.unite(self.carried[key], self.fixed(size) if labels is None else labels, reason=reason)
        roles = self.roles.setdefault(key, [])
        roles += [] if role in roles else [role]
        return self.carried[key]

    def _unite(self, a, b):
        pairs = np.stack([self.roots(a), self.roots(b)])
        for pair in pairs[:, pairs[0] != pairs[1]].T:
            low, high = sorted(self.roots(pair))
            self._parents[high] = low  # the fixed one is the lowest
