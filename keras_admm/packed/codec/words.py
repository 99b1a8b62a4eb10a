"""Words of architectures, the commonest last: what `text` deflates after."""

import json

from .defaults import DEFAULTS

_TYPICAL = [
    ["Functional", "model", [["InputLayer", {"batch_shape": [None, 224, 224, 3]}]]],
    ["BatchNormalization", {}, [{"args": [{"@": "conv2d"}], "kwargs": {"mask": None}}]],
    ["Dropout", {}, [{"args": [{"@": "dense"}], "kwargs": {"training": False}}]],
    ["Add", {}, [{"args": [[{"@": "add"}, {"@": "batch_normalization"}]], "kwargs": {}}]],
    ["LSTM", {"units": 64, "return_sequences": True}],
    ["Embedding", {"input_dim": 10000, "output_dim": 128}],
    ["Activation", {"activation": "relu"}, [{"args": [{"@": "batch_normalization_"}], "kwargs": {}}]],
    ["Conv2D", {"name": "conv2d_", "filters": 128, "kernel_size": [1, 1], "strides": [2, 2], "use_bias": False}],
    ["Conv2D", {"name": "conv2d", "filters": 256, "kernel_size": [3, 3], "padding": "same", "activation": "relu"}],
    ["Dropout", {"rate": 0.5}],
    "GlobalAveragePooling2D",
    ["Dense", {"name": "dense", "units": 10, "activation": "softmax"}],
    ["Sequential", "sequential", [["InputLayer", {"batch_shape": [None, 784]}]]],
    ["Dense", {"units": 300, "activation": "relu"}],
    ["Dense", {"units": 100, "activation": "relu"}],
    ["Sequential", "model", [["InputLayer", {"batch_shape": [None, 32, 32, 3]}]]],
    ["Sequential", "sequential", [["InputLayer", {"batch_shape": [None, 28, 28, 1]}]]],
    ["Conv2D", {"name": "conv1", "filters": 32, "kernel_size": [5, 5], "activation": "relu"}],
    "MaxPooling2D",
    ["Conv2D", {"name": "conv2", "filters": 64, "kernel_size": [5, 5], "activation": "relu"}],
    "MaxPooling2D",
    "Flatten",
    ["Dense", {"name": "fc1", "units": 512, "activation": "relu"}],
    ["Dense", {"name": "fc2", "units": 10}],
]


def _text(thing):
    return json.dumps(thing, separators=(",", ":"))


WORDS = (
    ",".join(_text({"module": "keras.layers", "class_name": c, "config": config}) for c, config in DEFAULTS.items())
    + _text(_TYPICAL)
).encode()
