"""Keras callbacks that compress a model during `model.fit`."""

from keras_admm.callbacks.admm import ADMM as ADMM
from keras_admm.callbacks.prune import ADMMPrune as ADMMPrune
from keras_admm.callbacks.quantize import ADMMCluster as ADMMCluster
from keras_admm.callbacks.quantize import ADMMQuantize as ADMMQuantize
