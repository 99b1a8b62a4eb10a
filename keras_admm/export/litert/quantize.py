"""Quantization by the recipes of the AI Edge Quantizer, by their own names."""

from keras_admm.export.litert.convert import quiet
from keras_admm.export.litert.flatbuffer import INSTALL

FAMILIES = ("dynamic_", "weight_only_", "static_")
INT4 = "dynamic_wi4_afp32"


def recipe(name):
    """The recipe of that name.

    Raises:
        ValueError: for a name that is no recipe.
        ImportError: without ai-edge-quantizer.
    """
    try:
        from ai_edge_quantizer import recipe as recipes
    except ImportError as error:
        raise ImportError(
            f"litert: quantize={name!r} is a recipe of the AI Edge Quantizer, which is not there. {INSTALL}"
        ) from error
    known = sorted(n for n in dir(recipes) if n.startswith(FAMILIES))
    if name not in known:
        raise ValueError(
            "litert: `quantize` must be None, 'float16', 'dynamic_int8', 'int8', 'int4' or a recipe of the AI Edge "
            f"Quantizer, {known}. Received: quantize={name!r}. Choose one of these."
        )
    return getattr(recipes, name)()


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
    from ai_edge_quantizer.quantizer import Quantizer

    try:
        with quiet():
            quantizer = Quantizer(str(path), recipe(name))
            seen = quantizer.calibrate({"serving_default": samples}) if quantizer.need_calibration else None
            return bytes(quantizer.quantize(seen).quantized_model)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"litert: the recipe must fit the model. Received: quantize={name!r}, and an error of the AI Edge "
            f"Quantizer, {str(error)[:300]}. Choose another recipe."
        ) from error
