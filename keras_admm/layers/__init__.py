"""A layer that keeps the pruned weights of another at zero."""

from keras_admm.layers.masked import Masked as Masked
