"""Layers that keep pruned weights at zero, and the way there and back for a whole model."""

from keras_admm.layers.copies import mask as mask
from keras_admm.layers.copies import strip as strip
from keras_admm.layers.masked import Masked as Masked
