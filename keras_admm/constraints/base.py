"""`Set`: what every constraint tells of itself, and the adapter that makes one of any other Keras constraint."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_admm import checks
from keras_admm.axes import Axes
from keras_admm.constraints.summary import chunks


class Codes(NamedTuple):
    """The values that the weights of a quantized or clustered tensor take, and which of them each weight takes.

    Attributes:
        z: float32 array, the tensor.
        by_channel: bool, whether each output channel (index of the last axis) has values of its own.
        scaled: bool, whether the values are multiples of one scale (of each channel), which alone can be trained
            without leaving the set; else each value can.
        zeros_stay: bool, whether weights that are 0 stay so, and take none of the values.
        zero: bool, whether 0 is one of the values and stays 0 as the others train, while weights join and leave it.
    """

    z: np.ndarray
    by_channel: bool
    scaled: bool
    zeros_stay: bool
    zero: bool = False

    @property
    def rows(self):
        """The weights, a row for all of them, or one for each output channel."""
        return self.z.reshape(-1, self.z.shape[-1]).T if self.by_channel else self.z.reshape(1, -1)

    @property
    def values(self):
        """List of float32 arrays: the values of each row, rising, without the zeros that stay, and with a value 0."""
        found = [_distinct(row) for row in self.rows]
        if self.zero:
            return [np.union1d(values, np.float32(0)) for values in found]
        return [values[values != 0] for values in found] if self.zeros_stay else found


class Set(keras.constraints.Constraint, abc.ABC):
    """A set of tensors that a weight can be projected on. Base class of all constraints of keras_admm.

    Called with a tensor it returns the nearest member, `argmin_{y in S} ||y - x||`, of the same shape and dtype. What
    else ADMM and the retraining behind it need to know of the set is asked by the methods below; a new set overrides
    those whose answers differ.

    Attributes:
        keep_zeros: bool, whether weights that are exactly 0 stay 0 from the start of training to the set, as those of a
            pruned tensor must.
        on_device: bool, whether a tensor of the backend is projected where it lies, so that `state="device"` can be.

    Example, a set of non-negative tensors:

    >>> from keras import ops
    >>> class NonNegative(Set):
    ...     def __call__(self, x):
    ...         return ops.relu(x)
    >>> NonNegative().project(np.array([-1.0, 2.0], "float32"))
    array([0., 2.], dtype=float32)
    """

    keep_zeros = False
    on_device = False

    @abc.abstractmethod
    def __call__(self, x: Any) -> Any:
        """The nearest member of the set."""

    def __repr__(self):
        return checks.with_settings(self, self.get_config())

    def project(self, x: Any) -> Any:
        """The nearest member of a tensor for ADMM: of a NumPy array as one."""
        member = self(x)
        if isinstance(member, np.ndarray) or not isinstance(x, np.ndarray):
            return member
        return ops.convert_to_numpy(member).astype(x.dtype, copy=False)

    def along(self, axes: Axes) -> "Set":
        """The same set of kernels whose axes are as `constraints.Axes` says: where that makes no difference, itself."""
        return self

    def check_shape(self, shape: Sequence[int]) -> None:
        """Raises ValueError where tensors of a shape cannot be seen as the set needs it."""

    def support(self, x: Any) -> Any:
        """Where the nearest member of `x` may be non-zero: booleans of its shape.

        Retraining then holds the rest at zero, and the weights on the support train freely. None where the set says
        something else than which weights are zero.
        """
        return None

    def codes(self, z: np.ndarray) -> Codes:
        """The `Codes` of a member `z` of the set, or None where weights may take any number of values."""
        return None

    def held(self, x: Any) -> Any:
        """The set that a tensor is held in once it was projected: this one, unless it chose by the tensor what it asks.

        Args:
            x: float32 array, the tensor before it is projected.
        """
        return self

    def inside(self, z: Any) -> Any:
        """The matrix that projects on the subspace in which a member can move without leaving the set, or None.

        It is square, of the shorter side of the member seen as a matrix; see `attach.OffSubspace`.
        """
        return None

    @property
    def says_subspace(self) -> bool:
        """Whether the set is given by the subspace that its members are in, seen as matrices of a `scheme`."""
        return type(self).inside is not Set.inside

    @property
    def says_support(self) -> bool:
        """Whether the set is given by which weights are zero: whether it has a `support`."""
        return type(self).support is not Set.support

    @property
    def says_codes(self) -> bool:
        """Whether the set is given by how few values weights take: whether it has `codes`."""
        return type(self).codes is not Set.codes


@keras.saving.register_keras_serializable("keras_admm")
class Foreign(Set):
    """Another library's constraint as a `Set`: it projects, and says nothing of zeros or values.

    Weights are pulled to it by ADMM, and projected on it again at the end of each epoch of retraining.

    Args:
        constraint: a `keras.constraints.Constraint`, or one of tf_keras.
    """

    def __init__(self, constraint: keras.constraints.Constraint | Callable[[Any], Any]):
        if not callable(constraint) or isinstance(constraint, type):
            must, remedy = "a constraint of Keras, or of tf_keras", "Pass for example keras.constraints.NonNeg()."
            raise TypeError(checks.refused("Foreign", "constraint", must, constraint, remedy))
        self.constraint = constraint

    def __call__(self, x):
        return self.constraint(x)

    def __repr__(self):
        settings = self.constraint.get_config() if isinstance(self.constraint, keras.constraints.Constraint) else {}
        return f"Foreign({checks.with_settings(self.constraint, settings)})"

    def get_config(self):
        return {"constraint": keras.saving.serialize_keras_object(self.constraint)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["constraint"]))


def _distinct(x):
    """The distinct values of a flat array of few, rising: part by part, for to sort a large one takes long."""
    return np.unique(np.concatenate([np.unique(part) for part in chunks(x)]))


def is_foreign(thing):
    """Whether this is a constraint of Keras or of tf_keras that is none of ours."""
    return not isinstance(thing, Set) and any(c.__name__ == "Constraint" for c in type(thing).__mro__)


def as_set(constraint):
    """A constraint as a `Set`: itself, or in the adapter."""
    return constraint if isinstance(constraint, Set) else Foreign(constraint)
