"""Rules for groups of recurrent layers: a unit leaves with all its gates and states."""

import numpy as np
from keras import ops, tree

from keras_admm.graph.calls import Tensor
from keras_admm.graph.groups.activations import is_elementwise
from keras_admm.graph.groups.group import READS, WRITES
from keras_admm.graph.groups.merges import strung

GATES = {"SimpleRNNCell": 1, "GRUCell": 3, "LSTMCell": 4, "ConvLSTMCell": 4}
STATES = {"SimpleRNNCell": 1, "GRUCell": 1, "LSTMCell": 2, "ConvLSTMCell": 2}


def recurrent(layer, call, widths):
    """LSTM, GRU, SimpleRNN, RNN of such cells, ConvLSTM."""
    x, *states = _sequence_and_states(call)
    cells = getattr(layer.cell, "cells", [layer.cell])
    axis = 2 if getattr(layer.cell, "data_format", None) == "channels_first" else len(x.shape) - 1
    axes = widths.axes(x)
    for other, labels in enumerate(axes):
        if other != axis:
            widths.freeze(labels, "goes over them as places")
    labels, given = axes[axis], []
    for cell in cells:
        labels = _cell(cell, labels, layer.stateful, widths)
        given += [labels] * STATES.get(type(cell).__name__, 1)
    for state, own in zip(states, given, strict=False):
        widths.unite(widths.axes(state)[axis - 1], own, reason="starts from a state that does not shrink")
    _give(call.outputs, [labels, *given], axis, x, widths)


def _give(outputs, labels, axis, x, widths):
    for out, own in zip(outputs, labels, strict=False):
        axes = [None] * len(out.shape)
        axes[axis - (len(x.shape) - len(out.shape))] = own
        widths.give(out, axes)


def _sequence_and_states(call):
    """The tensors of a recurrent layer's call: its sequence and its first states; no Keras mask."""
    given = dict(zip(("sequences", "initial_state"), call.args, strict=False)) | call.kwargs
    sequence = given.get("sequences", given.get("inputs"))
    return [x for x in tree.flatten((sequence, given.get("initial_state"))) if isinstance(x, Tensor)]


def _cell(cell, labels, stateful, widths):
    """The labels of what a cell gives."""
    gates = GATES.get(type(cell).__name__)
    if gates is None or type(cell).__module__.split(".")[0] not in ("keras", "tf_keras"):
        widths.freeze(labels, f"has a cell of a class without a rule, {type(cell).__name__}")
        widths.note(f"has a cell of a class without a rule, {type(cell).__name__}")
        return None
    axis = -2
    widths.carry(cell.kernel, axis, labels, READS)
    new = widths.new(cell.recurrent_kernel.shape[axis])
    _check(cell, new, stateful, widths)
    units = widths.carry(cell.recurrent_kernel, axis, new, READS)
    for variable in [cell.kernel, cell.recurrent_kernel] + [cell.bias] * cell.use_bias:
        widths.carry(variable, -1, np.tile(units, gates), WRITES)
    return units


def _check(cell, units, stateful, widths):
    """A unit without weights must stay zero from its first state on."""
    recurrent = getattr(cell, "recurrent_activation", None)
    if not (is_elementwise(cell.activation) and is_elementwise(recurrent)):
        widths.freeze(units, "has an activation that goes over them")
    elif np.any(ops.convert_to_numpy(cell.activation(ops.zeros((1,))))):
        widths.freeze(units, "has an activation that makes a state of zero another")
    if stateful:
        widths.freeze(units, "keeps its states from batch to batch")


def cell(layer, call, widths):
    """A cell that is called by itself, for one step."""
    x, *states = call.reads()
    units = _cell(layer, widths.axes(x)[-1], False, widths)
    for state in states:
        widths.unite(widths.axes(state)[-1], units, reason="starts from a state that does not shrink")
    _give(call.outputs, [units] * len(call.outputs), len(x.shape) - 1, x, widths)


def bidirectional(layer, call, widths):
    """The same unit of both directions, then joined as the layer joins them."""
    x, *states = _sequence_and_states(call)
    count = 2 if layer.merge_mode is None else 1
    first, rest = call.outputs[:count], call.outputs[count:]
    half, given = len(rest) // 2, len(states) // 2
    sides = []
    for i, inner in enumerate((layer.forward_layer, layer.backward_layer)):
        shape = list(first[-1].shape)
        shape[-1] = shape[-1] // 2 if layer.merge_mode == "concat" else shape[-1]
        own = states[i * given : (i + 1) * given]
        shapes = [shape, *(y.shape for y in rest[i * half : (i + 1) * half])]
        sides.append(widths.inner(inner, [x], shapes, **({"initial_state": own} if own else {})))
    # Keras takes both for equally wide.
    widths.unite(*(widths.axes(side[0])[-1] for side in sides))
    _join(layer, [side[0] for side in sides], first, widths)
    for out, inner in zip(rest, sides[0][1:] + sides[1][1:], strict=True):
        widths.give(out, widths.axes(inner))


def _join(layer, sides, outputs, widths):
    if layer.merge_mode is None:
        for out, side in zip(outputs, sides, strict=True):
            widths.give(out, widths.axes(side))
    elif layer.merge_mode == "concat":
        widths.give(outputs[0], strung(sides, -1, widths))
    else:
        widths.give(outputs[0], [widths.unite(*each) for each in zip(*map(widths.axes, sides), strict=True)])


def time_distributed(layer, call, widths):
    """The layer in it, once for each step."""
    (x,) = call.reads()
    out, axes = call.outputs[0], widths.axes(x)
    widths.freeze(axes[1], "goes over them as places")
    step = widths.tensor(layer, [*x.shape[:1], *x.shape[2:]], [axes[0], *axes[2:]])
    (inner,) = widths.inner(layer.layer, [step], [[*out.shape[:1], *out.shape[2:]]], times=x.shape[1])
    inside = widths.axes(inner)
    widths.give(out, [inside[0], None, *inside[1:]])
