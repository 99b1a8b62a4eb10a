"""Models and arrays in files: loaded without running code of theirs, written whole or not at all."""

import contextlib
import errno
import json
import os
import re
import stat
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_admm import checks, weights
from keras_admm.errors import reason

REGULAR = "a file"
KINDS = [(stat.S_ISREG, REGULAR), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket")]
FULL = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")  # gs://bucket, which pathlib would take for a folder; not C:/
LAMBDA = re.compile(r'"class_name":\s*"(Lambda|__lambda__)"')


def load_model(path):
    """Opens a model, uncompiled, by the Keras that wrote it.

    Args:
        path: a `.keras` or `.h5` file of Keras 3 or tf_keras, or the folder of a tf_keras SavedModel.

    Returns:
        A `keras.Model`, or a model of tf_keras.

    Raises:
        ValueError: for what is no such thing, for weights without an architecture, or for a model with a Lambda
            layer, whose code would run.
    """
    path = Path(checks.path("file", "path", path))
    version, config = _described(path)
    if LAMBDA.search(config):
        raise ValueError(
            f"{path}: a model must not bring code of its own (it is opened in safe mode). Received: a model with a "
            "Lambda layer. If you trust it, load it in Python with safe_mode=False and call keras_admm there."
        )
    load_model = _tf_keras(path).models.load_model if version < 3 else keras.models.load_model
    safe = {} if path.is_dir() else {"safe_mode": True}
    try:
        return load_model(str(path), compile=False, **safe)
    except Exception as error:  # Keras raises of every kind for files that are damaged or foreign
        raise ValueError(
            f"{path}: the file must hold a model that Keras {version} can open in safe mode. "
            f"Received: {reason(error).rstrip('.')}. Save it again, or, if it has classes of its own, "
            "import the module that registers them and call keras_admm in Python."
        ) from error


def save_model(model, path):
    """Writes a model whole or not at all: a `.keras` file, or for tf_keras also the folder of a SavedModel.

    Raises:
        ValueError: for another ending, or a folder that is there already.
    """
    path = Path(path)
    if path.suffix != ".keras" and (path.suffix or not weights.is_tf_keras(model)):
        raise ValueError(
            f"{path}: a model's file must end in .keras (tf_keras: or have no ending, for the folder of a SavedModel). "
            f"Received: {path.name!r}. Choose such a name."
        )
    with whole(path) as partial:
        model.save(str(partial))


def save_saved_model(model, path):
    """Writes the folder of a SavedModel for serving, whole or not at all.

    Raises:
        ValueError: on another backend than TensorFlow, or for a folder that is there already.
    """
    if not weights.is_tf_keras(model) and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{path}: a SavedModel is written on the TensorFlow backend. Received: the {keras.backend.backend()} "
            "backend. Run again with KERAS_BACKEND=tensorflow."
        )
    quiet = {} if weights.is_tf_keras(model) else {"verbose": False}
    with whole(path) as partial:
        model.export(str(partial), **quiet)


def parted(path):
    """The file of `FILE.npz:NAME`, and the name, which may have colons itself; of another path that, and no name."""
    file, ending, name = path.partition(".npz:")
    return file + ending.rstrip(":"), name


def load_array(path, names=()):
    """Reads an array, or one for each input of a model, without pickles.

    Args:
        path: `FILE.npy`, `FILE.npz` with one array, `FILE.npz:NAME`, or `FILE.npz` with an array for each of `names`.
        names: list of str, the inputs of the model that it is for.

    Returns:
        An array, or a dict of the names to arrays.

    Raises:
        ValueError: for a missing, damaged or foreign file, a name that is not in it, or a single number.
    """
    file, name = parted(path)
    try:
        array, found = _read(file, name, names)
    except Exception as error:  # NumPy, zipfile and zlib raise of every kind for files that are damaged
        raise _no_data(file, reason(error).rstrip(".")) from error
    if array is None and name:
        raise ValueError(
            f"{file}: it must have an array of the name {name!r}. Received: {found}. Write it there under that name."
        )
    if array is None:
        inputs = f", or an array for each input there: {', '.join(names)}" if names else ""
        raise ValueError(
            f"{file}: one of its arrays must be named. Received: {path!r}, where there are {found}. Write "
            f"{file}:NAME{inputs}."
        )
    for each in array.values() if isinstance(array, dict) else [array]:
        if not isinstance(each, np.ndarray) or not each.ndim or each.dtype.kind not in "biuf":
            shown = f"{each.dtype}, shape {each.shape}" if isinstance(each, np.ndarray) else type(each).__name__
            raise _no_data(file, shown)
    return array


