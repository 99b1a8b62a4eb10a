"""Keras constraints that project a weight on a set: sparse, quantized, clustered, low-rank.

Each is a `keras.constraints.Constraint`: called with a tensor it returns the nearest member of the set, of the
same shape and dtype. It serves ADMM as its projection, and any Keras layer as a `kernel_constraint`.
"""

from keras_admm.axes import Axes as Axes
from keras_admm.constraints.base import Codes as Codes
from keras_admm.constraints.base import Foreign as Foreign
from keras_admm.constraints.base import Set as Set
from keras_admm.constraints.base import as_set as as_set
from keras_admm.constraints.base import is_foreign as is_foreign
from keras_admm.constraints.codebook import Codebook as Codebook
from keras_admm.constraints.counting import counts_of_largest as counts_of_largest
from keras_admm.constraints.joint import Joint as Joint
from keras_admm.constraints.levels import Levels as Levels
from keras_admm.constraints.low_rank import LowRank as LowRank
from keras_admm.constraints.low_rank import as_matrix as as_matrix
from keras_admm.constraints.low_rank import check_energy as check_energy
from keras_admm.constraints.low_rank import check_scheme as check_scheme
from keras_admm.constraints.low_rank import factors as factors
from keras_admm.constraints.low_rank import from_matrix as from_matrix
from keras_admm.constraints.low_rank import full_rank as full_rank
from keras_admm.constraints.low_rank import least_rank as least_rank
from keras_admm.constraints.low_rank import rows_of as rows_of
from keras_admm.constraints.low_rank import spectrum as spectrum
from keras_admm.constraints.low_rank import truncated as truncated
from keras_admm.constraints.magnitudes import reached_by as reached_by
from keras_admm.constraints.magnitudes import reached_with_ties as reached_with_ties
from keras_admm.constraints.named_levels import Binary as Binary
from keras_admm.constraints.named_levels import PowersOfTwo as PowersOfTwo
from keras_admm.constraints.named_levels import Ternary as Ternary
from keras_admm.constraints.patterns import group_norms as group_norms
from keras_admm.constraints.patterns import group_sums as group_sums
from keras_admm.constraints.patterns import pattern as pattern
from keras_admm.constraints.patterns import view as view
from keras_admm.constraints.sparse import Sparse as Sparse
from keras_admm.constraints.sparse import Support as Support
from keras_admm.constraints.sparse import check_sparsity as check_sparsity
from keras_admm.constraints.sparse import says_sparsity as says_sparsity
from keras_admm.constraints.summary import chunks as chunks
from keras_admm.constraints.summary import library as library
from keras_admm.constraints.summary import nonzeros as nonzeros
from keras_admm.constraints.views import Pattern as Pattern
from keras_admm.constraints.views import View as View
