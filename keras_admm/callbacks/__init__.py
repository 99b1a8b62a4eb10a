"""Keras callbacks that compress a model during `model.fit`."""

from keras_admm.callbacks.adaptive import ADMMAdaptive as ADMMAdaptive
from keras_admm.callbacks.admm import ADMM as ADMM
from keras_admm.callbacks.low_rank import ADMMLowRank as ADMMLowRank
from keras_admm.callbacks.olmp import OLMP as OLMP
from keras_admm.callbacks.prune import ADMMPrune as ADMMPrune
from keras_admm.callbacks.quantize import ADMMCluster as ADMMCluster
from keras_admm.callbacks.quantize import ADMMQuantize as ADMMQuantize
from keras_admm.callbacks.trp import TRP as TRP
