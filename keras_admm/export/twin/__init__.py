"""A Keras 3 model as a tf_keras model that computes the same."""

import keras

from keras_admm import checks, hints
from keras_admm.export.twin.activations import custom_objects as custom_objects
from keras_admm.export.twin.names import Names as Names
from keras_admm.export.twin.replay import Replay, followed
from keras_admm.graph import every_layer
from keras_admm.layers import Masked
from keras_admm.masking import strip
from keras_admm.weights import check_model, is_tf_keras


def to_tf_keras(model: keras.Model, batch_size: int | None = None) -> hints.TfKerasModel:
    """A Keras 3 model as a tf_keras (Keras 2) model with equal outputs, for TFMOT, `hub.KerasLayer` and older code.

    The graph of the model is run once more with layers of tf_keras. Models inside the model become part of the
    graph; shared layers stay shared; inputs and outputs keep their structure, layers their names (with underscores
    for signs that TensorFlow takes in none, such as blanks) and `trainable` flags (tf_keras has none for a single
    variable); regularizers and constraints of Keras's own come along.
    Subclasses of Keras's layers that compute as these do become these, with LoRA's factors added to the kernel;
    `keras_admm.layers.Masked` becomes the layer that it wraps, its weights multiplied by the masks.

    A file of the twin loads without Keras 3. Only where the model has an activation that tf_keras computes in
    another way or lacks (hard_sigmoid, hard_silu, hard_tanh, celu, squareplus and the like), load it by
    `tf_keras.models.load_model(path, custom_objects=keras_admm.export.twin.custom_objects())`, and do not save it as
    .h5: tf_keras cannot load activations that are not its own from there.

    Args:
        model: a built Keras 3 Sequential or Functional model.
        batch_size: int, at least 1: how many samples the twin computes on at once, which its inputs are then bound to.
            By default as many as the model's own inputs say, which is mostly any number. LiteRT needs 1 for recurrent
            layers, and so `keras_admm.export.litert(to_tf_keras(model, batch_size=1), path)`.

    Returns:
        A tf_keras Functional model, not compiled, with equal outputs and bit-equal weights.

    Raises:
        TypeError: for what is not a Keras 3 model, or a batch size that is no int.
        ValueError: for a model that is subclassed or not built, or one with layers or operations that have no
            counterpart in tf_keras: all of them are named, before anything is built.
        ImportError: without tf_keras (`pip install tf_keras`).

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu", name="head")])
    >>> twin = to_tf_keras(model)
    >>> type(twin).__module__.split(".")[0], [layer.name for layer in twin.layers][1:]
    ('tf_keras', ['head'])
    """
    return translated(model, batch_size)[0]


def translated(model, batch_size=None):
    """`to_tf_keras(model, batch_size)`, and the pairs of (Keras 3 layer, tf_keras layer) in it.

    The layers of a model with `Masked` in it are those of `keras_admm.strip(model)`.
    """
    _check(model)
    _check_batch_size(model, batch_size)
    if any(isinstance(layer, Masked) for layer in every_layer(model)):
        model = strip(model)
    replay = Replay(model, batch_size=batch_size)
    if replay.refused:
        raise ValueError(
            f"{model.name}: every layer and operation must have a counterpart in tf_keras. Received, without one:\n"
            + "\n".join(replay.refused)
        )
    return replay.build(), replay.pairs


def _check_batch_size(model, batch_size):
    if batch_size is None:
        return
    checks.integer("to_tf_keras", "batch_size", batch_size, remedy="For LiteRT pass 1.")
    bound = {t.shape[0] for t in model.inputs} - {None, batch_size}
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    stateful = next((x.name for x in every_layer(model) if isinstance(x, recurrent) and x.stateful), None)
    if bound and stateful:
        raise ValueError(
            f"{stateful}: `batch_size` must be that of the model where a layer keeps its state. Received: "
            f"batch_size={batch_size} for a model of batch size {min(bound)}. Build the model with another batch size."
        )


def _check(model):
    check_model("to_tf_keras", model)
    if is_tf_keras(model):
        raise TypeError(
            f"model: a Keras 3 model is expected. Received: {model.name}, a tf_keras model already. Use it."
        )
    followed(model)
    try:
        import tf_keras  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "to_tf_keras: tf_keras is needed. Received: a Python without it. Run `pip install tf_keras`."
        ) from error
