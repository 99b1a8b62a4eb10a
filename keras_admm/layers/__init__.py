"""A layer that keeps the pruned weights of another at zero."""

from keras_admm.layers.masked import Mask as Mask
from keras_admm.layers.masked import Masked as Masked
from keras_admm.layers.masked import kernels_of as kernels_of
from keras_admm.layers.masked import masked_value as masked_value
