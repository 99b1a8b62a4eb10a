"""Quantization by the recipes of the LiteRT Quantizer, formerly AI Edge Quantizer, by their own names."""

import importlib.util

from keras_admm.errors import reason
from keras_admm.export.tflite.convert import quiet
from keras_admm.export.tflite.flatbuffer import INSTALL

PACKAGES = ("litert_quantizer", "ai_edge_quantizer")  # one tool, under its new and its old name
FAMILIES = ("dynamic_", "weight_only_", "static_")
INT4 = "dynamic_wi4_afp32"


def recipe(name):
    """The recipe of that name.

    Raises:
        ValueError: for a name that is no recipe.
        ImportError: without litert-quantizer or ai-edge-quantizer.
    """
    recipes = _module(name, "recipe")
    known = sorted(n for n in dir(recipes) if n.startswith(FAMILIES))
    if name not in known:
        raise ValueError(
            "litert: `quantize` must be None, 'float16', 'dynamic_int8', 'int8', 'int4' or a recipe of the LiteRT "
            f"Quantizer, {known}. Received: quantize={name!r}. Choose one of these."
        )
    return getattr(recipes, name)()


def _module(name, module):
    """A module of the quantizer, whichever name it is installed under."""
    for package in PACKAGES:
        if _is_there(package):
            return importlib.import_module(f"{package}.{module}")
    raise ImportError(
        f"litert: quantize={name!r} is a recipe of the LiteRT Quantizer, which is not there, neither as "
        f"litert-quantizer nor under its former name, ai-edge-quantizer. {INSTALL}"
    )


def _is_there(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a spec
        return False


def needs_data(name):
    """Whether a recipe quantizes what flows between the layers, and so must see some of it."""
    return name.startswith("static_")


def quantized(path, name, samples):
    """The bytes of a float32 .tflite file quantized by a recipe.

    Args:
        path: of the file.
        name: of the recipe.
        samples: for a static recipe, a list of dicts of input name to an array of one batch.

    Raises:
        ValueError: if the recipe cannot take the model.
    """
    quantizer_class = _module(name, "quantizer").Quantizer
    try:
        with quiet():
            quantizer = quantizer_class(str(path), recipe(name))
            seen = quantizer.calibrate({"serving_default": samples}) if quantizer.need_calibration else None
            return bytes(quantizer.quantize(seen).quantized_model)
    except Exception as error:  # the quantizer raises whatever its passes raise
        raise ValueError(
            f"litert: the recipe must fit the model. Received: quantize={name!r}, and an error of the LiteRT "
            f"Quantizer, {reason(error)}. Choose another recipe."
        ) from error
