"""Keras model -> SavedModel -> the bytes of a .tflite file."""

import contextlib
import io
import re
import warnings

import keras

from keras_admm.errors import reason
from keras_admm.export.tflite.inputs import symbolic
from keras_admm.graph import every_layer
from keras_admm.weights import is_tf_keras, of_class

REMEDY_RNN = (
    "Build the recurrent layer with unroll=True, or translate the model with "
    "`keras_admm.export.to_tf_keras(model, batch_size=1)`"
)


def is_quantization_aware(model):
    """Whether TFMOT has made the model learn its ranges."""
    return any(c.__name__.startswith("QuantizeWrapper") for layer in layers(model) for c in type(layer).__mro__)


def layers(model):
    """All layers of a model, those inside others too."""
    return list(every_layer(model)[1:])


@contextlib.contextmanager
def quiet():
    """Without what the converters print and warn about their own insides."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def save_signature(model, infer, nest, folder):
    """Writes a SavedModel with one signature, whose inputs have our names: the converter knows no order of theirs.

    Args:
        model: whose variables are in it.
        infer: a function of the model's inputs that gives its outputs and assigns to none of its variables.
        nest: of `Input`s.
        folder: to write.
    """
    import tensorflow as tf

    if is_tf_keras(model):
        from tf_keras.export import ExportArchive
    else:
        from keras.export import ExportArchive
    inputs = keras.tree.flatten(nest)

    def serve(*flat):
        outputs = keras.tree.flatten(infer(keras.tree.pack_sequence_as(nest, flat)))
        return {f"output_{i}": output for i, output in enumerate(outputs)}

    archive = ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec(i.shape, i.dtype, name=i.name) for i in inputs]
    archive.add_endpoint("serving_default", serve, input_signature=signature)
    _renew_lists(v for v in vars(model).values() if isinstance(v, keras.optimizers.Optimizer))
    try:
        with quiet():
            archive.write_out(folder)
    except Exception as error:  # whatever TensorFlow meets while it walks through a user's objects
        raise ValueError(sentence(reason(error, 100_000), layers(model))) from error


def _renew_lists(optimizers):
    """TensorFlow walks through Keras 3's optimizers too, and refuses a list that has lost an element.

    Keras takes the learning rate out of the list of variables when a schedule takes its place after `compile`.
    """
    for optimizer in optimizers:
        optimizer._variables = list(optimizer._variables)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            _renew_lists([optimizer.inner_optimizer])


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
        ConverterError: for a model that the converter cannot take.
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
        raise ConverterError(reason(error, 100_000)) from error


class ConverterError(Exception):
    """What TensorFlow's converter says about a model that it cannot take."""


def rolled(model):
    """The recurrent layers whose time steps are a loop."""
    return [layer for layer in layers(model) if of_class(layer, "RNN") and not layer.unroll]


def check_recurrent(model, quantize):
    """Refuses the recurrent layers whose conversion is known to fail or never to end.

    Raises:
        ValueError: naming the layer.
    """
    stateful = next((x for x in layers(model) if of_class(x, "RNN") and x.stateful), None)
    if stateful is not None:
        raise ValueError(
            f"{stateful.name}: a .tflite file computes each call anew. Received: a {type(stateful).__name__} with "
            "stateful=True, whose state would not go on there. Build it with stateful=False, and hand its state over "
            "as inputs and outputs of the model, by `initial_state` and `return_state=True`."
        )
    found = rolled(model)
    inputs = symbolic(model)
    static = inputs and inputs[0].shape[0] is not None
    if is_tf_keras(model) and static:
        found = [layer for layer in found if quantize == "int8" and type(layer).__name__ == "GRU"]
    if found:
        twin = is_tf_keras(model) and static
        remedy = "Build it with unroll=True, or choose quantize='dynamic_int8'" if twin else REMEDY_RNN
        raise ValueError(
            f"{found[0].name}: LiteRT's own operations have no loop over time steps of this kind. Received: "
            f"{type(found[0]).__name__}(unroll=False) with quantize={quantize!r}. {remedy}."
        )


def sentence(message, model_layers):
    """The error message for an error of the converter: with the layer that it names, and what helps.

    Args:
        message: a str that is not empty.
        model_layers: those that may be named in it.
    """
    if "TensorList" in message or "element_shape" in message:
        return (
            f"{_culprit(message, model_layers) or 'litert'}: LiteRT's own operations have no loop over time steps. "
            f"Received: a model with one. {REMEDY_RNN}."
        )
    scope = re.search("'([^']*)' is not a valid (root )?scope name", message)
    if scope:
        return (
            f"{scope[1]}: names of layers and models must be such as TensorFlow takes: letters, digits and _.>/- only, "
            f"at first a letter, a digit or a dot. Received: {scope[1]!r}. Export "
            "`keras_admm.export.to_tf_keras(model)`, which has such names."
        )
    named = _culprit(message, model_layers)
    at = re.search(r"'tf\.\w+' op|error:|Error", message)
    told = message[at.start() if at else 0 :][:300]
    replace = f"Replace the layer {named}" if named else "Replace the layer that makes this operation"
    return (
        f"{named or 'litert'}: the model may have only operations that LiteRT knows. Received: an error of its "
        f"converter, {told}. {replace}, or leave it out of the model and apply it before or after."
    )


def _culprit(message, model_layers):
    """The name of the innermost layer that a message mentions, or None."""
    inner = [x.name for x in model_layers if re.search(rf"(?<![\w]){re.escape(x.name)}(?![\w])", message)]
    return inner[-1] if inner else None
