"""Conversion of a SavedModel to a .tflite file, by TensorFlow's converter and the LiteRT Quantizer."""

from pathlib import Path

from keras_admm.export.tflite import quantize as recipes
from keras_admm.export.tflite.apart import Crash, convert_apart
from keras_admm.export.tflite.convert import ConverterError, convert, layers, rolled, sentence
from keras_admm.export.tflite.options import CONVERTER
from keras_admm.weights import is_tf_keras

TOGETHER = 32  # samples that the AI Edge Quantizer sees at once: it takes the mean of the batches' ranges


class Conversion:
    """The conversion of one model, with its zeros stored or left out.

    Args:
        model: as the user has it.
        folder: of its SavedModel.
        options: an `Options`.
        samples: what `samples` gave, or None.
    """

    def __init__(self, model, folder, options, samples):
        self._model = model
        self._folder = folder
        self._options = options
        self._samples = samples

    def content(self, path, sparse=False):
        """The bytes of the file.

        Args:
            path: where a float32 file may be written on the way to a quantized one.
            sparse: whether the zeros are left out.

        Raises:
            ValueError: for a model that the converter or the recipe cannot take.
        """
        quantize = self._options.quantize
        converted = self._converted(sparse)
        if quantize in CONVERTER:
            return converted
        Path(path).write_bytes(converted)
        return recipes.quantized(path, recipes.INT4 if quantize == "int4" else quantize, self._samples)

    def _converted(self, sparse):
        own = self._options.quantize in CONVERTER
        try:
            return (convert_apart if self._may_crash() else convert)(
                self._folder,
                quantize=self._options.quantize if own else None,
                samples=self._samples if own else None,
                integer_io=self._options.integer_io,
                sparse=sparse,
                learned=self._options.learned,
            )
        except Crash as error:
            raise ValueError(self._crash(error)) from error
        except ConverterError as error:
            raise ValueError(sentence(str(error), layers(self._model))) from error

    def _may_crash(self):
        """Whether it is the calibration of a loop over time steps, which may end the process."""
        return self._options.quantize == "int8" and is_tf_keras(self._model) and bool(rolled(self._model))

    def _crash(self, error):
        named = ", ".join(layer.name for layer in rolled(self._model))
        return (
            f"{named}: TensorFlow's converter must be able to run the model to find its ranges. Received: a crash of "
            f"it on the recurrent layers, in a child process made for that case ({error}). Build them with "
            "unroll=True, or choose quantize='dynamic_int8'."
        )


def samples(inputs, arrays, options):
    """Typical inputs, as the converter and the quantizer take them: a list of dicts of input name to a batch.

    Args:
        inputs: the flat list of the model's `Input`s.
        arrays: one for each.
        options: an `Options`.
    """
    together = 1 if options.quantize == "int8" else TOGETHER
    batch = inputs[0].shape[0] or min(together, len(arrays[0]))
    return [
        {item.name: a[i : i + batch] for item, a in zip(inputs, arrays, strict=True)}
        for i in range(0, len(arrays[0]) - batch + 1, batch)
    ]
