"""Compression after training, layer by layer: kernels in a set that give what they gave, on a few samples."""

from keras_admm.layerwise.low_rank import OutputComponents as OutputComponents
from keras_admm.layerwise.low_rank import given as given
from keras_admm.layerwise.low_rank import of_rank as of_rank
from keras_admm.layerwise.methods import Magnitude as Magnitude
from keras_admm.layerwise.methods import Method as Method
from keras_admm.layerwise.methods import SparseGPT as SparseGPT
from keras_admm.layerwise.methods import Wanda as Wanda
from keras_admm.layerwise.methods import check_correction as check_correction
from keras_admm.layerwise.problem import Problem as Problem
from keras_admm.layerwise.prune import prune_layerwise as prune_layerwise
from keras_admm.layerwise.quantize import quantize_layerwise as quantize_layerwise
from keras_admm.layerwise.report import LayerwiseReport as LayerwiseReport
from keras_admm.layerwise.report import LayerwiseRow as LayerwiseRow
from keras_admm.layerwise.solver import ADMM as ADMM
