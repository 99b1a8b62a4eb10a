"""Counting MACs: how often each weight of a model is multiplied for one sample."""

from keras_admm.macs.count import uncounted as uncounted
from keras_admm.macs.count import uses as uses
