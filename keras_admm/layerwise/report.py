"""What became of each kernel of a model that was compressed layer by layer."""

import math
from typing import NamedTuple


class LayerwiseRow(NamedTuple):
    """One kernel.

    Attributes:
        name: the variable's path.
        shape: its shape.
        kept: how many of its weights are not zero.
        error: `||X W - X W0||^2 / ||X W0||^2` on the samples, `X` what comes in behind the layers already compressed.
    """

    name: str
    shape: tuple
    kept: int
    error: float

    @property
    def weights(self):
        """How many weights it has."""
        return math.prod(self.shape)


class LayerwiseReport(NamedTuple):
    """The kernels that were compressed, and the others with the reason; printing it gives a table.

    Attributes:
        rows: tuple of `LayerwiseRow`s in the order in which they compute.
        skipped: dict of the names of kernels that are as they were to the reason.
    """

    rows: tuple
    skipped: dict

    @property
    def sparsity(self):
        """The share of zeros in the kernels that were compressed."""
        return 1 - sum(row.kept for row in self.rows) / sum(row.weights for row in self.rows)

    def __str__(self):
        cells = [("kernel", "shape", "kept", "of", "zeros", "error")]
        for row in self.rows:
            shape = "x".join(map(str, row.shape))
            zeros = f"{1 - row.kept / row.weights:.4f}"
            cells.append((row.name, shape, f"{row.kept:,}", f"{row.weights:,}", zeros, f"{row.error:.2g}"))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))])
            for first, *rest in cells
        ]
        return "\n".join([*lines, *(f"{name} stays: {reason}" for name, reason in self.skipped.items())])
