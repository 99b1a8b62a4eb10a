"""`Amount`: what a budget counts of a model whose weights are pruned one by one, such as parameters."""

import abc
import copy
import math

import numpy as np


class Amount(abc.ABC):
    """What a budget of single weights counts.

    Attributes:
        unit: what is counted, in words.
        near: float, the share of a budget that may be left over while training goes on, to be quicker.
        room: float, the share that is left to retraining, which changes what the weights that stay amount to.

    Example, weights that stay, of the pruned tensors alone:

    >>> class Kept(Amount):
    ...     unit = "weights"
    ...     def estimate(self, arrays):
    ...         return sum(int(np.count_nonzero(w)) for w in arrays.values())
    >>> Kept().of(None, {}).measure({"a": np.array([1.0, 0.0])})
    1
    """

    unit = ""
    near = room = 0.0

    def of(self, model, variables):
        """The amount for one model, a copy.

        Args:
            model: built.
            variables: dict of names to the variables that are pruned.
        """
        return copy.copy(self)

    @abc.abstractmethod
    def estimate(self, arrays):
        """About how much there is of the model with these arrays in the places of its pruned variables, quickly.

        Args:
            arrays: mapping of names to float32 arrays; what stays is other than 0.
        """

    def estimator(self):
        """`estimate` for many arrays one after the other, while the rest of the model stays as it is."""
        return self.estimate

    def measure(self, arrays):
        """The same exactly, however long it takes."""
        return self.estimate(arrays)

    def least(self, arrays):
        """The same, but for what is 0 in a model that was not trained yet and will not stay so."""
        return self.measure(arrays)


class Parameters(Amount):
    """Trained weights that stay: those that are kept, and all that are not pruned."""

    unit = "parameters"

    def of(self, model, variables):
        told = super().of(model, variables)
        pruned = {id(v) for v in variables.values()}
        told._rest = sum(math.prod(v.shape) for v in model.trainable_variables if id(v) not in pruned)
        return told

    def estimate(self, arrays):
        return self._rest + sum(int(np.count_nonzero(w)) for w in arrays.values())
