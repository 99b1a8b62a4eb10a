"""Keras model -> SavedModel -> the bytes of a .tflite file."""

import contextlib
import io
import warnings

import keras

from keras_admm.weights import is_tf_keras

REMEDY_RNN = (
    "Build the recurrent layer with unroll=True, or translate the model with `keras_admm.export.to_tf_keras` and a "
    "static batch of 1"
)


def is_quantization_aware(model):
    """Whether TFMOT has made the model learn its ranges."""
    return any(c.__name__.startswith("QuantizeWrapper") for layer in layers(model) for c in type(layer).__mro__)


def layers(model):
    """All layers of a model, those inside others too."""
    return list(model._flatten_layers(include_self=False))


@contextlib.contextmanager
def quiet():
    """Without what the converters print and warn about their own insides."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def save(model, nest, folder):
    """Writes a SavedModel with one signature, whose inputs have our names: the converter knows no order of theirs."""
    import tensorflow as tf

    if is_tf_keras(model):
        from tf_keras.export import ExportArchive
    else:
        from keras.export import ExportArchive
    inputs = keras.tree.flatten(nest)

    def serve(*flat):
        outputs = keras.tree.flatten(model(keras.tree.pack_sequence_as(nest, flat)))
        return {f"output_{i}": output for i, output in enumerate(outputs)}

    archive = ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec(i.shape, i.dtype, name=i.name) for i in inputs]
    archive.add_endpoint("serving_default", serve, input_signature=signature)
    if not is_tf_keras(model):
        _renew_lists(getattr(model, "optimizer", None))
    with quiet():
        archive.write_out(folder)


def _renew_lists(optimizer):
    """TensorFlow walks through the optimizer too, and refuses a list that has lost an element.

    Keras takes the learning rate out of the list of variables when a schedule takes its place after `compile`.
    """
    for each in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if each is not None:
            each._variables = list(each._variables)


def convert(folder, quantize=None, samples=None, integer_io=False, sparse=False, learned=False):
    """The bytes of the .tflite file that TensorFlow's converter makes of a SavedModel.

    Args:
        folder: of the SavedModel.
        quantize: None, `"float16"`, `"dynamic_int8"` or `"int8"`.
        samples: for `"int8"`, a list of dicts of input name to an array of one batch.
        integer_io: int8 inputs and outputs, for `"int8"`.
        sparse: leave the zeros out of the file.
        learned: the model brings its ranges.

    Raises:
        ValueError: for a model that the converter cannot take.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if sparse:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if quantize or learned:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: iter(samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if integer_io:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with quiet():
            return converter.convert()
    except Exception as error:  # the converter raises whatever its passes raise
        raise ValueError(_sentence(str(error))) from error


def check_recurrent(model, quantize):
    """Refuses the recurrent layers whose conversion is known to fail or never to end.

    Raises:
        ValueError: naming the layer.
    """
    rolled = [layer for layer in layers(model) if getattr(layer, "unroll", None) is False]
    static = getattr(model, "inputs", None) and model.inputs[0].shape[0] is not None
    if is_tf_keras(model) and static:
        rolled = [layer for layer in rolled if quantize == "int8" and type(layer).__name__ == "GRU"]
    if rolled:
        raise ValueError(
            f"{rolled[0].name}: LiteRT's own operations have no loop over time steps of this kind. Received: "
            f"{type(rolled[0]).__name__}(unroll=False) with quantize={quantize!r}. {REMEDY_RNN}."
        )


def _sentence(message):
    if "TensorList" in message or "element_shape" in message:
        return (
            f"litert: LiteRT's own operations have no loop over time steps. Received: a model with one. {REMEDY_RNN}."
        )
    lines = [line.strip() for line in message.splitlines() if "error" in line.lower()] or [message]
    return (
        "litert: the model may have only operations that LiteRT knows. Received: an error of its converter, "
        f"{lines[0][:300]}. Replace the layer that makes this operation."
    )
