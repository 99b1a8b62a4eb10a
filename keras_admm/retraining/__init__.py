"""Masked, quantized and clustered retraining: how weights stay in their set after ADMM."""

from keras_admm.retraining.base import MaskedWeights as MaskedWeights
from keras_admm.retraining.base import Projected as Projected
from keras_admm.retraining.base import Retraining as Retraining
from keras_admm.retraining.few_values import QuantizedRetraining as QuantizedRetraining
from keras_admm.retraining.few_values import SharedValues as SharedValues
from keras_admm.retraining.few_values import Snap as Snap
from keras_admm.retraining.few_values import StraightThrough as StraightThrough
from keras_admm.retraining.named import NAMED as NAMED
from keras_admm.retraining.named import get as get
from keras_admm.retraining.named import retraining_of as retraining_of
from keras_admm.retraining.placement import clusters as clusters
from keras_admm.retraining.placement import fix as fix
from keras_admm.retraining.placement import multiples as multiples
from keras_admm.retraining.placement import value_table as value_table
