"""Operations of keras.ops that stand in a model's graph, as tf_keras layers or TensorFlow functions."""

import functools

from keras_admm.export.twin.activations import NAMES, own_activations

# Operations without options: Keras's class and TensorFlow's function.
PLAIN = {
    **{"Absolute": "abs", "Negative": "negative", "Sign": "sign", "Square": "square", "Sqrt": "sqrt"},
    **{"Rsqrt": "math.rsqrt", "Exp": "exp", "Expm1": "math.expm1", "Log": "math.log", "Log1p": "math.log1p"},
    **{"Sin": "sin", "Cos": "cos", "Floor": "floor", "Ceil": "math.ceil", "Round": "round", "Erf": "math.erf"},
    **{"Reciprocal": "math.reciprocal", "StopGradient": "stop_gradient"},
    **{"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Maximum": "maximum", "Minimum": "minimum"},
    **{"Divide": "divide", "TrueDivide": "divide", "FloorDivide": "math.floordiv", "Mod": "math.floormod"},
    **{"Power": "pow", "Matmul": "matmul"},
    **{"Equal": "equal", "NotEqual": "not_equal", "Less": "less", "LessEqual": "less_equal", "Greater": "greater"},
    **{"GreaterEqual": "greater_equal", "LogicalAnd": "logical_and", "LogicalOr": "logical_or"},
    **{"LogicalNot": "logical_not", "Where": "where", "ZerosLike": "zeros_like", "OnesLike": "ones_like"},
}
REDUCTIONS = {"Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min", "Prod": "prod", "Any": "any", "All": "all"}
REDUCTIONS = {**REDUCTIONS, "Std": "std", "Var": "variance", "Logsumexp": "logsumexp"}
MERGES = ("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average")
# Operations with options: which are read, and how TensorFlow takes them.
OPTIONS = {
    "Argmax": lambda tf, op: (tf.argmax, {"axis": op.axis, "output_type": tf.int32}),
    "BroadcastTo": lambda tf, op: (tf.broadcast_to, {"shape": op.shape}),
    "Cast": lambda tf, op: (tf.cast, {"dtype": op.dtype}),
    "Concatenate": lambda tf, op: (tf.concat, {"axis": op.axis}),
    "Clip": lambda tf, op: (tf.clip_by_value, {"clip_value_min": op.x_min, "clip_value_max": op.x_max}),
    "Einsum": lambda tf, op: (functools.partial(tf.einsum, op.subscripts), {}),
    "ExpandDims": lambda tf, op: (tf.expand_dims, {"axis": op.axis}),
    "Reshape": lambda tf, op: (tf.reshape, {"shape": [-1 if n is None else n for n in op.newshape]}),
    "Squeeze": lambda tf, op: (tf.squeeze, {"axis": op.axis}),
    "Transpose": lambda tf, op: (tf.transpose, {"perm": op.axes}),
    "Stack": lambda tf, op: (tf.stack, {"axis": op.axis}),
    "LeakyRelu": lambda tf, op: (tf.nn.leaky_relu, {"alpha": op.negative_slope}),
    "Gelu": lambda tf, op: (tf.nn.gelu, {"approximate": op.approximate}),
    "Softmax": lambda tf, op: (tf.nn.softmax, {"axis": op.axis}),
    "LogSoftmax": lambda tf, op: (tf.nn.log_softmax, {"axis": op.axis}),
}
# Operations that are an activation with nothing to choose: its name in keras.activations.
ACTIVATIONS = {
    **{"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "Silu": "silu", "Selu": "selu"},
    **{"Softplus": "softplus", "Softsign": "softsign", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"},
    **{"HardTanh": "hard_tanh", "TanhShrink": "tanh_shrink", "LogSigmoid": "log_sigmoid"},
}


def twin_operation(call, name, as_layer):
    """A function of the arguments of a call that adds it to a tf_keras graph.

    Args:
        call: a `Call` of a `keras.Operation` that is not a layer.
        name: str, the layer's name.
        as_layer: bool, whether to take a tf_keras layer where there is one: quantization-aware training knows layers
            alone. But they pass on Keras's masks, which operations do not.

    Raises:
        NotImplementedError: for an operation that is not in the tables.
    """
    import tensorflow as tf
    import tf_keras

    operation, kind = call.layer, type(call.layer).__name__
    _check_types(call, kind)
    if as_layer and kind in MERGES and _is_merge(call):
        layer = getattr(tf_keras.layers, kind)(name=name)
        return lambda *args: layer(list(args))
    if as_layer and kind == "Concatenate":
        return tf_keras.layers.Concatenate(operation.axis, name=name)
    if kind in ACTIVATIONS:
        key = ACTIVATIONS[kind]
        function = tf_keras.activations.get(NAMES.get(key) or own_activations()[key])
        return tf_keras.layers.Activation(function, name=name) if as_layer else function
    if kind == "GetItem":
        return lambda x, key: x[key]
    function, options = _function(tf, operation, kind)
    return lambda *args, **kwargs: function(*args, **kwargs, **options)


def _check_types(call, kind):
    types, result = ({x.symbol.dtype for x in tensors} for tensors in (call.inputs, call.outputs))
    if (kind in PLAIN or kind in REDUCTIONS) and kind != "Where" and result != {"bool"} and types != result:
        raise NotImplementedError(
            f"TensorFlow does not turn {sorted(types)} into {sorted(result)} by itself. Use keras.ops.cast before it"
        )


def _is_merge(call):
    """Whether a call of two arguments takes two tensors of one shape and type, as merge layers do."""
    tensors = call.reads()
    return len(tensors) == 2 and len({(x.shape, x.symbol.dtype) for x in tensors}) == 1 and not call.kwargs


def _function(tf, operation, kind):
    if kind in PLAIN:
        module, _, name = PLAIN[kind].rpartition(".")
        return getattr(tf.math if module else tf, name), {}
    if kind in REDUCTIONS and vars(operation).get("initial") is None:
        return getattr(tf.math, f"reduce_{REDUCTIONS[kind]}"), {"axis": operation.axis, "keepdims": operation.keepdims}
    if kind in OPTIONS:
        return OPTIONS[kind](tf, operation)
    raise NotImplementedError(
        f"the operation {kind} of keras.ops is not one that we can write in tf_keras. "
        "Replace it by a layer, or leave it out of the model and apply it before or after"
    )
