"""Studies of a model: what each layer bears, and which partly pruned model goes furthest."""

from keras_admm.studies.sensitivity import Sensitivity as Sensitivity
from keras_admm.studies.sensitivity import sensitivity as sensitivity
