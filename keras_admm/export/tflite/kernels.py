"""Which weights of a .tflite file a sparse kernel will run, judged on the file's own graph.

Two kernels exist: LiteRT's for a fully connected layer whose zeros come in runs of four, on every processor; and
XNNPACK's for 1x1 convolutions, which it chooses for a chain of operations as a whole or not at all, by the conditions
of its `xnn_check_nchw_compatibility` and `xnn_subgraph_rewrite_for_nchw`.
"""

import platform
from pathlib import Path
from typing import NamedTuple

from keras_admm.export.tflite import chain
from keras_admm.export.tflite.graph import WEIGHTED, nodes

AVX = "XNNPACK computes densely on every x86 processor with AVX"


class Kernel(NamedTuple):
    """Whether a sparse kernel will run an operation.

    Attributes:
        op: such as `"CONV_2D"`.
        weights: the name of its weights in the file.
        shape: theirs.
        sparsity: the share of zeros among them.
        here: whether one will on this processor.
        why_here: the kernel, or what stands against it.
        arm: whether one will on an ARM processor, by XNNPACK's conditions.
        why_arm: the kernel, or the condition that is not met.
    """

    op: str
    weights: str
    shape: tuple
    sparsity: float
    here: bool
    why_here: str
    arm: bool
    why_arm: str


def kernels(graph, avx=None):
    """A `Kernel` for each operation with weights.

    Args:
        graph: the file's, from `flatbuffer.read`.
        avx: whether the processor here is an x86 one with AVX; found out by default.
    """
    avx = has_avx() if avx is None else avx
    return tuple(k for subgraph in graph.model.subgraphs for k in _of_subgraph(graph, subgraph, avx))


def has_avx():
    """Whether this is an x86 processor with AVX; where the system does not tell, it is taken to have it."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i686", "i386", "x86"):
        return False
    listed = Path("/proc/cpuinfo")
    return " avx " in listed.read_text() if listed.exists() else True


def _of_subgraph(graph, subgraph, avx):
    found = nodes(graph, subgraph)
    faults = chain.faults(graph, found, {int(i) for i in subgraph.outputs})
    for node, fault in zip(found, faults, strict=True):
        if node.op in WEIGHTED and node.weights is not None:
            values = graph.values(node.weights)
            sparsity = 1 - float((values != 0).sum()) / max(values.size, 1)
            verdicts = _verdicts(node, fault, avx)
            yield Kernel(node.op, node.weights.name.decode(), values.shape, sparsity, *verdicts)


def _verdicts(node, fault, avx):
    """`(here, why_here, arm, why_arm)`."""
    if chain.runs_of_four(node):
        why = "LiteRT's kernel for runs of 4"
        return True, why, True, why
    why = _outside(node) or fault
    if why:
        return False, why, False, why
    why = "XNNPACK's kernel for 1x1 convolutions"
    return (False, AVX, True, why) if avx else (True, why, True, why)


def _outside(node):
    """What rules an operation out by itself."""
    if node.types - {"FLOAT32"}:
        return f"no sparse kernel takes {', '.join(sorted(node.types - {'FLOAT32'}))} weights or values"
    if node.op == "FULLY_CONNECTED":
        coded = "are expanded at load: they do not come in runs of 4 along the inputs"
        return f"its zeros {coded if node.weights.sparsity is not None else 'are stored in the file'}"
    if node.op != "CONV_2D" or tuple(node.weights.shape[1:3]) != (1, 1):
        height, width = node.weights.shape[1:3]
        return f"no sparse kernel for a {height}x{width} convolution"
    return None
