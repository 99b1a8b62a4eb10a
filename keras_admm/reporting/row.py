"""One row of a report: what a variable kept, and the bytes and MACs that it takes."""

from typing import NamedTuple


class ReportRow(NamedTuple):
    """One compressible variable, or the total.

    Its bytes in the model's packed file are in fractions, for small tensors share one stream; they and what follows
    from them are None where the model cannot be packed.

    Attributes:
        name: the variable's path.
        shape: its shape.
        weights: how many weights it has.
        kept: how many of them are not zero.
        distinct: how many different values they have, zero among them.
        macs: multiplications (each with an addition) by these weights for one sample; None: not known.
        macs_left: those by weights that are not zero.
        histogram: the counts of the finite weights that are not zero in bins of equal width, and the bins' edges.
        data_bytes: bytes of its numbers alone: what the papers' largest ratios count.
        index_bytes: bytes of where its non-zeros are; none where it has no zeros.
        side_bytes: bytes of how it is coded, and of scales and lists of values.
    """

    name: str
    shape: tuple
    weights: int
    kept: int
    distinct: int | None = None
    macs: int | None = None
    macs_left: int | None = None
    histogram: tuple = ((), ())
    data_bytes: float | None = None
    index_bytes: float | None = None
    side_bytes: float | None = None

    @property
    def layer(self):
        """The path of the layer that has the variable."""
        return self.name.rpartition("/")[0]

    @property
    def variable(self):
        """The variable's own name."""
        return self.name.rpartition("/")[2]

    @property
    def zeros(self):
        return self.weights - self.kept

    @property
    def sparsity(self):
        return 1 - self.kept / self.weights if self.weights else 0.0

    @property
    def dense_bytes(self):
        """Bytes of all weights as float32, zeros too."""
        return 4 * self.weights

    @property
    def with_indices_bytes(self):
        """Bytes of its numbers and of where they are."""
        return None if self.data_bytes is None else self.data_bytes + self.index_bytes

    @property
    def packed_bytes(self):
        """Its share of the packed file: numbers, indices, and how they are coded."""
        return None if self.data_bytes is None else self.with_indices_bytes + self.side_bytes

    @property
    def bits_per_weight(self):
        """Bits of the numbers alone for each weight that is not zero; None where all are."""
        return None if self.data_bytes is None or not self.kept else 8 * self.data_bytes / self.kept

    @property
    def data_ratio(self):
        """`dense_bytes` over `data_bytes`: no file is so small, for it must say where the numbers are."""
        return ratio(self.dense_bytes, self.data_bytes)

    @property
    def with_indices_ratio(self):
        """`dense_bytes` over `with_indices_bytes`."""
        return ratio(self.dense_bytes, self.with_indices_bytes)

    @property
    def packed_ratio(self):
        """`dense_bytes` over `packed_bytes`."""
        return ratio(self.dense_bytes, self.packed_bytes)


def ratio(dense, small):
    """How many times smaller; None where the small one is not known or nothing."""
    return dense / small if small else None
