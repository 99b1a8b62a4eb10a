"""The pruning patterns by name: `structure="filter"`, `"row"`, `"column"`, `"block(h,w)"`, `"m:n"`, `"pattern"`.

A new one is a new `Pattern`, a view of ten lines.
"""

import re

import numpy as np

from keras_admm import checks
from keras_admm.axes import Axes
from keras_admm.constraints.projection import largest
from keras_admm.constraints.summary import library
from keras_admm.constraints.views import Pattern, View

BLOCK = re.compile(r"block\(\s*([1-9]\d*)\s*,\s*([1-9]\d*)\s*\)")
M_OF_N = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")
NAMES = "'element', 'filter', 'row', 'column', 'pattern', 'block(h,w)' or 'm:n' with whole numbers, such as "
NAMES += "'block(1,4)' and '2:4'"


class Element(Pattern):
    """Every weight alone, all competing with all."""

    single = True

    def view(self, shape, axes):
        return View(tuple(shape), split=tuple(shape), order=tuple(range(len(shape))), pools=0, members=0)

    def __str__(self):
        return "weights"


class Slices(Pattern):
    """All weights that differ by the places of some axes alone, all slices competing with all."""

    alike = False

    def __init__(self, structure):
        self.structure = structure

    @property
    def ends_outputs(self):
        return self.structure != "column"

    def __str__(self):
        return f"{self.structure}s"

    def view(self, shape, axes):
        axes, every = axes.of(len(shape)), set(range(len(shape)))
        members = {
            "filter": every - {*axes.outputs, *axes.groups},
            "row": {*axes.inputs},
            "column": {*axes.outputs},
        }[self.structure]
        if not axes.inputs + axes.groups:
            raise _misfit(self.structure, "needs an axis of inputs and one of outputs", shape)
        return View(tuple(shape), tuple(shape), (*sorted(every - members), *sorted(members)), 0, len(members))


