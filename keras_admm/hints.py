"""The types of what public functions and classes take."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

# By their names alone: Keras, once it is imported, imports rooms that need these.
if TYPE_CHECKING:
    import keras
    import tf_keras

Model = Union["keras.Model", "tf_keras.Model"]
TfKerasModel: TypeAlias = "tf_keras.Model"
Layer = Union["keras.Layer", "tf_keras.layers.Layer"]
Optimizer = Union["keras.optimizers.Optimizer", "tf_keras.optimizers.Optimizer"]
Rate = Union[float, "keras.optimizers.schedules.LearningRateSchedule"]
Path = str | os.PathLike[str]

# What chooses weights: names, patterns, layers, variables, functions of a variable, or a list of these.
Weights = str | Layer | Union["keras.Variable", type] | Callable[[Any], bool] | Sequence[Any] | None
# Arrays of samples, a pair or a dict of them, or a dataset of batches.
Data = Any

Epochs = int | float | Sequence[int | float] | None
Rates = Mapping[str, Rate] | None
Budget = Mapping[str, float]
Optimizers = str | Optimizer | Mapping[str, Optimizer]
Verbosity = int | Literal["auto"]
Place = Literal["host", "device"]
Tightening = Literal["constant", "geometric", "root", "cubic"]
Scheme = Literal["channel", "spatial"]
Scope = Literal["tensor", "channel"]
ScaleFit = Literal["least_squares", "max"]
