"""Arithmetic on all weights of a variable in few passes, where a backend would make one for each operation."""

import functools

import keras

# From so many weights on, what a pass costs is more than what it takes to compile.
LARGE = 100_000
# So many weights at a time stay in a core's cache, with all that is made of them.
CACHED = 65_536


def in_one_sweep(function, size):
    """A pure function of tensors, compiled by XLA where TensorFlow can, as JAX does by itself.

    Args:
        function: of tensors of static shapes, without variables.
        size: int, how many weights it is for: for few it is left as it is.
    """
    if keras.backend.backend() != "tensorflow" or size < LARGE or not _xla_compiles():
        return function
    import tensorflow as tf

    compiled = tf.function(function, jit_compile=True, autograph=False)
    return lambda *tensors: compiled(*map(tf.convert_to_tensor, tensors))


@functools.cache
def _xla_compiles():
    """Whether this TensorFlow has XLA for the device that it computes on."""
    import tensorflow as tf

    with tf.init_scope():
        try:
            tf.function(lambda x: x + x, jit_compile=True)(tf.zeros(()))
        except tf.errors.OpError:
            return False
    return True


def counted(x, middles, table):
    """For each of a torch tensor the row of `table` that is as far down as there are `middles` below it.

    Comparisons into floats, and their sum in place, are several times as fast as choices or searches; and part by
    part all of them find the weights in the cache.

    Args:
        x: float32 tensor.
        middles: float32 tensor, `(n, 1)` or `(n, channels)`.
        table: float32 tensor, `(n + 1, 1)` or `(n + 1, channels)`.
    """
    import torch

    flat, channels = x.detach().reshape(-1, x.shape[-1]), table.shape[1]
    column = torch.arange(channels, device=x.device, dtype=torch.int32)
    near, values = torch.empty_like(flat), table.detach().reshape(-1)
    rows = max(CACHED // flat.shape[1], 1)
    with torch.no_grad():  # of an update there is none, and views are written to
        for part, to in zip(flat.split(rows), near.split(rows), strict=True):
            below, above = torch.zeros_like(part), torch.empty_like(part)
            for middle in middles.detach():
                below += torch.gt(part, middle, out=above)
            places = (below.int() * channels + column).reshape(-1)
            to.copy_(torch.index_select(values, 0, places).reshape(to.shape))
    return near.reshape(x.shape)
