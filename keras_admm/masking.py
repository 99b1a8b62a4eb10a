"""Masks on what is pruned of a model, so that its zeros cannot come back, and the way to plain layers again."""

import keras

from keras_admm import graph
from keras_admm.layers import Masked, kernels_of, masked_value
from keras_admm.weights import check_keras_3

OTHERWISE = "use Masked in your own code"


def mask(model: keras.Model) -> keras.Model:
    """A copy of a pruned model whose zeros cannot come back.

    Every layer with zeros in its kernels is wrapped in `Masked`, under the same name. So the model can be
    fine-tuned with any optimizer and any weight decay, saved, loaded and tuned again, and stays as sparse.

    Args:
        model: a built Sequential or Functional model; models in it stay such, shared layers and tied weights stay
            one. A frozen layer is masked too, and stays frozen.

    Returns:
        A new model with the same outputs, weights and `trainable` flags. It is not compiled, even if `model` is.

    Raises:
        ValueError: for a model that is not built, or cannot be cloned (a subclassed one: wrap its layers in
            `Masked` in your own code), a subclass of Functional whose constructor takes no tensors (its class and
            methods would be lost), a layer whose config does not tell what it shares with another.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.array([[3.0], [0.0]]), np.array([1.0])])
    >>> keras.ops.convert_to_numpy(mask(model).layers[0].masks[0])
    array([[ True],
           [False]])

    Reference: as for `Masked`.
    """
    remedy = "Load what its save() writes by keras.models.load_model of Keras 3, or keep its zeros by export.tfmot."
    check_keras_3("mask", model, remedy)
    owners, value = graph.owners(model), masked_value(model)

    def layer_for(layer, again):
        kernels = kernels_of(layer) if isinstance(layer, keras.layers.Layer) else []
        masks = [(v, value(v) != 0) for v in kernels]
        # Not for the kernels of a layer that it holds.
        pruned = any(not mask.all() for v, mask in masks if owners[id(v)] is layer)
        return Masked(again(), [mask for _, mask in masks]) if pruned else again()

    return graph.rebuild(model, layer_for, value=value, without=[Masked], otherwise=OTHERWISE)


def strip(model: keras.Model) -> keras.Model:
    """A copy of a model without `Masked`: plain layers, which load where keras_admm is not installed.

    Args:
        model: a built Sequential or Functional model, as `mask` returns it or with `Masked` anywhere in it.

    Returns:
        A new model with the same outputs and `trainable` flags, its weights multiplied by their masks. It is not
        compiled, even if `model` is.

    Raises:
        ValueError: as for `mask`, but a subclass of Functional without `Masked` in it is made again by its own
            constructor, from its config.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), Masked(keras.layers.Dense(1), masks=[[[1], [0]]])])
    >>> layer = strip(model).layers[0]
    >>> type(layer).__name__, keras.ops.convert_to_numpy(layer.kernel)[1]
    ('Dense', array([0.], dtype=float32))
    """
    check_keras_3("strip", model, "What export.tfmot holds is taken off by keras_admm.export.strip_tfmot.")
    return graph.rebuild(model, value=masked_value(model), without=[Masked], otherwise=OTHERWISE)
