"""XNNPACK's conditions for sparse inference: on each operation, and on the chain of operations that it belongs to."""

from keras_admm.export.tflite.graph import WEIGHTED

POINTWISE = {
    *("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "LOGISTIC", "TANH", "HARD_SWISH", "GELU"),
    *("ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND"),
}
ENDS = {"MEAN", "SUM", "DEPTH_TO_SPACE"}
STEM = "the chain must begin with a 3x3 convolution of stride 2, padded by 1 on each side, on 3 channels"


def runs_of_four(node):
    """Whether LiteRT's own sparse kernel takes the weights, and so XNNPACK does not."""
    sparsity = node.weights.sparsity if node.op == "FULLY_CONNECTED" and node.weights is not None else None
    return sparsity is not None and list(sparsity.blockMap) == [1] and sparsity.dimMetadata[2].denseSize == 4


def faults(graph, nodes, graph_outputs):
    """For each operation what keeps XNNPACK from running it in sparse inference, or None."""
    if not any(n.weights is not None and n.weights.sparsity is not None and not runs_of_four(n) for n in nodes):
        return ["no zeros are left out of the file, which is what tells XNNPACK to consider it"] * len(nodes)
    own = [_own(n) for n in nodes]
    found = list(own)
    for members in _chains(nodes, own):
        fault = _of_chain(graph, nodes, own, members, graph_outputs)
        for i in members:
            found[i] = fault
    return found


def _own(node):
    if node.types - {"FLOAT32"}:
        return f"{node.op} is not in float32"
    if node.op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return (_convolution if node.op == "CONV_2D" else _depthwise)(node)
    if node.op == "FULLY_CONNECTED" and (node.weights is None or runs_of_four(node)):
        return "XNNPACK leaves this FULLY_CONNECTED to LiteRT"
    if node.op == "FULLY_CONNECTED" and len(node.shapes[0]) != 2:
        return "FULLY_CONNECTED flattens what it reads"
    if node.op in ("MEAN", "SUM") and (node.axes != (1, 2) or len(node.shapes[0]) != 4):
        return f"{node.op} must go over height and width"
    if node.op in ("ADD", "MUL", *POINTWISE) and any(len(s) != 4 for s in node.shapes):
        return f"{node.op} must work on images"
    known = {*WEIGHTED, "ADD", "MUL", "RESIZE_BILINEAR", *ENDS, *POINTWISE}
    return None if node.op in known else f"{node.op} has no place in it"


def _convolution(node):
    _, height, width, channels = node.weights.shape
    if _dilated(node) or channels != node.shapes[0][3]:
        return "a convolution must have no dilation and no groups"
    if (height, width) == (1, 1):
        plain = node.stride == (1, 1) and node.pads == ((0, 0), (0, 0))
        return None if plain else "a 1x1 convolution must have stride 1"
    return None if is_stem(node) else STEM


def is_stem(node):
    """Whether an operation can begin the chain."""
    return (
        node.op == "CONV_2D"
        and tuple(node.weights.shape[1:]) == (3, 3, 3)
        and node.stride == (2, 2)
        and node.pads == ((1, 1), (1, 1))
        and not _dilated(node)
    )


def _depthwise(node):
    _, height, width, _ = node.weights.shape
    if _dilated(node) or node.options.depthMultiplier != 1:
        return "a depthwise convolution must have no dilation and depth_multiplier=1"
    if height != width or height not in (3, 5) or node.stride not in ((1, 1), (2, 2)):
        return "a depthwise convolution must be 3x3 or 5x5, with stride 1 or 2"
    around = height // 2
    if node.pads != ((around, around),) * 2:
        return f"a {height}x{height} depthwise convolution must be padded by {around} on each side, not by rule SAME"
    return None


def _dilated(node):
    return (node.options.dilationHFactor, node.options.dilationWFactor) != (1, 1)


def _chains(nodes, own):
    """Sets of operations that fit and hand their outputs to one another."""
    made = {output: i for i, n in enumerate(nodes) for output in n.outputs}
    leader = list(range(len(nodes)))

    def find(i):
        while leader[i] != i:
            i = leader[i]
        return i

    for i, node in enumerate(nodes):
        for value in node.inputs if own[i] is None and not is_stem(node) else ():
            if value in made and own[made[value]] is None:
                leader[find(i)] = find(made[value])
    fit = [i for i in range(len(nodes)) if own[i] is None]
    return [[i for i in fit if find(i) == root] for root in {find(i) for i in fit}]


def _of_chain(graph, nodes, own, members, graph_outputs):
    made = {output: i for i, n in enumerate(nodes) for output in n.outputs}
    inside = [nodes[i] for i in members]
    for node in inside:
        for value in node.inputs if not is_stem(node) else ():
            if value not in made:
                return STEM
            if own[made[value]] is not None:
                return f"{node.op} reads from an operation outside of it: {own[made[value]]}"
            readers = {i for i, n in enumerate(nodes) if value in n.inputs}
            if readers - set(members) or value in graph_outputs:
                return f"what {node.op} reads is read by an operation outside of the chain, too"
    return _end(nodes, inside) or _zeros(graph, inside)


def _end(nodes, inside):
    if not any(n.op in ENDS for n in inside):
        return "the chain must end in global average pooling"
    for node in inside:
        if node.op in ("MEAN", "SUM") and node.options.keepDims:
            # SHAPE reads no value: it is how Flatten finds a batch size that is not known beforehand.
            readers = {n.op for n in nodes if node.outputs[0] in n.inputs} - {"SHAPE"}
            if not readers or readers - {"RESHAPE", "FULLY_CONNECTED"}:
                return "XNNPACK computes wrongly after global pooling with keepdims=True, unless it is flattened"
    return None


def _zeros(graph, inside):
    convolutions = [n for n in inside if n.op == "CONV_2D" and n.weights.shape[1] == 1]
    heads = [n for n in inside if n.op == "FULLY_CONNECTED"]
    size, zeros = _counted(graph, [*convolutions, *heads])
    if 3 * zeros > 2 * size:
        return None
    fault = f"more than 2/3 of the chain's 1x1 weights must be zero, {zeros:,} of {size:,} are"
    size, zeros = _counted(graph, convolutions)
    if not heads or 3 * zeros <= 2 * size:
        return fault
    return (
        f"{fault}, those of the Dense layer that reads the pooled values among them; {zeros:,} of {size:,} without: "
        "put GlobalAveragePooling2D(keepdims=True) and Flatten before it, or prune it too"
    )


def _counted(graph, nodes):
    values = [graph.values(n.weights) for n in nodes]
    return sum(v.size for v in values), sum(int((v == 0).sum()) for v in values)
