"""When a compiled training step computes what it adds: a graph of TensorFlow begins whatever has its inputs."""

import contextlib

import keras


def once_there(tensor):
    """A context whose operations TensorFlow begins when a tensor is there, or at once where it is None.

    What needs the variables alone could be computed as the step begins, and would be for all of them, each taking its
    memory until its turn comes. The other backends compile a step, or run it line by line, and keep no such thing.
    """
    if keras.backend.backend() != "tensorflow" or tensor is None:
        return contextlib.nullcontext()
    import tensorflow as tf

    # Keras says that a variable is its own tensor, and that is there from the beginning.
    return tf.control_dependencies([tensor if isinstance(tensor, tf.IndexedSlices) else tf.convert_to_tensor(tensor)])
