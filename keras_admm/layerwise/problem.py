"""The problem of one layer: `min ||X W - X W0||^2` over kernels `W` in a set, by what is known of its inputs `X`."""

import numpy as np

FLOAT = "float64"


class Moments:
    """The second moments of what comes in to a product, `X^T X` over the number of rows, one for each group.

    Args:
        product: a `Product`.
        twice: bool, whether what came in before the layers in front of it were changed, `X0`, is known too.

    Attributes:
        gram: float64 array `(groups, inputs, inputs)`.
        lost: float64 array of the same shape, `X^T (X0 - X)` over the number of rows; None unless it is known.
    """

    def __init__(self, product, twice):
        seen = product.matrices
        self._product, self._count = product, 0
        self._gram = np.zeros((seen.groups, seen.inputs, seen.inputs), FLOAT)
        self._lost = np.zeros_like(self._gram) if twice else None

    def add(self, x, before=None):
        """Adds a batch of what comes in, and of what did; NumPy arrays."""
        rows = np.ascontiguousarray(self._product.rows(x), "float32")
        turned = rows.transpose(0, 2, 1)
        self._gram += turned @ rows
        if self._lost is not None:
            self._lost += turned @ (self._product.rows(before) - rows)
        self._count += rows.shape[1]

    @property
    def gram(self):
        return self._gram / max(self._count, 1)

    @property
    def lost(self):
        return None if self._lost is None else self._lost / max(self._count, 1)


class Problem:
    """A layer's kernel, and the second moments of its inputs.

    Args:
        moments: `Moments`.
        kernel: float32 array.
        seen: the `Matrices` of the kernel.
        damping: float, added to the diagonal, in shares of its mean: inputs that were never seen do not get free.
        correction: float, which share of what layers in front have lost is made up for.

    Attributes:
        gram: with the damping.
        w: float64 array `(groups, inputs, outputs)`, what the kernel is to come to but for the set, as matrices.
        scale: float64 array `(groups, inputs, 1)`, the root of the diagonal: in units of it all inputs are alike.
    """

    def __init__(self, moments, kernel, seen, damping, correction=0.0):
        self.shape, self._seen, self._plain = kernel.shape, seen, moments.gram
        mean = np.einsum("gii->", self._plain) / (seen.groups * seen.inputs)
        self.gram = self._plain + (damping * mean if mean else 1.0) * np.eye(seen.inputs)
        self.scale = np.sqrt(np.einsum("gii->gi", self.gram))[..., None]
        self.w = seen.of(kernel.astype(FLOAT))
        if correction and mean:
            self.w = self.w + correction * np.linalg.solve(self.gram, moments.lost @ self.w)

    @property
    def unit_gram(self):
        """The Gram matrices in the unit in which their diagonals have a mean of one."""
        return self.gram / np.mean(self.scale**2)

    def kernel(self, matrices):
        """Matrices as a kernel of the layer, in float32."""
        return self._seen.kernel(matrices.astype("float32"), self.shape)

    def matrices(self, kernel):
        """A kernel's weights, or what belongs to each of them, as matrices."""
        return self._seen.of(kernel)

    def project(self, constraint, matrices):
        """The nearest matrices of a set of kernels."""
        return self._seen.of(constraint.project(self.kernel(matrices))).astype(FLOAT)

    def error(self, kernel):
        """`||X W - X T||^2 / ||X T||^2` of a kernel `W`, `T` what it was to come to; 0 where nothing comes out."""
        whole = self._energy(self.w)
        return self._energy(self._seen.of(kernel.astype(FLOAT)) - self.w) / whole if whole else 0.0

    def _energy(self, w):
        return float(np.sum(w * (self._plain @ w)))
