"""The logged metrics of a run, epoch by epoch."""

import math
from typing import NamedTuple

from keras_admm.constraints import chunks, library, nonzeros


class Progress(NamedTuple):
    """The figures of one epoch, under the names in which they are logged.

    Attributes:
        sparsity: share of exact zeros in the compressed weights.
        admm_primal: `||W - Z|| / ||W||`, how far the weights are from the set.
        admm_dual: `rho * ||Z - Z_previous|| / ||W||`, how much the target still moves.
        admm_rho: the penalty in force in this epoch.
        admm_step: which progressive step, from 1.
        admm_sparsity: share of zeros in Z, which the weights are pulled to: they have it with the projection.
    """

    sparsity: float
    admm_primal: float
    admm_dual: float
    admm_rho: float
    admm_step: float
    admm_sparsity: float


def check_finite(name, arrays):
    """Raises a FloatingPointError that names the first array with a NaN or an infinity in it."""
    for weight, array in arrays.items():
        of = library(array)
        if not all(of.all(of.isfinite(part)) for part in chunks(array)):
            raise FloatingPointError(
                f"{name}: the weights must stay finite. Received: NaN or infinity in {weight}. "
                "Lower the learning rate or rho, or clip the gradients."
            )


def counts(arrays):
    """How many weights of each array of a dict are other than zero, and how many there are: a dict of pairs."""
    return {
        name: (sum(nonzeros(part) for part in chunks(array)), math.prod(array.shape)) for name, array in arrays.items()
    }


def sparsity(counted):
    """The share of exact zeros, of a dict of `counts`; of none 0."""
    kept, size = map(sum, zip(*counted.values(), strict=True)) if counted else (1, 1)
    return 1 - kept / size
