"""Export of a model as a .tflite file: converted, run, compared, and only then put in its place."""

import gzip
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Literal

import keras

from keras_admm import hints, inference
from keras_admm.export.tflite import check, data, flatbuffer, half, zeros
from keras_admm.export.tflite.conversion import Conversion, samples
from keras_admm.export.tflite.convert import check_recurrent, save_signature
from keras_admm.export.tflite.fresh import in_fresh_process
from keras_admm.export.tflite.inputs import symbolic
from keras_admm.export.tflite.kernels import kernels
from keras_admm.export.tflite.options import checked
from keras_admm.export.tflite.report import LiteRTReport
from keras_admm.files import check_place, whole
from keras_admm.weights import check_model, is_tf_keras

CHECKED = 64  # samples of the representative data that the file is checked on
KEPT = (
    "An LSTM in the file goes on from where its last call ended: call the interpreter's reset_all_variables() before "
    "each new sequence."
)


def litert(
    model: hints.Model,
    path: hints.Path,
    quantize: str | None = None,
    representative_data: hints.Data = None,
    sparse: bool | Literal["auto"] = "auto",
    check_data: hints.Data = None,
    tolerance: float | None = None,
    integer_io: bool = False,
) -> LiteRTReport:
    """Converts a model to a .tflite file for LiteRT (TensorFlow Lite), and compares the outputs of both.

    The zeros and levels of a compressed model stay as they are: every scheme here is symmetric around 0. The file is
    run by LiteRT's interpreter, sample by sample, before it is put in its place: a difference beyond the tolerance is
    an error and leaves no file. A Keras model on JAX or torch is rebuilt on TensorFlow in a process of its own.

    What is written is inference (`training=False`, whatever the model's own `call` has as its default), and the model
    stays as it was, also where the export fails. A model in half precision (mixed_float16, mixed_bfloat16, or weights
    that are half floats) is converted as a float32 copy, which a warning and the report's `note` say. LiteRT's LSTM
    goes on from the state that its last call left: the warning and the note then say to reset it before each sequence.

    Args:
        model: a built `keras.Model`, or a tf_keras one; also one that TFMOT has made quantization-aware, whose learned
            ranges are then used (with `quantize=None`).
        path: of the file to write.
        quantize: None (float32), `"float16"`, `"dynamic_int8"` (int8 weights, float activations), `"int8"` (all of
            it in int8), `"int4"` (int4 weights: the recipe `"dynamic_wi4_afp32"`), or a recipe of the AI Edge
            Quantizer (by now LiteRT Quantizer) by its own name, such as `"weight_only_wi4_afp32"`.
        representative_data: for `"int8"` and the static recipes, a few hundred typical inputs: an array, a list or
            dict of arrays for several inputs, a dataset or iterable of batches, of which 512 samples are taken, or a
            function without arguments that yields batches, as TensorFlow's converter takes it.
        sparse: leave the zeros out of the file? `"auto"` tries it for float32 and does it if the file gets smaller and
            runs (the report's `sparse` says why not); True does it; False does not. With any quantization it would
            compute wrong results, and is refused.
        check_data: what to compare the outputs on, like `representative_data`, whose first 64 samples are the
            default; without either, seeded random values.
        tolerance: the largest allowed difference of an output, relative to the largest of the model's outputs. By
            default 1e-3 in float32, 0.01 in float16, 0.25 with int8 and 0.75 with int4 or int2 weights: a guard
            against wrong files, not a promise of accuracy.
        integer_io: for `"int8"`: inputs and outputs in int8 as well, to be scaled by the caller. By default they
            stay float32. The static recipes, such as `"static_wi8_ai8"`, always make them int8.

    Returns:
        A `LiteRTReport`; `print` it for tables of tensors, bytes, zeros, and which layers a sparse kernel will run.

    Raises:
        ValueError: for an unbuilt model, data of the wrong shape, int8 without data, a path that cannot be written,
            a model that the converter cannot take, or a file whose outputs differ.
        ImportError: without ai-edge-litert, or litert-quantizer (or ai-edge-quantizer) for its recipes.

    Example:

    ```
    report = keras_admm.export.litert(model, "model.tflite", quantize="int8", representative_data=x[:500])
    print(report)
    ```
    """
    check_model("litert", model)
    check_place(path)
    flatbuffer.schema()
    arguments = {"quantize": quantize, "sparse": sparse, "tolerance": tolerance, "integer_io": integer_io}
    options = checked(model, representative_data, **arguments)
    given, nest = data.taken(model, {"representative_data": representative_data, "check_data": check_data})
    check_recurrent(model, quantize)
    half.check(model)
    with whole(path) as target, inference.unchanged(model):
        if not is_tf_keras(model) and keras.backend.backend() != "tensorflow":
            keys = sorted(nest) if isinstance(nest, dict) and not symbolic(model) else None
            report = in_fresh_process(model, target, given, keys, arguments)
        else:
            report = _write(model, target, nest, given, options)
    if report.note:
        warnings.warn(f"{model.name}: {report.note}", stacklevel=2)
    return report._replace(path=str(path))


def _write(model, target, nest, given, options):
    inputs = keras.tree.flatten(nest)
    seen = given.get("representative_data")
    checked_on = _for_check(inputs, given)
    limit = check.tolerance(options)

    with tempfile.TemporaryDirectory() as folder:
        expected, note = _saved(model, nest, checked_on, folder)
        conversion = Conversion(model, folder, options, seen and samples(inputs, seen, options))

        def put(content):
            Path(target).write_bytes(content)
            difference = check.compare(expected, check.file_outputs(target, inputs, checked_on))
            return check.within(limit, difference, model, nest, checked_on)

        form = zeros.written(target, options, partial(conversion.content, target), put)
    report = _report(target, options, limit, len(checked_on[0]), form)
    kept = KEPT if flatbuffer.read(target).keeps_state else ""
    return report._replace(note=" ".join(filter(None, (note, kept))))


def _for_check(inputs, given):
    """The arrays that the outputs are compared on."""
    batch = inputs[0].shape[0] or 1
    few = max(CHECKED // batch, 1) * batch
    seen = given.get("representative_data")
    return given.get("check_data") or (seen and [a[:few] for a in seen]) or data.random(inputs)


def _saved(model, nest, arrays, folder):
    """Writes the SavedModel; returns what it should give, and what was done to the model to get it."""
    batch = keras.tree.flatten(nest)[0].shape[0]
    in_half = half.policies(model)
    own = in_half and check.model_outputs(partial(inference.call, model), nest, arrays, batch)
    with half.in_float32(model) as values:
        infer = partial(inference.call, model, values=values)
        expected = check.model_outputs(infer, nest, arrays, batch)
        save_signature(model, infer, nest, folder)
    return expected, half.note(in_half, check.compare(own, expected).relative) if in_half else ""


def _report(target, options, limit, samples, form):
    content = Path(target).read_bytes()
    return LiteRTReport(
        path=str(target),
        quantize=options.scheme or "float32",
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        **form.difference._asdict(),
        tolerance=limit,
        samples=samples,
        sizes=form.sizes,
        sparse=form.sparse,
        tensors=flatbuffer.tensors(target),
        kernels=kernels(flatbuffer.read(target)),
    )