class Block(Pattern):
    """Blocks of `height` outputs by `width` inputs, all competing with all.

    Of a convolution each place has its own, and those of a depthwise one are of channels. Where blocks do not divide
    the kernel, the last ones are filled up with zeros: they have fewer weights.
    """

    def __init__(self, height, width):
        self.height, self.width = height, width

    def __str__(self):
        return f"block({self.height},{self.width})"

    def view(self, shape, axes):
        inputs, outputs = _last(axes.of(len(shape)), str(self), shape)
        filled, split, halves = list(shape), [], {}
        for axis, size in enumerate(shape):
            part = {inputs: self.width, outputs: self.height}.get(axis)
            halves[axis] = len(split), len(split) + 1
            filled[axis] = size if part is None else -(-size // part) * part
            split += [size] if part is None else [filled[axis] // part, part]
        members = halves[inputs][1], halves[outputs][1]
        rest = (axis for axis in range(len(split)) if axis not in members)
        return View(tuple(filled), tuple(split), (*rest, *members), pools=0, members=2)


class ZerosOf(Pattern):
    """`zeros` of each `window` neighbouring inputs are zero: single weights compete in their window."""

    single = True

    def __init__(self, zeros, window):
        self.zeros, self.window = zeros, window

    def __str__(self):
        return f"weights, {self.zeros} zeros of each {self.window},"

    @property
    def sparsity(self):
        return self.zeros / self.window

    def view(self, shape, axes):
        inputs = axes.of(len(shape)).inputs
        if not inputs or shape[inputs[-1]] % self.window:
            needs = f"needs an axis of inputs that {self.window} divides"
            raise _misfit(f"{self.zeros}:{self.window}", needs, shape)
        at = inputs[-1]
        split = (*shape[:at], shape[at] // self.window, self.window, *shape[at + 1 :])
        order = (*(axis for axis in range(len(split)) if axis != at + 1), at + 1)
        return View(tuple(shape), split, order, pools=len(shape), members=0)


class Kernel3x3(Pattern):
    """Each 3x3 slice, one input's and one output's, keeps its centre and the three largest of its four neighbours.

    These are four patterns, whose mean is the enhanced Laplacian of Gaussian, a filter of vision; the slices compete
    with one another by what they would keep, which is the pruning of connectivity. Ma et al., "PCONV: The Missing but
    Desirable Sparsity in DNN Weight Pruning for Real-time Execution on Mobile Devices", arXiv:1909.05073.
    """

    def __str__(self):
        return "3x3 slices"

    def view(self, shape, axes):
        places = sorted(set(range(len(shape))).difference(*axes.of(len(shape))))
        if [shape[axis] for axis in places] != [3, 3]:
            raise _misfit("pattern", "needs a kernel of 3x3 places", shape)
        rest = (axis for axis in range(len(shape)) if axis not in places)
        return View(tuple(shape), tuple(shape), (*rest, *places), pools=0, members=2, stays=self._stays)

    @staticmethod
    def _stays(groups):
        of, (pools, count, _) = library(groups), groups.shape
        around = of.reshape(of.stack([groups[..., i] for i in (1, 3, 5, 7)], axis=-1), (pools * count, 4, 1))
        up, left, right, down = (of.reshape(largest(around, 3)[:, i], (pools, count)) for i in range(4))
        corner, centre = of.zeros_like(up), of.ones_like(up)
        return of.stack([corner, up, corner, left, centre, right, corner, down, corner], axis=-1)


def _last(axes, structure, shape):
    """The last axes of inputs, or of groups where there are none, and of outputs."""
    inputs = axes.inputs or axes.groups
    if not inputs or not axes.outputs:
        raise _misfit(structure, "needs two axes, one of inputs and one of outputs", shape)
    return inputs[-1], axes.outputs[-1]


def _misfit(structure, needs, shape):
    return ValueError(
        f"structure={structure!r} {needs}. Received: a tensor of shape {tuple(shape)}. Exclude it, or use "
        "structure='element'."
    )


def pattern(name, structure):
    """The `Pattern` of a structure, or raises ValueError.

    Args:
        name: str, name used in error messages.
        structure: the name of a pattern, or a `Pattern`.
    """
    if isinstance(structure, Pattern):
        return structure
    text = structure if isinstance(structure, str) else ""
    block, zeros = BLOCK.fullmatch(text), M_OF_N.fullmatch(text)
    if block:
        return Block(*map(int, block.groups()))
    if zeros:
        return _zeros_of(name, structure, *map(int, zeros.groups()))
    if text in PATTERNS:
        return PATTERNS[text]
    if text == "channel":
        must = "a pattern of one tensor: 'channel' is of coupled groups of a whole model"
        raise ValueError(checks.refused(name, "structure", must, structure, "Use ADMMPrune for it, or 'filter'."))
    must = f"{NAMES}, or a constraints.Pattern"
    remedy = "Choose one of these; of ADMMPrune also 'channel'."
    raise ValueError(checks.refused(name, "structure", must, structure, remedy))


PATTERNS = {"element": Element(), "pattern": Kernel3x3(), **{n: Slices(n) for n in ("filter", "row", "column")}}


def _zeros_of(name, structure, zeros, window):
    if not 0 < zeros < window:
        must = "'m:n' with 0 < m < n: m of each n neighbouring inputs are zero"
        raise ValueError(checks.refused(name, "structure", must, structure, "Pass '2:4' for half of the weights."))
    return ZerosOf(zeros, window)


def view(structure, shape, axes=None):
    """The view of a structure on kernels of a shape; a ValueError where it does not fit them.

    Args:
        structure: the name of a pattern, or a `Pattern`.
        shape: the shape.
        axes: `Axes`, None for those of `Dense` and the convolutions.
    """
    return pattern("structure", structure).view(tuple(shape), Axes() if axes is None else axes)


def group_norms(array, structure, axes=None):
    """The Euclidean norm of each group of a tensor, shaped as the groups lie; of single weights, the tensor."""
    return array if structure == "element" else view(structure, array.shape, axes).norms(array)


def group_sums(scores, structure, axes=None):
    """The sum of each group of an array of scores, none of it negative, shaped as the groups lie."""
    return scores if structure == "element" else np.square(group_norms(np.sqrt(scores), structure, axes))
