"""Sparse weights: tensors with few non-zeros, or with zeros at given places."""

import math

import keras
import numpy as np
from keras import ops

from keras_admm import checks
from keras_admm.constraints import floats
from keras_admm.constraints.base import Set
from keras_admm.constraints.projection import keep_largest, largest, restrict
from keras_admm.constraints.views import Pattern, check_structure, view


def check_sparsity(name, sparsity):
    """Returns `sparsity` as a float, or raises ValueError or TypeError."""
    must, remedy = "a number in [0, 1), the share of zeros", "Pass 0.98 for two kept weights in a hundred."
    return checks.share(name, "sparsity", sparsity, must, remedy)


@keras.saving.register_keras_serializable("keras_admm")
class Sparse(Set):
    """Sparse weights: tensors of which a share of `sparsity` is zero.

    Called with `x` it returns the nearest member, `argmin ||y - x||` over `y` with exactly
    `round((1 - sparsity) * groups)` groups left: the largest stay as they are, the others become 0. Between
    equal norms the lower index stays, on every backend.

    Args:
        sparsity: float in `[0, 1)`, the share of zeros.
        structure: what is kept or zeroed as one. `"element"`: each weight by itself. `"block(h,w)"`: blocks of `h`
            outputs (the kernel's last axis) by `w` inputs (the axis before it); `"block(1,4)"` is the one that
            LiteRT has a sparse kernel for. A kernel that blocks do not divide is filled up with zeros at the ends of
            these axes, as in TFMOT: the blocks there have fewer weights. Blocks are what is counted: that share of
            them is zero exactly, at most `kept blocks * h * w` weights stay, and the share of zero weights differs from
            `sparsity` only by what blocks at the ends lack. Or a `Pattern` of your own.

    Returns when called:
        A tensor of the shape and dtype of its input, which may be a NumPy array or a tensor of the backend.

    Raises:
        TypeError: for a sparsity that is no number.
        ValueError: for a sparsity outside `[0, 1)` or an unknown structure; when called, for blocks of a tensor of
            fewer than two axes, or NaN or infinity in it (in a compiled step, which has no numbers yet, these count as
            the largest and stay).

    Example:

    >>> import numpy as np
    >>> Sparse(0.5)(np.array([0.1, -3.0, 2.0, 0.2], "float32"))
    array([ 0., -3.,  2.,  0.], dtype=float32)

    Reference: the set `S_i` of Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating
    Direction Method of Multipliers", arXiv:1804.03294.
    """

    def __init__(self, sparsity, structure="element"):
        self.sparsity = check_sparsity("Sparse", sparsity)
        self.structure = check_structure("Sparse", structure)

    def support(self, x):
        """Booleans of the shape of `x`: true where the nearest member keeps the weight."""
        return self._support(floats.finite("Sparse", x))

    def _support(self, x):
        seen = view(self.structure, x.shape)
        groups = seen.fold(x)
        return seen.spread(largest(groups, self._count(groups.shape[1])), x.shape)

    def __call__(self, x):
        x = floats.finite("Sparse", x)
        on_host = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.flags.c_contiguous
        if on_host and self.structure == "element" and 0 < self._count(x.size) < x.size:
            return keep_largest(x, self._count(x.size))
        return _restrict(x, self._support(x))

    def kept(self, shape):
        """How many groups of a tensor of a shape stay, and of how many."""
        seen = view(self.structure, shape)
        groups = math.prod(seen.grid)
        return self._count(groups // seen.pool_count) * seen.pool_count, groups

    def _count(self, groups):
        return round((1 - self.sparsity) * groups)

    def get_config(self):
        own = isinstance(self.structure, Pattern)
        structure = keras.saving.serialize_keras_object(self.structure) if own else self.structure
        return {"sparsity": self.sparsity, "structure": structure}

    @classmethod
    def from_config(cls, config):
        return cls(config["sparsity"], keras.saving.deserialize_keras_object(config["structure"]))


@keras.saving.register_keras_serializable("keras_admm")
class Support(Set):
    """A fixed pruning mask: tensors that are zero wherever `mask` is.

    Called with `x` it returns the nearest member, `argmin ||y - x||` over `y` with `y = 0` where `mask` is
    false: `x` itself where the mask is true, 0 elsewhere.

    Args:
        mask: array of booleans (or zeros and non-zeros) of the shape of the tensor.

    Example:

    >>> import numpy as np
    >>> Support([True, False])(np.array([5.0, 7.0], "float32"))
    array([5., 0.], dtype=float32)

    Reference: masked retraining in Ye et al., "Progressive Weight Pruning of Deep Neural Networks using ADMM",
    arXiv:1810.07378.
    """

    def __init__(self, mask):
        self.mask = checks.array("Support", "mask", mask, "an array of booleans").astype(bool)

    def support(self, x):
        """Booleans of the shape of `x`: the mask itself."""
        x = floats.tensor("Support", x)
        if tuple(x.shape) != self.mask.shape:
            raise ValueError(
                f"Support: the mask must have the shape of the tensor, {tuple(x.shape)}. "
                f"Received: a mask of shape {self.mask.shape}. Make it from this tensor."
            )
        return self.mask

    def __call__(self, x):
        x = floats.tensor("Support", x)
        return _restrict(x, self.support(x))

    def get_config(self):
        return {"mask": self.mask.tolist()}


def _restrict(x, support):
    if isinstance(x, np.ndarray):
        return restrict(x, support)
    return ops.where(support, x, ops.zeros((), dtype=x.dtype))
