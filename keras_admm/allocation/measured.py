"""`MeasuredAllocation`, the base class of ways to divide a budget that need more than the weights: data, a model."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_admm import hints


class MeasuredAllocation(abc.ABC):
    """A way to divide a budget of non-zeros that measures the model as a run begins.

    What it measures is kept with the state of the run, so that a run that is resumed divides as it did.

    Attributes:
        by_weight: bool, whether it measures a number for each weight, in arrays of the weights' shapes, whose sums over
            the groups of a `structure` are then divided by; or what it likes for each tensor.

    Example, the budget in proportion to the number of outputs:

    >>> import numpy as np
    >>> class ByOutputs(MeasuredAllocation):
    ...     def measure(self, model, variables):
    ...         return {name: np.float32(v.shape[-1]) for name, v in variables.items()}
    ...     def shares(self, measured, sizes, budget):
    ...         total = sum(measured[name] for name in sizes)
    ...         return {name: int(budget * measured[name] / total) for name in sizes}
    ...     def get_config(self):
    ...         return {}
    >>> ByOutputs().shares({"a": 3.0, "b": 1.0}, {"a": 50, "b": 50}, 20)
    {'a': 15, 'b': 5}
    """

    by_weight = False

    @abc.abstractmethod
    def measure(self, model: hints.Model, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What of a model the budget is divided by.

        Args:
            model: built, as the run begins.
            variables: dict of names to the variables that the budget is divided over.

        Returns:
            A dict of these names to arrays.
        """

    @abc.abstractmethod
    def shares(self, measured: Mapping[str, np.ndarray], sizes: Mapping[str, int], budget: int) -> dict[str, int]:
        """How many each tensor keeps, before `min_keep` is seen to.

        Args:
            measured: dict of names to arrays, what `measure` gave.
            sizes: dict of names to how many weights, or groups, some of these tensors have.
            budget: int, what is left to them together.

        Returns:
            A dict of the names of `sizes` to ints that sum to `budget`.
        """

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """What it was made with, by which a run that is resumed is known."""
