"""What layers say of themselves by default: fixed with the format, whatever becomes of Keras's defaults."""


def _object(module, name, config):
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _initializer(name, **config):
    return _object("keras.initializers", name, config)


FLOAT32 = _object("keras", "DTypePolicy", {"name": "float32"})
GLOROT = _initializer("GlorotUniform", seed=None, input_axes=None, output_axes=None)
ZEROS, ONES = _initializer("Zeros"), _initializer("Ones")

# Of any layer, where the table of the layer itself does not say otherwise; of all other keys, None.
SHARED = {
    "trainable": True,
    "dtype": FLOAT32,
    "activation": "linear",
    "use_bias": True,
    "kernel_initializer": GLOROT,
    "depthwise_initializer": GLOROT,
    "pointwise_initializer": GLOROT,
    "recurrent_initializer": _initializer("Orthogonal", seed=None, gain=1.0),
    "embeddings_initializer": _initializer("RandomUniform", seed=None, minval=-0.05, maxval=0.05),
    "bias_initializer": ZEROS,
    "beta_initializer": ZEROS,
    "gamma_initializer": ONES,
    "moving_mean_initializer": ZEROS,
    "moving_variance_initializer": ONES,
    "padding": "valid",
    "data_format": "channels_last",
    "groups": 1,
    "depth_multiplier": 1,
    "axis": -1,
    "epsilon": 0.001,
    "center": True,
    "scale": True,
    "recurrent_activation": "sigmoid",
    "dropout": 0.0,
    **dict.fromkeys(("keepdims", "mask_zero", "return_sequences", "return_state", "go_backwards", "stateful"), False),
    **dict.fromkeys(("unroll", "zero_output_for_mask", "synchronized", "renorm", "rms_scaling", "use_gate"), False),
    "recurrent_dropout": 0.0,
}
BASE = "trainable dtype"
ACTS = "activation use_bias kernel_initializer bias_initializer kernel_regularizer bias_regularizer kernel_constraint "
ACTS += "bias_constraint"
SPREAD = "strides padding data_format dilation_rate"
CONV = f"{BASE} {SPREAD} groups {ACTS} activity_regularizer"
DEEP = "depth_multiplier depthwise_initializer depthwise_regularizer depthwise_constraint"
POOL = f"{BASE} padding data_format"
NORM = "axis epsilon center scale beta_initializer gamma_initializer beta_regularizer gamma_regularizer "
NORM += "beta_constraint gamma_constraint"
RECURRENT = f"{BASE} {ACTS} return_sequences return_state go_backwards stateful unroll zero_output_for_mask "
RECURRENT += "recurrent_initializer recurrent_regularizer recurrent_constraint activity_regularizer dropout "
RECURRENT += "recurrent_dropout"
SIDE = "use_bias bias_initializer bias_regularizer bias_constraint activity_regularizer activation"


def _of(keys, **own):
    return {**{key: SHARED.get(key) for key in keys.split()}, **own}


def _spread(rank):
    return {"strides": [1] * rank, "dilation_rate": [1] * rank}


DEFAULTS = {
    "InputLayer": {"dtype": "float32", "sparse": False, "ragged": False, "optional": False},
    "Dense": _of(f"{BASE} {ACTS} quantization_config"),
    "Conv1D": _of(CONV, **_spread(1)),
    "Conv2D": _of(CONV, **_spread(2)),
    "Conv3D": _of(CONV, **_spread(3)),
    "DepthwiseConv2D": _of(f"{BASE} {SPREAD} {DEEP} {SIDE}", **_spread(2)),
    "SeparableConv2D": _of(
        f"{BASE} {SPREAD} {DEEP} {SIDE} pointwise_initializer pointwise_regularizer pointwise_constraint", **_spread(2)
    ),
    "MaxPooling1D": _of(POOL, pool_size=[2], strides=[2]),
    "MaxPooling2D": _of(POOL, pool_size=[2, 2], strides=[2, 2]),
    "AveragePooling1D": _of(POOL, pool_size=[2], strides=[2]),
    "AveragePooling2D": _of(POOL, pool_size=[2, 2], strides=[2, 2]),
    "GlobalAveragePooling1D": _of(f"{BASE} data_format keepdims"),
    "GlobalAveragePooling2D": _of(f"{BASE} data_format keepdims"),
    "GlobalMaxPooling2D": _of(f"{BASE} data_format keepdims"),
    "Flatten": _of(f"{BASE} data_format"),
    "Reshape": _of(BASE),
    "Dropout": _of(f"{BASE} seed noise_shape"),
    "Activation": _of(BASE),
    "ReLU": _of(f"{BASE} max_value", negative_slope=0.0, threshold=0.0),
    "Softmax": _of(f"{BASE} axis"),
    "Add": _of(BASE),
    "Multiply": _of(BASE),
    "Concatenate": _of(f"{BASE} axis"),
    "Rescaling": _of(BASE, offset=0.0),
    "ZeroPadding2D": _of(f"{BASE} data_format", padding=[[1, 1], [1, 1]]),
    "UpSampling2D": _of(f"{BASE} data_format", size=[2, 2], interpolation="nearest"),
    "BatchNormalization": _of(
        f"{BASE} {NORM} moving_mean_initializer moving_variance_initializer synchronized renorm renorm_clipping",
        momentum=0.99,
        renorm_momentum=0.99,
    ),
    "LayerNormalization": _of(f"{BASE} {NORM} rms_scaling"),
    "Embedding": _of(
        f"{BASE} embeddings_initializer embeddings_regularizer embeddings_constraint activity_regularizer mask_zero "
        "quantization_config"
    ),
    "SimpleRNN": _of(RECURRENT, activation="tanh"),
    "GRU": _of(f"{RECURRENT} recurrent_activation seed", activation="tanh", reset_after=True),
    "LSTM": _of(f"{RECURRENT} recurrent_activation seed", activation="tanh", unit_forget_bias=True),
    "MultiHeadAttention": _of(
        f"{BASE} {ACTS} activity_regularizer dropout use_gate output_shape attention_axes sliding_window seed"
    ),
}
del DEFAULTS["MultiHeadAttention"]["activation"]
