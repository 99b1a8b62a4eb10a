"""Constraints that keep zeros and clusters of a tf_keras model while it trains."""

import numpy as np

from keras_admm import weights
from keras_admm.attach import set_constraint

REMEDY = {"zeros": "Prune it first", "clusters": "Compress it to a few levels first"}


def check(model, kept):
    """Whether a model has what is to be kept.

    Raises:
        ValueError: if it has none, in any of its kernels.
    """
    values = [v.numpy() for v in kernels(model)]
    found = {"zeros": any((v == 0).any() for v in values), "clusters": any(_is_clustered(v) for v in values)}
    for what in kept:
        if not found[what]:
            raise ValueError(
                f"{model.name}: to keep {what}, a kernel must have some. Received: a model without. "
                f"{REMEDY[what]}, or choose another scheme."
            )


def hold(model, kept):
    """Sets a constraint on every kernel that has zeros or equal weights, after that which it may have already.

    TFMOT's own clusters follow the nearest centroid, which may change, and its masks are in the layer kinds that it
    knows; a constraint on the variable is the same for every layer, and exact after every step.
    """
    for variable in kernels(model):
        rules = [RULES[what](variable.numpy()) for what in reversed(kept)]
        if rules:
            set_constraint(variable, _in_turn(variable.constraint, *rules))
    return model


def project(model, like):
    """Applies the constraints of a model to the weights of its copy."""
    for variable, old in zip(model.weights, like.weights, strict=True):
        if old.constraint is not None:
            variable.assign(old.constraint(variable))
    return model


def kernels(model):
    """The variables that may be compressed, frozen ones too: they may be trained later."""
    return [v for v in weights.kernels(model) if v.dtype.is_floating]


def _keep_zeros(value):
    import tensorflow as tf

    kept = tf.constant(value != 0)
    return lambda w: tf.where(kept, w, tf.zeros_like(w))


def _keep_clusters(value):
    """Each weight becomes the mean of those that were equal to it: the nearest tensor with the same clusters."""
    import tensorflow as tf

    levels, index = np.unique(value, return_inverse=True)
    index = tf.constant(index.reshape(-1), tf.int32)

    def tie(w):
        means = tf.math.unsorted_segment_mean(tf.reshape(w, [-1]), index, len(levels))
        return tf.reshape(tf.gather(means, index), w.shape)

    return tie


RULES = {"zeros": _keep_zeros, "clusters": _keep_clusters}


def _in_turn(*rules):
    def apply(w):
        for rule in rules:
            w = w if rule is None else rule(w)
        return w

    return apply


def _is_clustered(value):
    """Whether the non-zero weights have each a second one like them, on average: unlike those of plain training."""
    kept = value[value != 0]
    return 2 * len(np.unique(kept)) <= kept.size
