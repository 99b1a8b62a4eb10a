"""Activation functions of Keras 3 in tf_keras: by name where the maths is the same, ours where it is not."""

import functools

import keras

# Where tf_keras has the same function under the same name, and where under another.
SAME = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "exponential", "mish"),
    *("sigmoid", "tanh", "softmax", "log_softmax", "softplus", "softsign"),
)
NAMES = {**{name: name for name in SAME}, "silu": "swish"}


def twin_activation(function):
    """What tf_keras takes as `activation`, for a function of `keras.activations`.

    Raises:
        NotImplementedError: for a function that tf_keras and we do not have.
    """
    if function is None:
        return None
    name = getattr(function, "__name__", type(function).__name__)
    if vars(keras.activations).get(name) is not function:
        raise NotImplementedError(f"its activation {name} is not one of keras.activations. Set another activation")
    if name in NAMES:
        return NAMES[name]
    if name not in own_activations():
        raise NotImplementedError(f"tf_keras has no activation {name}. Set another activation")
    return own_activations()[name]


@functools.cache
def own_activations():
    """The functions that tf_keras lacks, or has with other maths, registered with tf_keras as `keras_admm>name`."""
    import tf_keras

    register = tf_keras.utils.register_keras_serializable("keras_admm")
    return {function.__name__: register(function) for function in _definitions()}


def custom_objects():
    """What `tf_keras.models.load_model` needs as `custom_objects` for a twin with activations that tf_keras lacks."""
    return {f"keras_admm>{name}": function for name, function in own_activations().items()}


def _definitions():
    import tensorflow as tf

    def hard_sigmoid(x):
        return tf.nn.relu6(x + 3.0) / 6.0

    def hard_silu(x):
        return x * hard_sigmoid(x)

    def hard_tanh(x):
        return tf.clip_by_value(x, -1.0, 1.0)

    def hard_shrink(x):
        return tf.where(tf.abs(x) > 0.5, x, tf.zeros_like(x))

    def soft_shrink(x):
        return tf.sign(x) * tf.nn.relu(tf.abs(x) - 0.5)

    def tanh_shrink(x):
        return x - tf.tanh(x)

    def celu(x):
        return tf.maximum(x, 0.0) + tf.math.expm1(tf.minimum(x, 0.0))

    def log_sigmoid(x):
        return tf.math.log_sigmoid(x)

    def squareplus(x):
        return (x + tf.sqrt(tf.square(x) + 4.0)) / 2.0

    def sparse_plus(x):
        return tf.where(x <= -1.0, tf.zeros_like(x), tf.where(x < 1.0, tf.square(x + 1.0) / 4.0, x))

    def sparse_sigmoid(x):
        return tf.clip_by_value((x + 1.0) / 2.0, 0.0, 1.0)

    return (
        *(hard_sigmoid, hard_silu, hard_tanh, hard_shrink, soft_shrink, tanh_shrink),
        *(celu, log_sigmoid, squareplus, sparse_plus, sparse_sigmoid),
    )
