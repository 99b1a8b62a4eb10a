"""Facts about a model's channels: which are constant, told downwards, and which are needed, told upwards."""

from dataclasses import dataclass

import numpy as np
from keras import tree

from keras_admm.graph import kinds
from keras_admm.graph.stages import Stage


@dataclass(frozen=True, eq=False)
class Passage:
    """One stage of a call, with the facts around it.

    Attributes:
        stage: the `Stage`.
        constants: list of the constants of each input.
        needed: which channels of its output are needed.
    """

    stage: Stage
    constants: list
    needed: np.ndarray


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a model's channels; a channel is an index of a tensor's last axis.

    Attributes:
        constants: dict of `Tensor` to an array, for each channel its value if it is the same for all inputs of the
            model, else NaN.
        needed: dict of `Tensor` to an array of bools, for each channel whether an output depends on it.
        passages: list of a `Passage` for each stage of the layers that are known.
    """

    constants: dict
    needed: dict
    passages: list


def of(calls, array):
    """The facts about the channels of a model. Nothing is changed.

    Layers that are no known kind, are called twice, share a variable, or are called in a special way (see
    `Call.plain`) are barriers: nothing that they give is constant, all that they are given is needed.

    Args:
        calls: `Calls`.
        array: function of a variable that gives its value, such as `weights.storable`.

    Returns:
        `Facts`.

    Example: of two neurons one hears nothing and says relu(2), whatever the input.

    >>> import keras, numpy as np
    >>> from keras_admm import graph, weights
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, activation="relu")])
    >>> model.set_weights([np.array([[3.0, 0.0]]), np.array([0.0, 2.0])])
    >>> calls = graph.calls.of(model, "its channels are known")
    >>> of(calls, weights.storable).constants[calls.calls[-1].outputs[0]].tolist()
    [nan, 2.0]
    """
    readers = calls.readers()
    constants = {x: np.full(_channels(x), np.nan) for x in tree.flatten(calls.inputs)}
    passed = []
    # Once down and once back is enough: constants depend on what comes before alone and needs on what comes after,
    # and what is not needed feeds nothing but zeros.
    with np.errstate(all="ignore"):
        for call in calls:
            alone = all(len(readers[key]) == 1 for key in call.variables)
            shapes = [[x.shape for x in tensors] for tensors in (call.inputs, call.outputs)]
            stages = kinds.stages(call.layer, *shapes, array) if alone and call.plain else None
            passed.append((call, _down(call, stages, constants)))
        needed = {x: np.zeros(_channels(x), bool) for x in constants}
        for x in tree.flatten(calls.outputs):
            needed[x][:] = True
        passages = [passage for call, each in reversed(passed) for passage in _up(call, each, needed)]
    return Facts(constants, needed, passages)


def _channels(x):
    return (x.shape[-1] if len(x.shape) > 1 else 1) or 1


def _down(call, stages, constants):
    """Tells the constants of a call's outputs; returns each stage with those of its inputs, or None for a barrier."""
    if stages is None:
        for x in call.outputs:
            constants.setdefault(x, np.full(_channels(x), np.nan))
        return None
    known, passed = [constants[x] for x in call.inputs], []
    for stage in stages:
        passed.append((stage, known))
        value = stage.forward(*known)
        known = [np.where(np.isfinite(value), value, np.nan)]
    constants[call.outputs[0]] = known[0]
    return passed


def _up(call, passed, needed):
    """Adds what a call needs of its inputs; yields the passage of each of its stages."""
    if passed is None:
        needs = [any(needed[x].any() for x in call.outputs)] * len(call.inputs)
    else:
        needs = [needed[call.outputs[0]]]
        for stage, known in reversed(passed):
            yield Passage(stage, known, needs[0])
            needs = stage.backward(needs[0], *known)
    for x, need in zip(call.inputs, needs, strict=True):
        needed[x] |= need
