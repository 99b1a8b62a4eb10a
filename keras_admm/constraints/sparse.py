"""Sparse weights: tensors with few non-zeros, or with zeros at given places."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_admm import checks
from keras_admm.axes import Axes
from keras_admm.constraints import floats
from keras_admm.constraints.base import Set
from keras_admm.constraints.patterns import pattern, view
from keras_admm.constraints.projection import keep_largest, restrict
from keras_admm.constraints.summary import library, nonzeros
from keras_admm.constraints.views import Pattern


def check_sparsity(name, sparsity):
    """Returns `sparsity` as a float, or raises ValueError or TypeError."""
    must, remedy = "a number in [0, 1), the share of zeros", "Pass 0.98 for two kept weights in a hundred."
    return checks.share(name, "sparsity", sparsity, must, remedy)


def says_sparsity(name, sparsity, structure):
    """Whether a structure of the form `"m:n"` gives the target; raises unless it or a sparsity does, and not both."""
    says = pattern(name, structure).sparsity is not None
    if says == (sparsity is None):
        return says
    raise ValueError(
        f"{name}: exactly one of `sparsity` and a structure of the form 'm:n' gives the share of zeros. Received: "
        f"sparsity={checks.shown(sparsity)}, structure={checks.shown(structure)}. "
        + (f"Leave the sparsity out: {structure} is one of its own." if says else "Pass sparsity=0.9, for example.")
    )


@keras.saving.register_keras_serializable("keras_admm")
class Sparse(Set):
    """Sparse weights: tensors of which a share of `sparsity` is zero.

    Called with `x` it returns the nearest member, `argmin ||y - x||` over `y` with exactly
    `round((1 - sparsity) * groups)` groups left: the largest stay as they are, the others become 0. Between
    equal norms the lower index stays, on every backend.

    Args:
        sparsity: float in `[0, 1)`, the share of zeros: of the groups that `structure` makes. None, and only then, with
            a structure of the form `"m:n"`, which says it.
        structure: what is kept or zeroed as one.

            - `"element"`: each weight by itself.
            - `"filter"`: all weights of one output, `kernel[..., output]`.
            - `"row"`, `"column"`: of the matrices, outputs by inputs, that the places of a kernel are:
              `kernel[place, :, output]`, and `kernel[place, input, :]`. (Of a `Dense` layer, which has one such matrix,
              rows are filters. The columns of all places are what Zhang et al., arXiv:1807.11091, call so.)
            - `"block(h,w)"`: blocks of `h` outputs by `w` inputs; `"block(1,4)"` is the one that LiteRT has a sparse
              kernel for. A kernel that blocks do not divide is filled up with zeros at the ends of these axes, as in
              TFMOT: the blocks there have fewer weights. Blocks are what is counted: that share of them is zero
              exactly, at most `kept blocks * h * w` weights stay, and the share of zero weights differs from `sparsity`
              only by what blocks at the ends lack.
            - `"m:n"`: `m` of each `n` neighbouring inputs are zero (as TFMOT's `sparsity_m_by_n`; N:M elsewhere often
              counts those that stay), the same for every output and place. `n` must divide the inputs.
            - `"pattern"`: of each 3x3 slice, one input's and one output's, the centre and the three largest of its four
              neighbours stay, and `sparsity` is the share of slices of which nothing does: of all weights
              `1 - 4 / 9 * (1 - sparsity)` are zero. Ma et al., "PCONV", arXiv:1909.05073.

            Or a `Pattern` of your own.
        axes: `Axes`, which axes of the kernel are of inputs and of outputs. None: the last but one and the last, as in
            `Dense` and the convolutions. Where a model is trained, the axes are told by each layer's kind.

    Returns when called:
        A tensor of the shape and dtype of its input, which may be a NumPy array or a tensor of the backend.

    Raises:
        TypeError: for a sparsity that is no number, or axes that are none.
        ValueError: for a sparsity outside `[0, 1)`, or beside one that the structure says; for an unknown structure;
            when called, for a tensor that the structure does not fit, or NaN or infinity in it (in a compiled step,
            which has no numbers yet, these count as the largest and stay).

    Example:

    >>> import numpy as np
    >>> Sparse(0.5)(np.array([0.1, -3.0, 2.0, 0.2], "float32"))
    array([ 0., -3.,  2.,  0.], dtype=float32)
    >>> Sparse(structure="1:2")(np.array([[1.0, 5.0], [2.0, 3.0], [4.0, 7.0], [4.0, 8.0]], "float32"))
    array([[0., 5.],
           [2., 0.],
           [4., 0.],
           [0., 8.]], dtype=float32)

    Reference: the set `S_i` of Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating
    Direction Method of Multipliers", arXiv:1804.03294.
    """

    on_device = True

    def __init__(
        self, sparsity: float | None = None, structure: str | Pattern = "element", axes: Axes | tuple | None = None
    ):
        says = says_sparsity("Sparse", sparsity, structure)
        self.structure = structure
        self.sparsity = pattern("Sparse", structure).sparsity if says else check_sparsity("Sparse", sparsity)
        self.axes = _checked_axes(axes)

    def along(self, axes):
        return Sparse(**{**self._arguments, "axes": axes})

    def check_shape(self, shape):
        self._view(shape)

    def support(self, x):
        """Booleans of the shape of `x`: true where the nearest member keeps the weight."""
        return self._support(floats.finite("Sparse", x))

    def _support(self, x):
        seen = self._view(x.shape)
        return seen.kept(x, self._count(math.prod(seen.grid) // seen.pool_count))

    def __call__(self, x):
        x = floats.finite("Sparse", x)
        on_host = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.flags.c_contiguous
        if on_host and self.structure == "element" and 0 < self._count(x.size) < x.size:
            return keep_largest(x, self._count(x.size))
        return _restrict(x, self._support(x))

    def kept(self, shape: Sequence[int]) -> int:
        """How many groups of a tensor of a shape stay, and of how many."""
        seen = self._view(shape)
        groups = math.prod(seen.grid)
        return self._count(groups // seen.pool_count) * seen.pool_count, groups

    @property
    def groups_name(self) -> str:
        """What is counted by `kept`, `"weights"` or `"filters"`."""
        return str(pattern("Sparse", self.structure))

    def living(self, x: Any) -> int:
        """How many groups of a tensor have a member that is not 0."""
        if self.structure == "element":
            return nonzeros(x)
        return nonzeros(library(x).any(self._view(x.shape).fold(x), axis=2))

    def _view(self, shape):
        return view(self.structure, shape, self.axes)

    def _count(self, groups):
        return round((1 - self.sparsity) * groups)

    @property
    def _arguments(self):
        says = pattern("Sparse", self.structure).sparsity is not None
        return {"sparsity": None if says else self.sparsity, "structure": self.structure, "axes": self.axes}

    def get_config(self):
        own = isinstance(self.structure, Pattern)
        structure = keras.saving.serialize_keras_object(self.structure) if own else self.structure
        axes = None if self.axes is None else {name: list(each) for name, each in self.axes._asdict().items()}
        return {**self._arguments, "structure": structure, "axes": axes}

    @classmethod
    def from_config(cls, config):
        axes = config.get("axes")
        axes = None if axes is None else Axes(**{name: tuple(each) for name, each in axes.items()})
        return cls(config["sparsity"], keras.saving.deserialize_keras_object(config["structure"]), axes)


def _checked_axes(axes):
    if axes is not None and not isinstance(axes, Axes):
        remedy = "Pass Axes(inputs=(-1,), outputs=(-2,)) for a transposed convolution."
        raise TypeError(checks.refused("Sparse", "axes", "a constraints.Axes", axes, remedy))
    return axes


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

    on_device = True

    def __init__(self, mask: ArrayLike):
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

    def __repr__(self):
        return f"Support({np.count_nonzero(self.mask):,} of {self.mask.size:,}, shape={tuple(self.mask.shape)})"

    def get_config(self):
        return {"mask": self.mask.tolist()}


def _restrict(x, support):
    if isinstance(x, np.ndarray):
        return restrict(x, support)
    return ops.where(support, x, ops.zeros((), dtype=x.dtype))
