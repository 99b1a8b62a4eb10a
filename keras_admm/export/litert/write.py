"""The hand-over to LiteRT: convert, run, compare, and only then put the file in its place."""

import gzip
import tempfile
import warnings
from functools import partial
from pathlib import Path

import keras

from keras_admm import checks, inference
from keras_admm.errors import reason
from keras_admm.export.litert import check, data, flatbuffer, half
from keras_admm.export.litert import quantize as recipes
from keras_admm.export.litert.apart import Crash, convert_apart
from keras_admm.export.litert.convert import (
    ConverterError,
    check_recurrent,
    convert,
    is_quantization_aware,
    layers,
    rolled,
    save_signature,
    sentence,
)
from keras_admm.export.litert.fresh import in_fresh_process
from keras_admm.export.litert.kernels import kernels
from keras_admm.export.litert.report import LiteRTReport
from keras_admm.files import check_place, whole
from keras_admm.weights import check_model, is_tf_keras

CHECKED = 64  # samples of the representative data that the file is checked on
TOGETHER = 32  # samples that the AI Edge Quantizer sees at once: it takes the mean of the batches' ranges
WORTH = 0.3  # share of zeros from which the converter leaves them out
CONVERTER = (None, "float16", "dynamic_int8", "int8")
KEPT = (
    "An LSTM in the file goes on from where its last call ended: call the interpreter's reset_all_variables() before "
    "each new sequence."
)


