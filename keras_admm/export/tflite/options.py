"""How a .tflite file is to be written: the arguments of `litert` that are not data, checked one with another."""

from dataclasses import dataclass

from keras_admm import checks
from keras_admm.export.tflite import quantize as recipes
from keras_admm.export.tflite.convert import is_quantization_aware
from keras_admm.weights import is_tf_keras

CONVERTER = (None, "float16", "dynamic_int8", "int8")  # what TensorFlow's converter does by itself


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments `quantize`, `sparse`, `tolerance` and `integer_io` of `litert`, checked for a model.

    Attributes:
        learned: whether the model brings ranges that it has learned in quantization-aware training.
    """

    quantize: str | None
    sparse: bool | str
    tolerance: float | None
    integer_io: bool
    learned: bool = False

    @property
    def scheme(self):
        """What quantizes: `"learned"`, the argument as it was given, or None."""
        return "learned" if self.learned else self.quantize


def checked(model, data, **arguments):
    """The `Options` for a model.

    Args:
        model: that is to be written.
        data: the `representative_data`, or None.
        **arguments: `quantize`, `sparse`, `tolerance` and `integer_io`, as `litert` takes them.

    Raises:
        ValueError: for a model that is not built, an unknown scheme, or arguments that do not go together.
    """
    _check_built(model)
    _check_quantize(arguments["quantize"])
    options = Options(**arguments, learned=is_tf_keras(model) and is_quantization_aware(model))
    if options.learned and options.quantize:
        raise ValueError(
            f"{model.name}: a quantization-aware model brings its own ranges. Received: quantize={options.quantize!r}. "
            "Leave `quantize` at None."
        )
    _check_sparse(options)
    _check_int8(options, data)
    if options.tolerance is not None:
        checks.number("litert", "tolerance", options.tolerance, 0, "a finite number >= 0 or None")
    return options


def _check_built(model):
    if not model.built:
        raise ValueError(
            f"{model.name}: the model must be built to be exported. Received: a model without variables. "
            "Call model.build(input_shape), or the model on a batch of data, first."
        )


def _check_quantize(quantize):
    if quantize is not None:
        checks.text("litert", "quantize", quantize)
    if quantize not in (*CONVERTER, "int4"):
        recipes.recipe(quantize)


def _check_sparse(options):
    sparse = options.sparse
    if not (isinstance(sparse, bool) or isinstance(sparse, str) and sparse == "auto"):
        raise ValueError(checks.refused("litert", "sparse", "'auto', True or False", sparse, "Choose one of these."))
    checks.boolean("litert", "integer_io", options.integer_io)
    if sparse is True and options.scheme:
        raise ValueError(
            "litert: sparse encoding goes with float32 alone: with quantized weights LiteRT fails to prepare the file "
            f"or computes wrong results. Received: sparse=True, quantize={options.scheme!r}. Leave `sparse` at "
            "'auto'; gzip makes the quantized file as small."
        )


def _check_int8(options, data):
    scheme = options.scheme
    if (scheme == "int8" or recipes.needs_data(scheme or "")) and data is None:
        raise ValueError(
            f"litert: quantize={scheme!r} needs `representative_data` to find the range of each layer. "
            "Received: None. Pass a few hundred typical inputs, or quantize='dynamic_int8'."
        )
    if options.integer_io and scheme != "int8":
        raise ValueError(
            f"litert: integer inputs and outputs go with quantize='int8'. Received: integer_io=True, "
            f"quantize={scheme!r}. Leave `integer_io` at False."
        )
