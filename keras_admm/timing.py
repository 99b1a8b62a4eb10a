"""Latency of two models, measured in turn: a ratio with its spread, never a bare time."""

import os
import time
from typing import NamedTuple

import keras
import numpy as np

from keras_admm import checks, graph, hints
from keras_admm.inference import unchanged
from keras_admm.weights import check_model

WARM_UP = 10


class Latency(NamedTuple):
    """How the times of two models compare; printing it gives one sentence.

    Attributes:
        ratio: the median over the pairs of runs of a's time by b's: above 1, b is faster.
        quartiles: the lower and upper quartile of the same.
        medians: of a's and b's times, in seconds, of this machine at this moment.
        runs: how many of each.
        threads: how many a .tflite file ran on.
        limits: a sentence on what was not held equal, or empty.
    """

    ratio: float
    quartiles: tuple
    medians: tuple
    runs: int
    threads: int
    limits: str

    def __str__(self):
        low, high = self.quartiles
        unit, scale = ("ms", 1e3) if min(self.medians) >= 1e-4 else ("us", 1e6)
        a, b = (scale * m for m in self.medians)
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        told = (
            f"b is {self.ratio:.2f}x as fast as a (quartiles {low:.2f}..{high:.2f}; "
            f"medians {a:.3f} and {b:.3f} {unit}; {self.runs} pairs of runs in turn, {threads})"
        )
        return f"{told}. {self.limits}" if self.limits else told


def latency(
    a: hints.Model | hints.Path, b: hints.Model | hints.Path, data: hints.Data, threads: int = 1, runs: int = 100
) -> Latency:
    """Times two models in turn, run by run, so that whatever else the machine does meets both.

    In each pair of runs the order changes, and the ratio is taken within the pair. The models' variables
    are afterwards as they were before.

    Args:
        a: a built Keras or tf_keras model, or the path of a .tflite file.
        b: another.
        data: what one run computes on: an array of one batch, or a list or dict of arrays for several inputs.
        threads: of the interpreter of a .tflite file. The threads of a Keras model are set before its backend starts,
            for example by `tf.config.threading`, and cannot be changed here.
        runs: of each, 2 at least, after 10 that are not counted.

    Returns:
        A `Latency`.

    Raises:
        ValueError: for data of the wrong shape, or fewer than 2 runs.
        ImportError: for a .tflite file without ai-edge-litert.

    Example:

    ```
    print(keras_admm.latency("dense.tflite", "pruned.tflite", x[:1]))
    ```
    """
    checks.integer("latency", "runs", runs, 2)
    checks.integer("latency", "threads", threads)
    for argument, model in (("a", a), ("b", b)):
        if isinstance(model, (str, os.PathLike)):
            checks.path("latency", argument, model)
        else:
            check_model("latency", model, argument, "a keras.Model, a model of tf_keras, or the path of a .tflite file")
    checks.arrays("latency", "data", data, "an array, or a list or dict of arrays")
    calls = [_call(model, data, threads) for model in (a, b)]
    with unchanged(a), unchanged(b):
        for call in calls * WARM_UP:
            call()
        pairs = np.array([_pair(calls, i) for i in range(runs)])
    low, ratio, high = np.percentile(pairs[:, 0] / pairs[:, 1], [25, 50, 75])
    keras_models = [m for m in (a, b) if not isinstance(m, (str, os.PathLike))]
    limits = "A Keras model runs on as many threads as its backend was started with." if keras_models else ""
    medians = tuple(map(float, np.median(pairs, axis=0)))
    return Latency(float(ratio), (float(low), float(high)), medians, runs, threads, limits)


def _pair(calls, i):
    times = [0.0, 0.0]
    for which in (0, 1) if i % 2 == 0 else (1, 0):
        start = time.perf_counter()
        calls[which]()
        times[which] = time.perf_counter() - start
    return times


def _call(model, data, threads):
    """A function without arguments that runs a model on the data once."""
    if isinstance(model, (str, os.PathLike)):
        return _call_file(model, data, threads)
    data = graph.inputs_by_name("latency", "data", model, data)
    if getattr(model, "inputs", None):
        _check(model.name, data, [tuple(t.shape) for t in model.inputs])
    return lambda: model.predict_on_batch(data)


def _call_file(path, data, threads):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            "latency: a .tflite file is run by ai-edge-litert. Install it with: pip install keras-admm[litert]."
        ) from error
    if not os.path.isfile(path):
        raise ValueError(f"latency: a path must be of a .tflite file. Received: {path}, which is none. Export one.")
    interpreter = Interpreter(model_path=os.fspath(path), num_threads=threads)
    details = interpreter.get_input_details()
    if isinstance(data, dict):
        details, data = _by_name(path, interpreter, data)
    _check(path, data, [tuple(int(s) for s in d["shape_signature"]) for d in details])
    arrays = keras.tree.flatten(data)
    for detail, array in zip(details, arrays, strict=True):
        interpreter.resize_tensor_input(detail["index"], np.shape(array))
    interpreter.allocate_tensors()
    for detail, array in zip(details, arrays, strict=True):
        interpreter.set_tensor(detail["index"], np.asarray(array).astype(detail["dtype"]))
    return interpreter.invoke


def _by_name(path, interpreter, data):
    """The details of a file's inputs, by the names of its signature, and the arrays of a dict in their order."""
    named = interpreter.get_signature_runner().get_input_details() if len(interpreter.get_signature_list()) == 1 else {}
    if not named or not set(named) <= set(data):
        must = f"a dict with the keys {', '.join(named)}, the inputs of {path}" if named else "a list of arrays"
        raise ValueError(checks.refused("latency", "data", must, [*data], "Name each input, or give a list."))
    return list(named.values()), [data[name] for name in named]


def _check(name, data, shapes):
    found = [np.shape(array) for array in keras.tree.flatten(data)]
    fits = len(found) == len(shapes) and all(
        len(f) == len(s) and all(n in (None, -1, m) for m, n in zip(f, s, strict=True))
        for f, s in zip(found, shapes, strict=True)
    )
    if not fits or not all(map(np.prod, found)):
        raise ValueError(
            f"{name}: the data must have the shapes of the inputs, {shapes}. Received: {found}. "
            "Give one batch of samples."
        )