def _read(file, name, inputs):
    """An array or a dict of inputs, None where none of several is of this name, and the names of all."""
    with open(file, "rb") as opened:  # np.load leaves a damaged one open
        loaded = np.load(opened, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, []
        names = loaded.files
        if not name and len(names) > 1 and inputs and set(inputs) <= set(names):
            return {each: loaded[each] for each in inputs}, names
        name = name or (names[0] if len(names) == 1 else "")
        return loaded[name] if name in names else None, names


def _no_data(file, received):
    return ValueError(
        f"{file}: the data must be an .npy or .npz file of numbers, the samples first. Received: {received}. Write it "
        "with numpy.save."
    )


@contextlib.contextmanager
def whole(path):
    """A path beside `path` to write to, moved there when what is written is whole; else all stays as it was.

    Raises:
        ValueError: before anything is written, for what `check_place` refuses; after it, for a disk that is full.
    """
    try:
        check_place(path)
        path = Path(path).absolute()
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-", ignore_cleanup_errors=True) as folder:
            yield Path(folder) / path.name
            os.replace(Path(folder) / path.name, path)
    except Exception as error:  # TensorFlow has errors of its own for a disk that is full
        full = next((words for words in FULL if words in str(error)), None)
        if not full and not isinstance(error, OSError):
            raise
        raise ValueError(
            f"{path}: it must be in a folder that can be written, with room enough. Received: "
            f"{full or error.strerror or reason(error)}. Nothing was changed there. Choose another, or make room."
        ) from error


def check_place(path):
    """Raises the sentence that says why no file can be written at a path: all but nothing and regular files stay."""
    checks.path("file", "path", path)
    if ADDRESS.match(str(path)):
        raise ValueError(
            f"{path}: it must be a path of this machine's file system. Received: an address. Write to a path, and copy "
            "the file there."
        )
    path, there = Path(path).absolute(), kind(path)
    if there not in (None, REGULAR):
        raise ValueError(
            f"{path}: only a regular file is written over; a folder, a link or a device never. Received: {there} that "
            "is there already. Choose another path."
        )
    if there and not os.access(path, os.W_OK):
        raise ValueError(
            f"{path}: a file that is write-protected is not written over. Received: one that is there already. Choose "
            "another path."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"{path}: it must be in a folder that can be written. Received: {kind(path.parent) or 'nothing'} at "
            f"{path.parent}. Make the folder, or choose another."
        )


def kind(path):
    """What is at a path, in words, or None for nothing; a link is not followed."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return "a link" if os.path.exists(path) else "a link to nowhere"
    return next((words for is_one, words in KINDS if is_one(mode)), "a device")


def _described(path):
    """The major version of the Keras that wrote a model, and its architecture as JSON; neither from code."""
    import h5py

    if not path.exists():
        raise ValueError(f"{path}: the model must be there. Received: a path to nothing. Look for a typing error.")
    if path.is_dir():
        return _of_saved_model(path)
    if zipfile.is_zipfile(path):
        read, without = _of_archive, "a zip file without a model's description"
    elif h5py.is_hdf5(path):
        read, without = _of_hdf5, "a damaged .h5 file"
    else:
        raise _foreign(path, "a file of another kind")
    try:
        version, config = read(path)
        major = int(str(version).split(".")[0])
    except Exception as error:  # h5py, zipfile and zlib raise of every kind for files that are damaged
        raise _foreign(path, without) from error
    if not config:
        raise _foreign(path, "weights without an architecture")
    return major, str(config)


def _of_archive(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("metadata.json"))["keras_version"], archive.read("config.json").decode()


def _of_hdf5(path):
    import h5py

    with h5py.File(path) as file:
        return file.attrs.get("keras_version", "2"), file.attrs.get("model_config")


def _of_saved_model(path):
    described = path / "keras_metadata.pb"
    if not (path / "saved_model.pb").exists():
        raise _foreign(path, "a folder without saved_model.pb")
    if not described.exists():
        raise _foreign(path, "a SavedModel without keras_metadata.pb, made to be served and not to be trained")
    return 2, described.read_bytes().decode("latin-1")


def _foreign(path, what):
    return ValueError(
        f"{path}: the model must be a .keras or .h5 file, or the folder of a tf_keras SavedModel. Received: {what}. "
        "Save it with model.save('model.keras')."
    )


def _tf_keras(path):
    try:
        import tf_keras
    except ImportError as error:
        raise ImportError(
            f"{path}: tf_keras must be installed to open what it wrote. Received: an environment without it. "
            "Run: pip install tf_keras"
        ) from error
    return tf_keras
