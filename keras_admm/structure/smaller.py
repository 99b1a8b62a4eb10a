"""The model that is left when groups of channels and whole calls leave."""

import collections

import keras
import numpy as np

from keras_admm import graph
from keras_admm.graph.groups import living


def smaller(model, groups, alive, leaving, value):
    """A model with what stays of another.

    Args:
        model: a built Sequential or Functional model.
        groups: its `Groups`.
        alive: array of bools over the groups, which stay.
        leaving: `Leaving`, the calls that stay.
        value: function of a variable that gives its value.
    """
    sizes = _Sizes(groups, alive)
    calls = _by_layer(leaving.calls)
    names = _names(leaving, groups.calls.outputs)
    gone = {key: each for key, each in _by_layer(groups.calls.needed()).items() if key not in calls}
    entries = collections.defaultdict(list)
    for layer, tensor in groups.calls.entries:
        entries[id(layer)].append(tensor)

    def layer_for(layer, again):
        if id(layer) in gone:
            return graph.Replacement(_Gone([sizes.shape(x) for x in gone[id(layer)][0].outputs]), [])
        if id(layer) in entries:
            return again(**sizes.changes(layer, [([], [x]) for x in entries[id(layer)]]))
        new = again(**sizes.changes(layer, [(call.reads(), call.outputs) for call in calls.get(id(layer), ())]))
        return graph.of_any_shape(new) if sizes.are_cut(layer) else new

    def call(old, new, *args, **kwargs):
        if isinstance(new, _Gone):
            return new([x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)])
        skipped = leaving.skipped.get(id(old))
        alone = names.get(id(old), lambda x: x)
        return _merged(new, alone, skipped, *args, **kwargs) if skipped else new(*args, **kwargs)

    whole = call if gone or leaving.skipped else None
    return graph.rebuild(model, layer_for, call=whole, value=lambda variable: sizes.cut(variable, value(variable)))


def _by_layer(calls):
    found = collections.defaultdict(list)
    for call in calls:
        found[id(call.layer)].append(call)
    return found


def _names(leaving, outputs):
    """By the id of each layer that merges less and gives an output, one that does nothing, of the output's name."""
    ends = set(keras.tree.flatten(outputs))
    layers = [call.layer for call in leaving.calls if not ends.isdisjoint(call.outputs)]
    merging = {id(layer): layer for layer in layers if id(layer) in leaving.skipped}
    return {key: keras.layers.Identity(name=layer.name, **_dtype(layer)) for key, layer in merging.items()}


def _dtype(layer):
    """How a layer casts what it takes; an operation does not."""
    return {"dtype": layer.dtype_policy.name} if isinstance(layer, keras.layers.Layer) else {"autocast": False}


def _merged(new, alone, skipped, first, *others, **kwargs):
    """What a layer that merges gives without some of its inputs; of one that is left, what `alone` makes of it."""
    listed = isinstance(first, (list, tuple))
    rest = [x for place, x in enumerate(first if listed else (first, *others)) if place not in skipped]
    if len(rest) == 1:
        return alone(rest[0])
    return new(rest, **kwargs) if listed else new(*rest, **kwargs)


class _Sizes:
    """What stays along each axis."""

    def __init__(self, groups, alive):
        self._groups, self._alive = groups, alive

    def cut(self, variable, array):
        """What stays of a variable's value."""
        return array[np.ix_(*self._groups.kept(variable, self._alive))] if array.ndim else array

    def are_cut(self, layer):
        """Whether some weights of a layer get smaller; an operation has none."""
        variables = layer.variables if isinstance(layer, keras.layers.Layer) else ()
        return not all(places.all() for v in variables for places in self._groups.kept(v, self._alive))

    def shape(self, tensor):
        """Of what is never computed, which has a size all the same."""
        pairs = zip(tensor.shape, self._axes(tensor), strict=True)
        return tuple(size if places is None else max(1, len(places)) for size, places in pairs)

    def changes(self, layer, calls):
        """The changes of a layer's config: of all its calls the same."""
        found = [graph.changes(layer, self._kept(layer, *tensors)) for tensors in calls]
        if any(each != found[0] for each in found):
            raise ValueError(
                f"{layer.name}: a layer that is called several times must lose the same channels in each call. "
                f"Received: {found}. Use a layer of its own for each call."
            )
        return found[0] if found else {}

    def _kept(self, layer, given, returned):
        def places(variable, axis):
            return np.flatnonzero(self._groups.kept(variable, self._alive)[axis])

        return graph.Kept(places, *([self._axes(x) for x in tensors] for tensors in (given, returned)))

    def _axes(self, tensor):
        widths = self._groups.tensors.get(tensor) or [None] * len(tensor.shape)
        return tuple(None if width is None else np.flatnonzero(living(width, self._alive)) for width in widths)


class _Gone(keras.layers.Layer):
    """In the place of a layer that leaves: nothing that stays takes what it gives."""

    def __init__(self, shapes):
        super().__init__()
        self._shapes = shapes

    def compute_output_spec(self, tensors):
        specs = [keras.KerasTensor(shape) for shape in self._shapes]
        return specs[0] if len(specs) == 1 else specs
