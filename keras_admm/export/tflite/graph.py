"""A .tflite file's graph as XNNPACK sees it: zeros unfolded, paddings taken into the convolutions."""

from typing import NamedTuple

import numpy as np

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
VALID = 1  # in the schema


class Node(NamedTuple):
    """One operation.

    Attributes:
        op: such as `"CONV_2D"`.
        inputs: indices of the values that flow into it; stored tensors are not among them.
        outputs: indices of what it gives.
        shapes: of the inputs.
        types: of the inputs, outputs and weights.
        weights: the stored tensor of its weights, or None.
        options: the schema's, or None.
        stride: `(height, width)`, or None.
        pads: `((top, bottom), (left, right))`, or None where it is left to TensorFlow's rule SAME.
        axes: over which MEAN and SUM go.
    """

    op: str
    inputs: tuple
    outputs: tuple
    shapes: tuple
    types: frozenset
    weights: object
    options: object
    stride: tuple | None
    pads: tuple | None
    axes: tuple


def nodes(graph, subgraph):
    """The operations that compute: without those that unpack weights, and without paddings that a convolution takes."""
    unpacked = {
        int(output): o
        for o in subgraph.operators
        for output in o.outputs
        if graph.op(o) in ("DENSIFY", "DEQUANTIZE") and _stored(graph, subgraph.tensors[o.inputs[0]])
    }
    padded = _paddings(graph, subgraph)
    taken = {id(o): padded[int(o.inputs[0])] for o in subgraph.operators if _takes(graph, o, padded)}
    skip = {id(o) for o in unpacked.values()} | {id(padding) for padding, _ in taken.values()}
    return [_node(graph, subgraph, o, unpacked, taken.get(id(o))) for o in subgraph.operators if id(o) not in skip]


def _takes(graph, operator, padded):
    convolves = graph.op(operator) in ("CONV_2D", "DEPTHWISE_CONV_2D")
    return convolves and operator.builtinOptions.padding == VALID and int(operator.inputs[0]) in padded


def _stored(graph, tensor):
    buffer = graph.buffer(tensor)
    return buffer is not None and len(buffer) > 0


def _paddings(graph, subgraph):
    """Output index -> (PAD operation, spatial pads), of zero paddings that one operation alone reads."""
    readers = [int(i) for o in subgraph.operators for i in o.inputs] + [int(i) for i in subgraph.outputs]
    found = {}
    for operator in subgraph.operators:
        if graph.op(operator) != "PAD" or readers.count(int(operator.outputs[0])) != 1:
            continue
        pads = graph.values(subgraph.tensors[operator.inputs[1]])
        if len(pads) == 4 and not pads[[0, 3]].any():
            found[int(operator.outputs[0])] = operator, tuple(tuple(map(int, p)) for p in pads[1:3])
    return found


def _node(graph, subgraph, operator, unpacked, padding):
    op, options = graph.op(operator), operator.builtinOptions
    indices = [int(i) for i in operator.inputs if i >= 0]
    weights = _weights(graph, subgraph, operator, unpacked) if op in WEIGHTED else None
    flowing = [i for i in indices if not _stored(graph, subgraph.tensors[i]) and i not in unpacked]
    if padding is not None:
        flowing[0] = int(padding[0].inputs[0])
    stride = (options.strideH, options.strideW) if hasattr(options, "strideH") else None
    reduces = op in ("MEAN", "SUM") and _stored(graph, subgraph.tensors[indices[1]])
    involved = [subgraph.tensors[i] for i in [*flowing, *operator.outputs]] + ([weights] if weights is not None else [])
    return Node(
        op=op,
        inputs=tuple(flowing),
        outputs=tuple(int(i) for i in operator.outputs),
        shapes=tuple(_shape(subgraph.tensors[i]) for i in flowing),
        types=frozenset(graph.type(t) for t in involved),
        weights=weights,
        options=options,
        stride=stride,
        pads=_pads(options, stride, weights, padding),
        axes=tuple(sorted(int(a) for a in np.ravel(graph.values(subgraph.tensors[indices[1]])))) if reduces else (),
    )


def _weights(graph, subgraph, operator, unpacked):
    index = int(operator.inputs[1])
    if index in unpacked:
        index = int(unpacked[index].inputs[0])
    tensor = subgraph.tensors[index]
    return tensor if _stored(graph, tensor) else None


def _shape(tensor):
    return () if tensor.shape is None else tuple(int(s) for s in tensor.shape)


def _pads(options, stride, weights, padding):
    if padding is not None:
        return padding[1]
    if stride is None or weights is None:
        return None
    if options.padding == VALID:
        return ((0, 0), (0, 0))
    if stride != (1, 1):
        return None
    return tuple(((int(k) - 1) // 2, int(k) // 2) for k in weights.shape[1:3])
