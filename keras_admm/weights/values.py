"""Reading and writing the variables of a model by name, of Keras 3 and tf_keras."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops


def named(model):
    """Every variable of a model by its path, with a number behind it where another has the same."""
    variables = list({id(v): v for v in model.variables}.values())
    by_name, paths = {}, {path(variable) for variable in variables}
    for variable in variables:
        name = where = path(variable)
        count = 1
        while name in by_name or count > 1 and name in paths:  # a number never makes the path of another
            count += 1
            name = f"{where}_{count}"
        by_name[name] = variable
    return by_name


def is_tf_keras(thing):
    """Whether a model, a layer or a callback is of tf_keras, which is not imported to find out."""
    return any(c.__module__.split(".")[0] == "tf_keras" for c in type(thing).__mro__)


def of_class(thing, *names):
    """Whether a layer, a model or an optimizer is of one of Keras's classes of these names, in Keras 3 or tf_keras."""
    classes = [c for c in type(thing).__mro__ if c.__module__.split(".")[0] in ("keras", "tf_keras")]
    return any(c.__name__ in names for c in classes)


def read(variable):
    """The variable's value as a new float32 NumPy array."""
    return np.array(ops.convert_to_numpy(ops.cast(tensor(variable), "float32")))


def tensor(variable):
    """The variable's value as a tensor: of one of tf_keras that is on several devices Keras would give itself."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(variable)
    return ops.convert_to_tensor(variable)


def view(variable):
    """The variable's value as a float32 NumPy array that cannot be written to: its own memory, where NumPy sees that.

    For a look between two steps: a step may write into this memory, or keep a second copy of it while it is in use.
    """
    value = ops.cast(tensor(variable), "float32")
    on_tensorflow = keras.backend.backend() == "tensorflow"
    array = np.asarray(memoryview(value)) if on_tensorflow else ops.convert_to_numpy(value).view()
    array.flags.writeable = False
    return array


def on_device(variable):
    """The variable's value as a float32 tensor where it lies, for a look between two steps."""
    return ops.stop_gradient(ops.cast(tensor(variable), "float32"))


class Lazy(Mapping):
    """A mapping whose values are made at each look and not kept, so that there is one of many large arrays at a time.

    Args:
        names: iterable of the keys.
        make: function of a key that returns its value.
    """

    def __init__(self, names, make):
        self._names = tuple(names)
        self._make = make

    def __getitem__(self, name):
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)


def views(variables, look=view):
    """The `view` (or `on_device`) of each of a dict of variables by name, as they are whenever one is looked at."""
    return Lazy(variables, lambda name: look(variables[name]))


def storable(variable):
    """The variable's value as a NumPy array of a dtype that every file can hold: bfloat16 as float32, losslessly."""
    value = tensor(variable)
    half = keras.backend.standardize_dtype(variable.dtype) == "bfloat16"
    return np.array(ops.convert_to_numpy(ops.cast(value, "float32") if half else value))


def write(variable, value):
    """Assign a copy of a NumPy array or a tensor, in the variable's own dtype."""
    value = ops.convert_to_tensor(np.array(value)) if isinstance(value, np.ndarray) else ops.copy(value)
    variable.assign(ops.cast(value, variable.dtype))


def path(variable):
    """Where a variable is: `model/layer/kernel`, in tf_keras `layer/kernel` (and its names end in `:0`)."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]
