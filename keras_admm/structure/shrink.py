"""`shrink`: a pruned model without its dead channels, heads and layers, smaller and faster on every processor."""

import keras

from keras_admm import checks, graph, hints, purification
from keras_admm.errors import named_few
from keras_admm.graph import groups
from keras_admm.layers import Masked, masked_value
from keras_admm.structure import notes, trial
from keras_admm.structure.dead import Weights, alive
from keras_admm.structure.leaving import Leaving, zeros
from keras_admm.structure.passing import Passed
from keras_admm.structure.readers import Readers
from keras_admm.structure.rounding import rounded
from keras_admm.structure.smaller import smaller
from keras_admm.weights import check_keras_3

REMEDY = "Build it with Keras 3, or take it there by its config and weights."


def shrink(model: keras.Model, round_to: int = 1, layers: hints.Weights = None) -> keras.Model:
    """A smaller model: the channels, units, heads and layers that pruning left dead leave it.

    It solves for the smallest plain Keras model with the same outputs that comes of leaving out whole channels: those
    that are zero for all inputs, and those that nothing reads. Channels that are added, multiplied or otherwise joined
    leave together (`keras_admm.graph.groups`). A neuron that is the same for all inputs leaves too where the next bias
    can take it up, as in `purify`; a residual branch that adds nothing leaves as a whole. Train with
    `ADMMPrune(structure="channel")` first: zeros at single places leave no channel dead.

    The outputs of both models are compared on random inputs before it returns. What is dead and stays all the same
    (channels that layer normalization goes over, layers without a rule, constants that no bias can take up) is told
    in a warning, with the reason.

    Args:
        model: a built Sequential or Functional model of Keras 3. `Masked` is taken off. It stays as it is.
        round_to: int, at least 1. Widths become multiples of it, or stay as they were: processors compute 8 or 16
            channels as fast as 5.
        layers: which layers may lose channels that they give, same forms as in `ADMMPrune`; by default all. Those
            that take them are made smaller to fit. Of a subclassed model, which has no graph, pass the parts that
            have one, each by itself: `Own(backbone=shrink(model.backbone))`.

    Returns:
        A new model, not compiled, of float weights of the same dtypes. Models in it stay models; layers that are
        shared stay so; a Sequential model stays one unless a layer leaves it.

    Raises:
        TypeError: for something else than a model, or a `round_to` that is no int.
        ValueError: for a model that is not built, has no graph, or is of tf_keras; for outputs that are not the same
            within 1e-5 times the largest, or 1 (float32): then nothing is returned.

    Example: one of three units is zero.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    >>> model.layers[0].set_weights([np.ones((4, 3)) * [1, 0, 1], np.ones(3) * [1, 0, 1]])
    >>> [tuple(v.shape) for v in shrink(model).weights]
    [(4, 2), (2,), (2, 2), (2,)]

    Reference: zero-invariant groups, Chen et al., "Only Train Once: A One-Shot Neural Network Training And Pruning
    Framework", arXiv:2107.07467.
    """
    check_keras_3("shrink", model, REMEDY)
    multiple = checks.integer("shrink", "round_to", round_to, remedy="Pass for example 8.")
    _check_graph(model)
    _check_constructors(model)
    plain = _without_masks(model)
    found = groups.of(plain, layers)
    value = purification.purified(plain)
    inputs, before = trial.drawn(plain, lambda inputs: trial.outputs(model, inputs))
    weights, readers, passed = Weights(found, value), Readers(found), Passed(found, value, inputs)
    heard = passed.heard(readers)
    staying = alive(weights, readers, heard)
    kept, leaving = _settled(found, staying, zeros(found, weights, staying, passed), multiple)
    small = smaller(plain, found, kept, leaving, value)
    trial.check_equal(model, before, trial.outputs(small, inputs))
    notes.tell(plain, small, found, weights, kept, heard)
    return small


def _check_graph(model):
    try:
        graph.calls.of(model, "its channels can leave")
    except ValueError as error:
        parts = [layer.name for layer in model._flatten_layers(include_self=False) if graph.has_graph(layer)]
        if not parts:
            raise
        raise ValueError(
            f"{error} Or shrink the parts of it that have a graph ({named_few(parts)}), and make it again with what "
            "comes out: what they take and give stays as wide."
        ) from None


def _check_constructors(model):
    """Raises for models that cannot be made of other layers, and for those in the model."""
    for each in model._flatten_layers():
        if graph.has_graph(each) and not graph.is_opened(each):
            raise ValueError(
                f"{each.name}: a smaller model is made of other layers, which the constructor of its class must take, "
                f"as keras.Model(inputs, outputs) does. Received: a {type(each).__name__}, whose constructor makes its "
                "own. Use keras.Model(model.input, model.output) in its place."
            )


def _without_masks(model):
    if not any(isinstance(layer, Masked) for layer in model._flatten_layers()):
        return model
    return graph.rebuild(model, value=masked_value(model), without=[Masked])


def _settled(found, staying, zero, multiple):
    """Which groups stay so that widths are multiples and not empty, and what then leaves as a whole."""
    while True:
        leaving = Leaving(found, staying, zero)
        filled = rounded(found, staying, leaving, multiple)
        if (filled == staying).all():
            return staying, leaving
        staying = filled
