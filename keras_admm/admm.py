"""The ADMM iteration: minimise f(W) over W in a set S, by splitting W from its copy Z in S.

Training moves W on `f(W) + rho / 2 * ||W - Z + U||^2`; between epochs `step` moves the rest:

    Z <- P_S(W + U)        the nearest member of S
    U <- U + W - Z         the scaled dual: what W still owes to S

This is all of ADMM. It knows tensors and a projection, nothing of models.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_admm.constraints import chunks, library


class ADMMState(NamedTuple):
    """What ADMM remembers of one tensor between its steps.

    Attributes:
        z: float32 array, or tensor of the backend: the member of the set that the tensor is pulled to.
        u: the same of its shape, the scaled dual variable.
    """

    z: Any
    u: Any


class Residuals(NamedTuple):
    """How far one step was from standing still (Boyd et al. 2011, section 3.3).

    Attributes:
        primal: float, `||W - Z||`.
        dual: float, `||Z - Z_previous||`; times rho it is Boyd's dual residual.
    """

    primal: float
    dual: float


def start(w, project):
    """The first state: `z = P(w)`, `u = 0`.

    Args:
        w: float32 array.
        project: function from an array to the nearest member of the set.

    Returns:
        An `ADMMState`.
    """
    return ADMMState(z=project(w), u=library(w).zeros_like(w))


def step(w, state, project, rescale=1.0):
    """One ADMM iteration, after W was trained.

    Args:
        w: float32 array, the trained tensor.
        state: `ADMMState` before the step.
        project: function from an array to the nearest member of the set.
        rescale: float > 0, the factor by which rho grows after this step. The scaled dual is `u = y / rho` with
            the dual `y` unchanged, so it is divided by the factor (Boyd et al. 2011, section 3.4.1). The ADMM
            pruning authors leave it as it is: that is `rescale=1`.

    Returns:
        The `ADMMState` after the step, and its `Residuals`.

    Example:

    >>> import numpy as np
    >>> keep_first = lambda x: x * np.array([1, 0], x.dtype)
    >>> state = start(np.array([2.0, 1.0], "float32"), keep_first)
    >>> state, residuals = step(np.array([2.0, 0.5], "float32"), state, keep_first)
    >>> state.z.tolist(), state.u.tolist(), residuals.primal, residuals.dual
    ([2.0, 0.0], [0.0, 0.5], 0.5, 0.0)
    """
    shifted = w + state.u
    z = project(shifted)
    residuals = Residuals(primal=_distance(w, z), dual=_distance(z, state.z))
    return rescaled(ADMMState(z=z, u=shifted - z), rescale), residuals  # not in place: z may be what was projected


def rescaled(state, factor):
    """The same state once rho has grown by `factor`: the dual `y = rho * u` stays, so `u` shrinks."""
    return state if factor == 1.0 else state._replace(u=state.u / np.float32(factor))


def total(residuals):
    """The residuals of several tensors taken as one long tensor."""
    residuals = list(residuals)
    return Residuals(*(float(np.hypot.reduce(norms)) for norms in zip(*residuals, strict=True)))


def norm(x):
    """The Euclidean norm of a tensor: of an array summed in float64 where float32 may not hold the squares."""
    if not isinstance(x, np.ndarray):
        return float(ops.sqrt(ops.sum(ops.square(x))))
    with np.errstate(over="ignore"):
        found = float(np.linalg.norm(x.ravel()))
    return found if 1e-15 < found < float("inf") else float(np.linalg.norm(x.ravel().astype("float64")))


def _distance(x, y):
    """`||x - y||`, part by part."""
    parts = zip(chunks(x), chunks(y), strict=True)
    return float(np.hypot.reduce([norm(a - b) for a, b in parts], initial=0.0))
