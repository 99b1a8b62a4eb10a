"""Studies of a model: what each layer bears, and which partly pruned model goes furthest."""

from keras_admm.studies.progressive import progressive_search as progressive_search
from keras_admm.studies.sensitivity import Sensitivity as Sensitivity
from keras_admm.studies.sensitivity import sensitivity as sensitivity
from keras_admm.studies.tree import ProgressiveSearch as ProgressiveSearch
from keras_admm.studies.tree import Trial as Trial
