"""Sparsity allocation: one budget of non-zeros for the model -> how many weights each tensor keeps."""

from keras_admm.allocation.division import Allocation as Allocation
from keras_admm.allocation.division import allocate as allocate
from keras_admm.allocation.division import check_how as check_how
from keras_admm.allocation.division import check_min_keep as check_min_keep
from keras_admm.allocation.division import divide as divide
from keras_admm.allocation.division import starved as starved
from keras_admm.allocation.measured import MeasuredAllocation as MeasuredAllocation
from keras_admm.allocation.owl import OWL as OWL
from keras_admm.allocation.saliency import Saliency as Saliency
