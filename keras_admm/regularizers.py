"""The ADMM penalty, as a Keras regularizer."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_admm import checks
from keras_admm.schedules import check_rho


@keras.saving.register_keras_serializable("keras_admm")
class ADMMRegularizer(keras.regularizers.Regularizer):
    """The augmented Lagrangian's pull towards `target`: `rho / 2 * sum((w - target) ** 2)`.

    With `target = Z - U` this is the term `rho / 2 * ||W - Z + U||^2` of scaled ADMM, in one tensor instead of
    two. `target` and `rho` may be variables: moving them then needs no new trace.

    Args:
        target: array, tensor or variable of the shape of the weight, `Z - U`.
        rho: float or scalar variable, `rho >= 0`, the ADMM penalty.

    Returns when called:
        A float32 scalar, the penalty.

    Example:

    >>> import numpy as np
    >>> penalty = ADMMRegularizer(np.array([1.0, 2.0], "float32"), rho=0.5)
    >>> float(penalty(np.array([3.0, 2.0], "float32")))
    1.0
    >>> [float(g) for g in penalty.gradient(np.array([3.0, 2.0], "float32"))]
    [1.0, 0.0]

    Reference: subproblem 1 of Zhang et al., arXiv:1804.03294; scaled form as in Boyd et al., "Distributed
    Optimization and Statistical Learning via the Alternating Direction Method of Multipliers", 2011, section 3.1.1.
    """

    def __init__(self, target: ArrayLike, rho: float):
        self.target = target if _is_tensor(target) else checks.array("ADMMRegularizer", "target", target)
        self.rho = rho if _is_tensor(rho) and not tuple(rho.shape) else check_rho("ADMMRegularizer", rho)

    def __call__(self, w):
        return 0.5 * ops.convert_to_tensor(self.rho) * ops.sum(ops.square(self._gap(w)))

    def gradient(self, w: Any) -> Any:
        """`rho * (w - target)`: float32, of the shape of `w`."""
        return ops.convert_to_tensor(self.rho) * self._gap(w)

    def _gap(self, w):
        return ops.cast(ops.convert_to_tensor(w), "float32") - ops.convert_to_tensor(self.target, dtype="float32")

    def get_config(self):
        return {
            "target": np.asarray(ops.convert_to_numpy(self.target)).tolist(),
            "rho": float(ops.convert_to_numpy(self.rho)),
        }


def _is_tensor(thing):
    """Whether this is a tensor or a variable of any backend, which may have no numbers yet."""
    return ops.is_tensor(thing) or isinstance(thing, keras.Variable) or hasattr(thing, "assign")
