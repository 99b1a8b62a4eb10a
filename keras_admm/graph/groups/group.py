"""A group: the slices of a model's weights that live or die as one."""

from dataclasses import dataclass, field

import keras
import numpy as np

WRITES, READS, STATE = "writes", "reads", "state"


@dataclass(frozen=True, eq=False)
class Slice:
    """Places along one axis of a variable, which leave together.

    Attributes:
        variable: a variable of the model.
        axis: int.
        indices: array of ints, the places, in rising order.
        role: `"writes"`: zero here, and in the group's other such slices, makes the group's channels exactly zero on
            their way (the output axis of a kernel, a bias, gamma, beta). `"reads"`: what is here is multiplied with
            these channels (the input axis of the kernels that take them). `"state"`: it leaves with them (a moving
            mean).
    """

    variable: object
    axis: int
    indices: np.ndarray
    role: str

    def __repr__(self):
        name = self.variable.path if isinstance(self.variable, keras.Variable) else self.variable.name
        return f"Slice({name}, axis={self.axis}, indices={self.indices.tolist()}, {self.role!r})"


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that live or die together.

    Attributes:
        name: str such as `"conv1[3]"`: its place among the groups of its family.
        family: str, the name of the first layer that writes it; of zeros that padding makes, of the layer that pads.
        slices: tuple of `Slice`, in the order in which the model computes. A group without any that writes is zero
            whatever the weights are.
    """

    name: str
    family: str
    slices: tuple = field(repr=False)

    def of(self, role):
        """The slices of one role."""
        return [each for each in self.slices if each.role == role]
