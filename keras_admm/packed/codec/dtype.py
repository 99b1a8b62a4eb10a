"""The kinds of number that a tensor can hold, as bits."""

import math
from typing import NamedTuple

import numpy as np


class Kind(NamedTuple):
    """A dtype as the codec sees it.

    Attributes:
        bits: of one number.
        head: its leading bits (sign and exponent, of a float) that are alike between the numbers of a tensor.
        float: the NumPy dtype that multiplies as the format says, or None.
    """

    bits: int
    head: int
    float: str | None = None

    @property
    def word(self):
        """The unsigned NumPy dtype of as many bits."""
        return np.dtype(f"u{self.bits // 8}")


KINDS = {
    "float16": Kind(16, 6, "float16"),
    "bfloat16": Kind(16, 9),
    "float32": Kind(32, 9, "float32"),
    "float64": Kind(64, 12, "float64"),
    "float8_e4m3fn": Kind(8, 8),
    "float8_e5m2": Kind(8, 8),
    "bool": Kind(8, 8),
    **{f"{sign}int{bits}": Kind(bits, 8) for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class Spec(NamedTuple):
    """What a reader must know of a tensor before it reads it: the file itself holds neither.

    Attributes:
        shape: tuple of sizes.
        dtype: name, one of `KINDS`.
    """

    shape: tuple
    dtype: str

    @property
    def size(self):
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def bytes(self):
        """How many bytes, dense."""
        return self.size * KINDS[self.dtype].bits // 8
