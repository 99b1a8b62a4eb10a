"""Reads a .tflite file without running it: its operations, and every tensor that it stores, sparse-coded ones too."""

from typing import NamedTuple

import numpy as np

INSTALL = "Install it with: pip install keras-admm[litert]."


class Tensor(NamedTuple):
    """One stored tensor.

    Attributes:
        name: its name in the file, given by the converter.
        op: the operation that it belongs to, such as `"CONV_2D"`.
        shape: its shape; the output channels come first, but last in `DEPTHWISE_CONV_2D`.
        type: such as `"FLOAT32"` or `"INT8"`.
        size: how many values it has.
        zeros: how many of them stand for 0 (in a quantized tensor: are equal to the zero point).
        distinct: how many different values it stores.
        distinct_per_channel: the same, at most in one output channel.
        bytes: what it takes in the file.
        sparse: whether its zeros are left out of the file.
    """

    name: str
    op: str
    shape: tuple
    type: str
    size: int
    zeros: int
    distinct: int
    distinct_per_channel: int
    bytes: int
    sparse: bool


def tensors(path):
    """The tensors that a .tflite file stores, counted in its buffers.

    Args:
        path: of the file.

    Returns:
        A tuple of `Tensor`.

    Raises:
        ValueError: if it is no .tflite file.
        ImportError: without ai-edge-litert.
    """
    graph = read(path)
    return tuple(_count(graph, t) for subgraph in graph.model.subgraphs for t in graph.stored(subgraph))


class Graph:
    """A file's operations and values, by the names of the schema."""

    def __init__(self, model, schema):
        self.model = model
        self._ops = _names(schema.BuiltinOperator)
        self._types = _names(schema.TensorType)

    def op(self, operator):
        code = self.model.operatorCodes[operator.opcodeIndex]
        return self._ops[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def type(self, tensor):
        return self._types[tensor.type]

    def buffer(self, tensor):
        return self.model.buffers[tensor.buffer].data

    def stored(self, subgraph):
        return [t for t in subgraph.tensors if self.buffer(t) is not None and len(self.buffer(t))]

    @property
    def keeps_state(self):
        """Whether operations keep values of their own from one call to the next."""
        return any(t.isVariable for subgraph in self.model.subgraphs for t in subgraph.tensors)

    def users(self, tensor):
        """The operations that read a tensor, seen through DENSIFY and DEQUANTIZE."""
        for subgraph in self.model.subgraphs:
            for operator in subgraph.operators:
                if any(i >= 0 and subgraph.tensors[i] is tensor for i in operator.inputs):
                    name = self.op(operator)
                    unpacks = name in ("DENSIFY", "DEQUANTIZE")
                    yield from self.users(subgraph.tensors[operator.outputs[0]]) if unpacks else (name,)

    def values(self, tensor):
        """A stored tensor's values, dense, as they stand in the file: integers if it is quantized."""
        flat = _unpack(self.buffer(tensor), self.type(tensor))
        shape = tuple(tensor.shape) if tensor.shape is not None else ()
        if tensor.sparsity is not None:
            return densify(flat, tensor.sparsity, shape)
        return flat[: int(np.prod(shape))].reshape(shape)


def schema():
    """LiteRT's own reader of the format."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise ImportError(f"litert: the reader of .tflite files is in ai-edge-litert. {INSTALL}") from error
    return schema_py_generated


def read(path):
    """The `Graph` of a file."""
    known = schema()
    with open(path, "rb") as file:
        data = file.read()
    if data[4:8] != b"TFL3":
        raise ValueError(f"litert: a file must be a .tflite file. Received: {path}. Give one that `litert` wrote.")
    return Graph(known.ModelT.InitFromPackedBuf(data, 0), known)


def densify(values, sparsity, shape):
    """Lays the stored values of a sparse-coded tensor out in a dense one.

    The format is a tree: a level for each dimension, then one for each block dimension. A dense level branches into
    all its indices, a compressed one into those that it lists.
    """
    index, coordinates = np.zeros(1, int), []
    for level in sparsity.dimMetadata:
        if level.format == 0:  # dense
            parent = np.repeat(np.arange(len(index)), level.denseSize)
            child = np.tile(np.arange(level.denseSize), len(index))
            index = index[parent] * level.denseSize + child
        else:
            first, last = (np.asarray(level.arraySegments.values, int)[index + i] for i in (0, 1))
            parent = np.repeat(np.arange(len(index)), last - first)
            index = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)] or [index])
            child = np.asarray(level.arrayIndices.values, int)[index]
        coordinates = [c[parent] for c in coordinates] + [child]
    dense = np.zeros(shape, values.dtype)
    dense[_place(coordinates, sparsity, len(shape))] = values[index]
    return dense


def _place(coordinates, sparsity, rank):
    blocks = list(sparsity.blockMap) if sparsity.blockMap is not None else []
    place = [None] * rank
    for level, dimension in enumerate(sparsity.traversalOrder):
        if dimension < rank:
            place[dimension] = coordinates[level]
    for level, dimension in enumerate(sparsity.traversalOrder):
        if dimension >= rank:
            outer = blocks[dimension - rank]
            place[outer] = place[outer] * sparsity.dimMetadata[level].denseSize + coordinates[level]
    return tuple(place)


def _names(enumeration):
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _unpack(data, kind):
    raw = np.asarray(data, np.uint8)
    if kind in ("INT4", "INT2"):
        bits = int(kind[3:])
        parts = np.stack([raw >> shift & (2**bits - 1) for shift in range(0, 8, bits)], axis=-1).reshape(-1)
        return (parts.astype(np.int8) ^ 2 ** (bits - 1)) - np.int8(2 ** (bits - 1))  # two's complement
    names = {"STRING": "uint8", "BFLOAT16": "uint16"}  # counted, not computed with
    return np.frombuffer(raw.tobytes(), names.get(kind, kind.lower()))


def _count(graph, tensor):
    values = graph.values(tensor)
    users = set(graph.users(tensor))
    channels = _channels(values, tensor.quantization, users)
    return Tensor(
        name=tensor.name.decode(),
        op=", ".join(sorted(users)),
        shape=values.shape,
        type=graph.type(tensor),
        size=values.size,
        zeros=int((channels == _zero_points(tensor.quantization, channels)).sum()),
        distinct=len(np.unique(values)),
        distinct_per_channel=max((len(np.unique(c)) for c in channels), default=0),
        bytes=len(graph.buffer(tensor)),
        sparse=tensor.sparsity is not None,
    )


def _channels(values, quantization, users):
    """The values as `(channel, others)`."""
    per_channel = quantization is not None and quantization.scale is not None and len(quantization.scale) > 1
    depthwise = users == {"DEPTHWISE_CONV_2D"} and values.ndim == 4
    axis = quantization.quantizedDimension if per_channel else 3 if depthwise else 0
    axes = (axis, *(i for i in range(values.ndim) if i != axis)) if values.ndim else ()
    return values.transpose(axes).reshape(values.shape[axis] if values.ndim else 1, -1)


def _zero_points(quantization, channels):
    points = None if quantization is None else quantization.zeroPoint
    if points is None or len(points) not in (1, len(channels)):
        return 0
    return np.asarray(points).reshape(-1, 1)
