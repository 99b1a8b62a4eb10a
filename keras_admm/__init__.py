"""ADMM model compression for Keras.

model.fit(x, y, epochs=30, callbacks=[keras_admm.ADMMPrune(sparsity=0.98)])
"""

from keras_admm import constraints as constraints
from keras_admm import export as export
from keras_admm import layers as layers
from keras_admm import packed as packed
from keras_admm import penalties as penalties
from keras_admm import retraining as retraining
from keras_admm.allocation import allocate as allocate
from keras_admm.callbacks import ADMM as ADMM
from keras_admm.callbacks import ADMMCluster as ADMMCluster
from keras_admm.callbacks import ADMMPrune as ADMMPrune
from keras_admm.callbacks import ADMMQuantize as ADMMQuantize
from keras_admm.engine import Engine as Engine
from keras_admm.layers import mask as mask
from keras_admm.layers import strip as strip
from keras_admm.packed import PackedFileError as PackedFileError
from keras_admm.packed import load as load
from keras_admm.packed import save as save
from keras_admm.plan import Plan as Plan
from keras_admm.plan import PruningTarget as PruningTarget
from keras_admm.plan import Step as Step
from keras_admm.plan import Target as Target
from keras_admm.purification import purify as purify
from keras_admm.regularizers import ADMMRegularizer as ADMMRegularizer
from keras_admm.reporting import report as report
from keras_admm.timing import latency as latency

__version__ = "0.1.0"
