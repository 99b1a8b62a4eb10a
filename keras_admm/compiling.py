"""Functions compiled as the backend compiles."""

import keras


def compiled(function, **how):
    """A pure function of structures of tensors, compiled as the backend does: once for each of their shapes.

    On torch it is the function itself, without gradients. Of `how` TensorFlow's `tf.function` alone is told.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        made = tf.function(function, autograph=False, **how)
        # Each model, or shape, has its own; where there are five of one function, TensorFlow would warn of a loop.
        made._omit_frequent_tracing_warning = True
        return made
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)