def litert(
    model,
    path,
    quantize=None,
    representative_data=None,
    sparse="auto",
    check_data=None,
    tolerance=None,
    integer_io=False,
):
    """Writes a model as a .tflite file for LiteRT, and runs it before it is called done.

    The zeros and levels of a compressed model stay as they are: every scheme here is symmetric around 0. The file is
    run by LiteRT's interpreter, sample by sample, and compared with the model; a difference beyond the tolerance is an
    error and leaves no file. A Keras model on JAX or torch is rebuilt on TensorFlow in a process of its own.

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
    learned = _check(model, quantize, sparse, representative_data, integer_io)
    options = {"quantize": quantize, "sparse": sparse, "tolerance": tolerance, "integer_io": integer_io}
    if tolerance is not None:
        checks.number("litert", "tolerance", tolerance, 0, "a finite number >= 0 or None")
    given = {"representative_data": representative_data, "check_data": check_data}
    for argument, samples in given.items():
        data.check(argument, samples)
    count = len(getattr(model, "inputs", None) or ())
    given = {name: data.batches(d, count) for name, d in given.items() if d is not None}
    nest = data.structure(model, given.get("check_data") or given.get("representative_data"))
    data.check_types(model, nest)
    given = {name: data.arrays(name, batches, nest) for name, batches in given.items()}
    check_recurrent(model, quantize)
    half.check(model)
    with whole(path) as target, inference.unchanged(model):
        if not is_tf_keras(model) and keras.backend.backend() != "tensorflow":
            keys = sorted(nest) if isinstance(nest, dict) and not getattr(model, "inputs", None) else None
            report = in_fresh_process(model, target, given, keys, options)
        else:
            report = _write(model, target, nest, given, options, learned)
    if report.note:
        warnings.warn(f"{model.name}: {report.note}", stacklevel=2)
    return report._replace(path=str(path))


def _check(model, quantize, sparse, representative_data, integer_io):
    """Whether the model brings learned ranges; or what is wrong with the arguments."""
    if not getattr(model, "built", False):
        raise ValueError(
            f"{model.name}: the model must be built to be exported. Received: a model without variables. "
            "Call model.build(input_shape), or the model on a batch of data, first."
        )
    if quantize is not None:
        checks.text("litert", "quantize", quantize)
    if quantize not in (*CONVERTER, "int4"):
        recipes.recipe(quantize)
    learned = is_tf_keras(model) and is_quantization_aware(model)
    if learned and quantize:
        raise ValueError(
            f"{model.name}: a quantization-aware model brings its own ranges. Received: quantize={quantize!r}. "
            "Leave `quantize` at None."
        )
    _check_scheme("learned" if learned else quantize, sparse, representative_data, integer_io)
    return learned


def _check_scheme(quantize, sparse, representative_data, integer_io):
    if not (isinstance(sparse, bool) or isinstance(sparse, str) and sparse == "auto"):
        raise ValueError(checks.refused("litert", "sparse", "'auto', True or False", sparse, "Choose one of these."))
    checks.boolean("litert", "integer_io", integer_io)
    if sparse is True and quantize:
        raise ValueError(
            "litert: sparse encoding goes with float32 alone: with quantized weights LiteRT fails to prepare the file "
            f"or computes wrong results. Received: sparse=True, quantize={quantize!r}. Leave `sparse` at 'auto'; "
            "gzip makes the quantized file as small."
        )
    if (quantize == "int8" or recipes.needs_data(quantize or "")) and representative_data is None:
        raise ValueError(
            f"litert: quantize={quantize!r} needs `representative_data` to find the range of each layer. "
            "Received: None. Pass a few hundred typical inputs, or quantize='dynamic_int8'."
        )
    if integer_io and quantize != "int8":
        raise ValueError(
            f"litert: integer inputs and outputs go with quantize='int8'. Received: integer_io=True, "
            f"quantize={quantize!r}. Leave `integer_io` at False."
        )


def _write(model, target, nest, given, options, learned):
    inputs = keras.tree.flatten(nest)
    seen = given.get("representative_data")
    batch = inputs[0].shape[0]
    few = max(CHECKED // (batch or 1), 1) * (batch or 1)
    data_for_check = given.get("check_data") or (seen and [a[:few] for a in seen]) or data.random(inputs)
    together = 1 if options["quantize"] == "int8" else TOGETHER
    samples = seen and _samples(inputs, seen, batch or min(together, len(seen[0])))
    limit = check.tolerance(options, learned)

    with tempfile.TemporaryDirectory() as folder:
        expected, note = _saved(model, nest, data_for_check, folder)

        def put(content):
            Path(target).write_bytes(content)
            difference = check.compare(expected, check.file_outputs(target, inputs, data_for_check))
            return check.within(limit, difference, model, nest, data_for_check)

        make = partial(_made, model, folder, target, options, samples, learned)
        difference, sizes, told = _chosen(make, put, target, options, learned)
    report = _report(target, options, learned, difference, limit, len(data_for_check[0]), sizes, told)
    kept = KEPT if flatbuffer.read(target).keeps_state else ""
    return report._replace(note=" ".join(filter(None, (note, kept))))


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


def _made(model, folder, target, options, samples, learned, sparse=False):
    """The bytes of one form of the file."""
    quantize = options["quantize"]
    own = quantize in CONVERTER
    # Calibration of a loop over time steps may end the process.
    may_crash = quantize == "int8" and is_tf_keras(model) and rolled(model)
    try:
        content = (convert_apart if may_crash else convert)(
            folder,
            quantize=quantize if own else None,
            samples=samples if own else None,
            integer_io=options["integer_io"],
            sparse=sparse,
            learned=learned,
        )
    except Crash as error:
        named = ", ".join(layer.name for layer in rolled(model))
        raise ValueError(
            f"{named}: TensorFlow's converter must be able to run the model to find its ranges. Received: a crash of "
            f"it on the recurrent layers, in a child process made for that case ({error}). Build them with "
            "unroll=True, or choose quantize='dynamic_int8'."
        ) from error
    except ConverterError as error:
        raise ValueError(sentence(str(error), layers(model))) from error
    if own:
        return content
    Path(target).write_bytes(content)
    return recipes.quantized(target, recipes.INT4 if quantize == "int4" else quantize, samples)


def _chosen(make, put, target, options, learned):
    """Writes the dense file or the sparse one; returns the difference, both sizes, and why."""
    dense = make()
    sizes = {"dense": len(dense)}
    if options["quantize"] or learned:
        return put(dense), sizes, "stored; leaving them out of a quantized file would make it compute wrongly"
    if options["sparse"] is False:
        return put(dense), sizes, "stored, as asked for"
    Path(target).write_bytes(dense)
    stored = flatbuffer.tensors(target)
    if not any(t.zeros >= WORTH * t.size and len(t.shape) in (2, 4) for t in stored):
        if options["sparse"] is True:
            raise ValueError(
                "litert: to leave zeros out, a tensor must have at least 30% of them. Received: sparse=True and a "
                "model without such. Prune it first, or leave `sparse` at 'auto'."
            )
        return put(dense), sizes, "stored; no tensor has 30% of them, from which on they can be left out"
    try:
        coded = make(sparse=True)
        Path(target).write_bytes(coded)
        _check_none_lost(stored, flatbuffer.tensors(target))
        difference = put(coded)
    except ValueError as error:
        if options["sparse"] is True:
            raise
        return put(dense), sizes, f"stored, as they cannot be left out here: {reason(error)}"
    sizes["sparse"] = len(coded)
    saved = f"{sizes['sparse']:,} bytes without them, {sizes['dense']:,} with"
    if options["sparse"] is True or len(coded) < len(dense):
        return difference, sizes, f"left out of the file: {saved}"
    return put(dense), sizes, f"stored, which takes less: {saved}"


def _check_none_lost(stored, coded):
    """Raises where the converter, which codes whole runs of 4 inputs alone, left out the weights of the last ones."""
    zeros = {shape: sum(t.zeros for t in stored if t.shape == shape) for shape in {t.shape for t in stored}}
    lost = [s for s, count in zeros.items() if sum(t.zeros for t in coded if t.shape == s) > count]
    if lost:
        raise ValueError(
            f"litert: TensorFlow's converter codes runs of 4 inputs only, and would lose what a layer has beyond them. "
            f"Received: weights of shape {lost[0]} (outputs, inputs) that are not zero beyond the last run. Give the "
            "layer a multiple of 4 inputs, or exclude= it from the pruning in blocks."
        )


def _samples(inputs, arrays, batch):
    return [
        {item.name: a[i : i + batch] for item, a in zip(inputs, arrays, strict=True)}
        for i in range(0, len(arrays[0]) - batch + 1, batch)
    ]


def _report(target, options, learned, difference, limit, samples, sizes, sentence):
    content = Path(target).read_bytes()
    return LiteRTReport(
        path=str(target),
        quantize="learned" if learned else options["quantize"] or "float32",
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        **difference._asdict(),
        tolerance=limit,
        samples=samples,
        sizes=sizes,
        sparse=sentence,
        tensors=flatbuffer.tensors(target),
        kernels=kernels(flatbuffer.read(target)),
    )
