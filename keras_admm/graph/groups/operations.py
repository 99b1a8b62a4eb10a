"""Rules for groups of `keras.ops` that a model's graph holds as they are, by the names of their classes."""

from keras_admm.graph.groups import arithmetic, einsum, moves, shapes

UNARY = (
    "Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus LogSigmoid LeakyRelu "
    "HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink Threshold Abs Absolute Negative "
    "Square Sqrt Exp Expm1 Log1p Sin Cos Tan Tanh Sinh Cosh Arcsinh Arctan Arctanh Arcsin Erf Sign Floor Ceil Round "
    "Trunc Cast SaturateCast StopGradient Copy NanToNum Isfinite Isinf Isnan LogicalNot OnesLike ZerosLike Fabs"
).split()
BINARY = (
    "Add Subtract Maximum Minimum Equal NotEqual Greater GreaterEqual Less LessEqual LogicalOr LogicalXor Where Hypot"
).split()
OVER = (
    "Mean Sum Max Min Amax Amin Any All Prod Var Std Median Quantile Average CountNonzero Logsumexp Argmax "
    "Argmin Softmax LogSoftmax Sparsemax Cumsum Cumprod Sort Argsort Flip Roll Diff Normalize Norm Glu"
).split()


RULES = {
    **dict.fromkeys(UNARY, arithmetic.unary),
    **dict.fromkeys(BINARY, arithmetic.binary),
    **dict.fromkeys(("Multiply", "LogicalAnd"), arithmetic.product),
    **dict.fromkeys(OVER, arithmetic.over),
    **dict.fromkeys(("Divide", "TrueDivide", "DivideNoNan"), arithmetic.division),
    "Clip": arithmetic.clip,
    "Power": arithmetic.power,
    "Transpose": moves.transpose,
    "Moveaxis": moves.moveaxis,
    "Swapaxes": moves.swapaxes,
    "ExpandDims": moves.expand,
    "Squeeze": moves.squeeze,
    "Reshape": moves.reshape,
    "Concatenate": moves.concatenate,
    "Stack": moves.stack,
    "Split": moves.split,
    "Unstack": moves.unstack,
    "GetItem": moves.get_item,
    "Pad": moves.pad,
    "Einsum": einsum.einsum,
    "Matmul": einsum.matmul,
    "DepthToSpace": moves.depth_to_space,
    "SpaceToDepth": moves.space_to_depth,
    **dict.fromkeys(("MaxPool", "AveragePool", "AdaptiveMaxPool", "AdaptiveAveragePool", "Resize"), shapes.by_channel),
}
# These look at what they take that is no tensor of the graph; what another operation or layer takes then stays.
TAKE_CONSTANTS = {arithmetic.binary, arithmetic.product, arithmetic.division, arithmetic.power, arithmetic.over}


def rule_of(operation):
    """The rule of an operation of `keras.ops`, or None."""
    ours = type(operation).__module__.startswith("keras.src.ops.")
    return RULES.get(type(operation).__name__) if ours else None
