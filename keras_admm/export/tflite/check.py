"""Comparison of a .tflite file's outputs with those of the model."""

from functools import partial
from typing import NamedTuple

import keras
import numpy as np

from keras_admm import attach, inference
from keras_admm.errors import reason
from keras_admm.export.tflite.convert import layers
from keras_admm.export.tflite.flatbuffer import INSTALL
from keras_admm.weights import of_class

BATCH = 32
REMEDY = "Quantize less, give more typical `representative_data` or `check_data`, or a larger `tolerance`."
TOLERANCE = {None: 1e-3, "float16": 1e-2, "int8": 0.25, "int4": 0.75}


class Difference(NamedTuple):
    """How far two lists of outputs are apart.

    Attributes:
        difference: the largest absolute difference of two outputs.
        scale: the largest absolute output of the model.
        relative: at most over the model's outputs, the difference divided by that output's own scale.
    """

    difference: float
    scale: float
    relative: float


def model_outputs(infer, nest, arrays, batch):
    """What a model gives at inference: one array for each output."""
    size = batch or BATCH
    parts = []
    for start in range(0, len(arrays[0]), size):
        inputs = keras.tree.pack_sequence_as(nest, [a[start : start + size] for a in arrays])
        parts.append([_array(o) for o in keras.tree.flatten(infer(inputs))])
    return [np.concatenate(p) for p in zip(*parts, strict=True)]


def file_outputs(path, inputs, arrays):
    """What the file gives, run as it is deployed: sample by sample, or in the batches that the model is bound to.

    LiteRT's LSTM goes on from the state that its last call left, which Keras's does not: here each begins anew.

    Raises:
        ValueError: if LiteRT cannot run the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(f"litert: the interpreter that runs .tflite files is in ai-edge-litert. {INSTALL}") from error
    size = inputs[0].shape[0] or 1
    try:
        # The runner keeps no reference to its interpreter.
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        runner = interpreter.get_signature_runner()
        parts = []
        for start in range(0, len(arrays[0]), size):
            parts.append(_run(runner, {i.name: a[start : start + size] for i, a in zip(inputs, arrays, strict=True)}))
            interpreter.reset_all_variables()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "litert: the written file must run. Received: an error of LiteRT's interpreter, "
            f"{reason(error)}. Choose another `quantize`, or sparse=False."
        ) from error
    return [np.concatenate(p) for p in zip(*parts, strict=True)]


def compare(expected, found):
    """The `Difference` of two lists of outputs.

    Raises:
        ValueError: for an output that is not finite.
    """
    apart, scales = [], []
    for ours, theirs in zip(expected, found, strict=True):
        ours, theirs = ours.astype("float64"), theirs.astype("float64")
        if not np.isfinite(theirs).all() or not np.isfinite(ours).all():
            raise ValueError(
                "litert: the outputs must be finite. Received: NaN or infinite values from the "
                f"{'model' if not np.isfinite(ours).all() else 'written file'}. Check the model on this data."
            )
        apart.append(np.abs(ours - theirs).max())
        scales.append(np.abs(ours).max())
    relative = [a / s if s else a for a, s in zip(apart, scales, strict=True)]
    return Difference(float(max(apart)), float(max(scales)), float(max(relative)))


def tolerance(options):
    """The largest relative difference that is allowed."""
    if options.tolerance is not None:
        return options.tolerance
    quantize = options.quantize
    if quantize in TOLERANCE and not options.learned:
        return TOLERANCE[quantize]
    return TOLERANCE["int4" if any(few in str(quantize) for few in ("wi4", "wi2")) else "int8"]


def within(limit, difference, model, nest, arrays):
    """The `Difference`, if it is allowed.

    Raises:
        ValueError: if not, with what helps: a model may have no outputs of one sample alone.
    """
    if difference.relative <= limit:
        return difference
    depends = _depends_on_the_batch(model, nest, arrays)
    if depends:
        raise ValueError(
            f"{depends}: what comes out for a sample must depend on that sample alone, for LiteRT runs them one by "
            "one. Received: a model whose outputs depend on the others of the batch, or on chance, as those of a "
            "layer do that is called with training=True. Call it with training=False."
        )
    replicas = attach.num_replicas(model)
    where = f" of a model made for {replicas} devices, whose variables have a value on each" if replicas > 1 else ""
    raise ValueError(
        f"litert: the file's outputs must be within {limit:g} of the model's, relative to the largest of them. "
        f"Received: a relative difference of {difference.relative:.3g}{where}; no file is left. "
        + (
            "Build the model outside of the strategy's scope, and give it these weights by set_weights()."
            if where
            else REMEDY
        )
    )


def _depends_on_the_batch(model, nest, arrays):
    """The names of layers by which outputs of one sample may depend on others, or the model's; None if they do not."""
    size = keras.tree.flatten(nest)[0].shape[0]
    together, alone = (
        model_outputs(partial(inference.call, model), nest, arrays, batch) for batch in (size, size or 1)
    )
    if compare(together, alone).relative <= TOLERANCE[None]:
        return None
    norms = [x.name for x in layers(model) if of_class(x, "BatchNormalization")]
    return ", ".join(norms) or model.name


def _array(output):
    return np.asarray(keras.ops.convert_to_numpy(output))


def _run(runner, batch):
    details = runner.get_input_details()
    outputs = runner(**{name: _coded(values, details[name]) for name, values in batch.items()})
    kinds = runner.get_output_details()
    ordered = sorted(outputs, key=lambda name: int(name.rpartition("_")[2]))
    return [_decoded(outputs[name], kinds[name]) for name in ordered]


def _coded(values, detail):
    scale, zero = detail["quantization"]
    if not scale or values.dtype == detail["dtype"]:
        return values.astype(detail["dtype"])
    span = np.iinfo(detail["dtype"])
    return np.clip(np.round(values / scale) + zero, span.min, span.max).astype(detail["dtype"])


def _decoded(values, detail):
    scale, zero = detail["quantization"]
    return (values.astype("float32") - zero) * scale if scale and detail["dtype"] != np.float32 else values
