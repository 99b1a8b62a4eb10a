"""Constants carried down a model and needs carried up, and the weights that neither leaves any use for."""

import numpy as np

from keras_admm.layers.masked import Mask
from keras_admm.purification.graph import follow, stages
from keras_admm.weights import named, storable, write


def purify(model):
    """Sets to zero, in place, the weights of a pruned model that its outputs cannot feel.

    These are the weights into a neuron (a filter, a channel) that no output depends on, and those out of a neuron
    that is the same for all inputs, since nothing reaches it: what it gives is added to the next bias. Outputs at
    inference stay the same, up to the rounding of float32. Shapes stay too, but in the packed file a neuron without
    weights costs next to nothing.

    Followed are layers of Keras's own: dense and convolutional ones, batch normalisation, activations, pooling,
    dropout, reshapes, merges, models with one input inside the model, and `Masked` around any of them (whose masks
    then cover the new zeros). Any other layer is a barrier: it keeps its weights and all that it is given. So are
    layers that are called twice or share a variable, channels first, quantized ones, LoRA. A constant other than
    zero stays where it is before a layer without a bias, before a convolution with zero padding, and in layers
    that compute in half precision.

    Training may fill the new zeros again: apply `mask` first, or call this last. A tensor on levels without a zero,
    such as those of `Binary`, leaves its set. Another model that has the same layers, such as one of features, can
    change.

    Args:
        model: a built Sequential or Functional model of Keras 3. Frozen layers are purified too.

    Returns:
        A dict: for each variable that lost any, its name and how many non-zeros became zero.

    Raises:
        ValueError: for a model that is not built, is subclassed, or is of tf_keras.

    Example: of two neurons one hears nothing and says relu(2), whatever the input.

    >>> import keras, numpy as np
    >>> first, last = keras.layers.Dense(2, activation="relu", name="first"), keras.layers.Dense(1, name="last")
    >>> model = keras.Sequential([keras.Input((1,)), first, last], name="m")
    >>> model.set_weights([np.array([[3.0, 0.0]]), np.array([0.0, 2.0]), np.array([[1.0], [5.0]]), np.array([1.0])])
    >>> purify(model)
    {'m/first/bias': 1, 'm/last/kernel': 1}
    >>> keras.ops.convert_to_numpy(last.bias)
    array([11.], dtype=float32)
    """
    steps, outputs = follow(model)
    values = Values(model)
    # Once down and once back is enough: constants depend on what comes before alone and needs on what comes after,
    # and what is not needed feeds nothing but zeros.
    each = list(zip(steps, stages(steps, values.array), strict=True))
    with np.errstate(all="ignore"):
        for step, parts in each:
            _down(step, parts)
    for edge in outputs:
        edge.needed[:] = True
    for step, parts in reversed(each):
        _up(step, parts)
    return values.write()


def _down(step, parts):
    if parts is None:
        return
    constants = [edge.constant for edge in step.inputs]
    for part in parts:
        value = part.forward(*constants)
        constants = [np.where(np.isfinite(value), value, np.nan)]
    step.outputs[0].constant = constants[0]


def _up(step, parts):
    if parts is None:
        needs = [any(edge.needed.any() for edge in step.outputs)] * len(step.inputs)
    else:
        needs = [step.outputs[0].needed]
        for part in reversed(parts):
            needs = part.backward(needs[0])
    for edge, needed in zip(step.inputs, needs, strict=True):
        edge.needed |= needed


class Values:
    """The weights of a model while they change, on the host: the model has them when all is done.

    Args:
        model: the model.
    """

    def __init__(self, model):
        self._named = named(model)
        self._masks = [v for v in model.variables if isinstance(v, Mask)]
        self._held = {}

    def array(self, variable):
        """The variable's value, zero where it is masked: one array for all who ask."""
        if id(variable) not in self._held:
            value = np.ascontiguousarray(storable(variable))
            for mask in self._of(variable):
                value[~storable(mask)] = 0
            self._held[id(variable)] = value.copy(), value
        return self._held[id(variable)][1]

    def write(self):
        """Assigns what changed, and returns how many non-zeros each variable lost."""
        removed = {}
        for name, variable in self._named.items():
            before, after = self._held.get(id(variable), (None, None))
            if before is None or np.array_equal(before, after, equal_nan=True):
                continue
            write(variable, after)
            for mask in self._of(variable):
                write(mask, storable(mask) & (after != 0))
            removed[name] = int(((before != 0) & (after == 0)).sum())
        return {name: count for name, count in removed.items() if count}

    def _of(self, variable):
        return [mask for mask in self._masks if mask.of is variable]
