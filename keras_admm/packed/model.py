"""Saving Keras models as packed files, and loading them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_admm import checks, files, hints, serialization, weights
from keras_admm.packed import assets, build, codec, state, trial
from keras_admm.packed.codec import architecture

TAKEN = (".keras", ".h5", ".hdf5", ".tflite", ".npz", ".json")


class TensorSize(NamedTuple):
    """Where the bytes of one tensor went.

    Attributes:
        name: path of the variable in the model.
        shape: tuple of sizes.
        dtype: name.
        data: bytes of its numbers alone, in fractions: small tensors share one stream.
        index: bytes of where its non-zeros are.
        side: bytes of how it is coded, and of scales and lists of values.
    """

    name: str
    shape: tuple
    dtype: str
    data: float
    index: float
    side: float


class Sizes(NamedTuple):
    """Where the bytes of a packed file went; `file` is the sum of all the others.

    Attributes:
        rows: a `TensorSize` for each tensor.
        data: bytes of all numbers alone: what the papers' largest ratios count.
        index: bytes of where the non-zeros are.
        side: bytes of how tensors are coded.
        architecture: bytes of the model's description.
        head: bytes of magic, version, checksum, lengths, and the last byte's unused bits.
        file: bytes of the whole file.
    """

    rows: tuple
    data: float
    index: float
    side: float
    architecture: int
    head: float
    file: int


def save(model: keras.Model, path: hints.Path) -> None:
    """Writes a model into one packed file: its architecture and its weights, each bit of them.

    What `model.save` keeps is kept, but for the optimizer and what `compile` set. The file is written whole or not
    at all. Zeros take next to no room; -0.0, which a product of weights with a mask leaves, takes that of a weight, and
    `keras_admm.strip(keras_admm.mask(model))` has 0.0 there.

    Args:
        model: a built model of Keras 3, of any kind that Keras itself can save.
        path: of the file; `.kadmm` is usual, those of other formats (`.keras`, `.h5`, `.tflite`) are refused.

    Before anything is written the model is made again from its description, which takes its weights' memory once
    more: what could not be loaded is not saved.

    Raises:
        ValueError: for an unbuilt model or one of tf_keras, a dtype that the format does not know, a model that
            does not come back from its description with the same weights, shared by the same layers (the first
            layer that differs is named), or a path that cannot be written or ends as another format's do.

    Example:
        >>> import os, tempfile, keras, keras_admm as ka
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> path = os.path.join(tempfile.mkdtemp(), "model.kadmm")
        >>> ka.save(model, path)
        >>> ka.load(path).layers[0].units
        2
    """
    _check_ending(path)
    files.check_place(path)
    data, _ = pack(model)
    trial.check(model, data)
    with files.whole(path) as partial:
        partial.write_bytes(data)


def load(
    path: hints.Path,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    max_bytes: int = codec.MAX_BYTES,
) -> keras.Model:
    """Reads a model from a packed file: a plain Keras model, not compiled.

    Args:
        path: of the file.
        custom_objects: dict of names to classes and functions that are not registered with Keras.
        safe_mode: whether to refuse what would run code from the file, such as a Lambda layer.
        max_bytes: of memory that the weights may take, and again the states of stateful layers. Default 4 GiB. The
            whole of reading takes a few times as much at most, and up to 1 GiB for small tensors.

    Returns:
        A `keras.Model` with the very weights that were saved.

    Raises:
        PackedFileError: a `ValueError`, for a file that is damaged, cut off, foreign, made for more memory, or that
            Keras cannot make a model of.
    """
    checks.path("load", "path", path)
    checks.boolean("load", "safe_mode", safe_mode)
    _check_reading("load", custom_objects, max_bytes)
    contents = codec.open_bytes(_bytes(path), max_bytes)
    model, arrays = build.built(contents, custom_objects, safe_mode, max_bytes)
    with build.as_packed_file_error():
        tensors, _ = codec.read(contents, [array.spec for array in arrays])
        state.fill(model, arrays, tensors)
        assets.restore(model, contents.architecture[1:])
    return model


def pack(model: keras.Model) -> tuple[bytes, Sizes]:
    """A model as the bytes of a packed file.

    Args:
        model: a built `keras.Model`.

    Returns:
        The bytes, and their `Sizes`.

    Raises:
        ValueError: for an unbuilt model or one of tf_keras, one that cannot be described, or a dtype that the format
            does not know.
    """
    described = contents(model)
    arrays = state.arrays(model)
    data, each = codec.write(described, [array.spec for array in arrays], [array.read() for array in arrays])
    return data, _sizes(data, arrays, each)


def contents(model):
    """What a packed file says of a model besides its weights: its architecture, and files that its layers keep."""
    _check(model)
    described = json.loads(json.dumps(serialization.numbered(trial.described(model))))
    described.pop("compile_config", None)
    return [architecture.short(described), *assets.collect(model)]


def sizes(
    source: keras.Model | hints.Path | bytes,
    custom_objects: Mapping[str, Any] | None = None,
    max_bytes: int = codec.MAX_BYTES,
) -> Sizes:
    """Where the bytes of a packed file go.

    Args:
        source: a path, the bytes of a packed file, or a built model, which is packed to find out.
        custom_objects: as in `load`.
        max_bytes: as in `load`.

    Returns:
        `Sizes`.

    Raises:
        PackedFileError: as `load` does.

    Example:
        >>> import keras, keras_admm as ka
        >>> model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(4, kernel_initializer="zeros")])
        >>> found = ka.packed.sizes(model)
        >>> found.data, found.file < 60
        (0.0, True)
    """
    _check_reading("sizes", custom_objects, max_bytes)
    if isinstance(source, keras.Model):
        return pack(source)[1]
    data = source if isinstance(source, bytes) else _bytes(checks.path("sizes", "source", source))
    contents = codec.open_bytes(data, max_bytes)
    _, arrays = build.built(contents, custom_objects, True, max_bytes)
    return _sizes(data, arrays, codec.read(contents, [array.spec for array in arrays])[1])


def _check_reading(name, custom_objects, max_bytes):
    checks.integer(name, "max_bytes", max_bytes, 0)
    if custom_objects is not None and not isinstance(custom_objects, dict):
        must = "None or a dict of names to classes and functions"
        raise TypeError(checks.refused(name, "custom_objects", must, custom_objects, "Pass {'Layer': Layer}."))


def _sizes(data, arrays, each):
    described = codec.open_bytes(data, codec.ANY_BYTES).described
    rows = tuple(TensorSize(array.name, *array.spec, *size) for array, size in zip(arrays, each, strict=True))
    parts = [sum(getattr(row, part) for row in rows) for part in codec.Size._fields]
    return Sizes(rows, *parts, described, len(data) - described - sum(parts), len(data))


def _bytes(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise codec.PackedFileError(
            f"{path}: the packed file must be there to be read. Received: {error.strerror}. Look for a typing error."
        ) from error


def _check_ending(path):
    ending = Path(checks.path("save", "path", path)).suffix.lower()
    if ending in TAKEN:
        raise ValueError(
            f"save: a packed file must not end in {ending}, by which other programs know files of another format. "
            f"Received: {str(path)!r}. Choose an ending such as .kadmm; model.save writes .keras."
        )


def _check(model):
    weights.check_keras_3(
        "save", model, "Use its own save(); or load what that writes by keras.models.load_model of Keras 3."
    )
    if not model.built:
        raise ValueError(
            f"{model.name}: the model must be built before it can be packed. Received: a model without weights. "
            "Call it on a batch of data first."
        )
