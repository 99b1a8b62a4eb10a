"""Constants carried down a model and needs carried up, and the weights that neither leaves any use for."""

import numpy as np

from keras_admm import hints
from keras_admm.graph import Linear, Scale, calls, flow
from keras_admm.layers import Mask
from keras_admm.weights import check_model, is_tf_keras, named, storable, write


def purify(model: hints.Model) -> dict[str, int]:
    """Sets to zero, in place, the weights of a pruned model that its outputs cannot feel.

    These are the weights into a neuron (a filter, a channel) that no output depends on, and those out of a neuron
    that is the same for all inputs, since nothing reaches it: what it gives is added to the next bias. The moving
    mean and variance that batch normalization keeps of such a channel, and of one whose gamma is zero, become 0 and
    1, as in a new layer: divided by, they stay harmless, and further training goes on from there. Outputs at
    inference stay the same, up to the rounding of float32. Shapes stay too, but in the packed file a neuron without
    weights costs next to nothing.

    Followed are layers of Keras's own: dense and convolutional ones, batch normalisation, activations, pooling,
    dropout, reshapes, merges, models inside the model, and `Masked` around any of them (whose masks then cover the
    new zeros); and those that `graph.register` was told of. Any other layer is a barrier: it keeps its weights and
    all that it is given. So are layers that are called twice or share a variable, channels first, quantized ones,
    LoRA. A constant other than zero stays where it is before a layer without a bias, before a convolution with zero
    padding, and in layers that compute in half precision.

    Training may fill the new zeros again: apply `mask` first, or call this last. A tensor on levels without a zero,
    such as those of `Binary`, leaves its set. Another model that has the same layers, such as one of features, can
    change.

    Args:
        model: a built Sequential or Functional model of Keras 3. Frozen layers are purified too.

    Returns:
        A dict: for each variable that lost any, its name and how many non-zeros became zero; of a moving variance, how
        many of its numbers became 1.

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
    values, variances = _purified(model)
    return values.write(variances)


def purified(model):
    """The weights of a model as `purify` would leave them, without changing it.

    Args:
        model: as for `purify`.

    Returns:
        A function of a variable of the model that gives its value, zero where it is masked.

    Raises:
        ValueError: as for `purify`.

    Example:

    >>> import keras, numpy as np
    >>> first, last = keras.layers.Dense(2, name="first"), keras.layers.Dense(1, name="last")
    >>> model = keras.Sequential([keras.Input((1,)), first, last])
    >>> model.set_weights([np.array([[3.0, 0.0]]), np.array([0.0, 2.0]), np.array([[1.0], [5.0]]), np.array([1.0])])
    >>> purified(model)(last.bias), purified(model)(last.kernel)[:, 0]
    (array([11.], dtype=float32), array([1., 0.], dtype=float32))
    """
    values, _ = _purified(model)
    return values.array


def _purified(model):
    """The `Values` of a model when all is done, and the arrays among them that are variances."""
    followed, values = _followed(model), Values(model)
    facts = flow.of(followed, values.array)
    with np.errstate(all="ignore"):
        for passage in facts.passages:
            EDITS.get(type(passage.stage), _nothing)(passage.stage, passage.constants, passage.needed)
    return values, [p.stage.variance for p in facts.passages if isinstance(p.stage, Scale)]


def _followed(model):
    check_model("purify", model)
    if is_tf_keras(model):
        raise ValueError(
            f"{model.name}: only a Sequential or Functional model of Keras 3 has a graph that can be followed. "
            f"Received: a {type(model).__module__}.{type(model).__name__}. "
            "Rebuild it with keras.Sequential or keras.Model(inputs, outputs)."
        )
    return calls.of(model, "its weights can be followed")


def _nothing(stage, constants, needed):
    """A stage without weights."""


def _linear(stage, constants, needed):
    (constant,) = constants
    needed = needed.reshape(stage.kernel.shape[-2:])
    if stage.bias is not None:
        stage.bias[...] = np.where(needed, stage.folded(constant), 0)
    stage.kernel[..., stage.settled(constant), :] = 0
    stage.kernel[..., ~needed] = 0


def _scale(stage, constants, needed):
    (constant,) = constants
    settled, value = stage.settled(constant), stage.forward(constant)
    if settled.any():
        stage.beta[settled] = value[settled]
        stage.gamma[settled] = 0
    for array in (stage.gamma, stage.beta):
        if array is not None:
            array[~needed] = 0
    dead = ~needed if stage.gamma is None else stage.gamma == 0
    stage.mean[dead] = 0
    stage.variance[dead] = 1


EDITS = {Linear: _linear, Scale: _scale}


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
            value = np.require(storable(variable), requirements="C")
            for mask in self._of(variable):
                value[~storable(mask)] = 0
            self._held[id(variable)] = value.copy(), value
        return self._held[id(variable)][1]

    def write(self, variances):
        """Assigns what changed, and returns how many numbers of each variable do not count any more.

        Args:
            variances: list of arrays, those that are at rest at 1. All others are at 0.
        """
        removed = {}
        for name, variable in self._named.items():
            before, after = self._held.get(id(variable), (None, None))
            if before is None or np.array_equal(before, after, equal_nan=True):
                continue
            write(variable, after)
            for mask in self._of(variable):
                write(mask, storable(mask) & (after != 0))
            rest = 1 if any(np.may_share_memory(after, each) for each in variances) else 0
            removed[name] = int(((before != rest) & (after == rest)).sum())
        return {name: count for name, count in removed.items() if count}

    def _of(self, variable):
        return [mask for mask in self._masks if mask.of is variable]
