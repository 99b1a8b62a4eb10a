"""The order of things: what a run does with the weights of a model, and when."""

from keras_admm.engine.identity import described as described
from keras_admm.engine.identity import differences as differences
from keras_admm.engine.requirements import check_place as check_place
from keras_admm.engine.run import Engine as Engine
from keras_admm.engine.spliced import SplicedPruning as SplicedPruning
