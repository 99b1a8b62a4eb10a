"""Functions compiled as the backend compiles."""

import keras


def compiled(function):
    """A pure function of structures of tensors, compiled as the backend does: once for each of their shapes.

    On torch it is the function itself, without gradients.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)
