"""Calibration data: a few samples of a model's inputs, in batches."""

from collections.abc import Iterable

import keras
import numpy as np

from keras_admm import checks, errors
from keras_admm.layerwise.passages import called

MUST = "an array of samples, a list or dict of arrays, or an iterable of batches such as a tf.data.Dataset"
REMEDY = "Pass a few hundred typical inputs without labels, x_train[:128]."


def batches(name, data, num_samples, batch_size, seed):
    """A list of batches, each as the model is called with.

    Args:
        name: str, name used in error messages.
        data: an array, or a structure of arrays, one for each input, of which `num_samples` are drawn; or an iterable
            of batches, of inputs alone or of tuples that begin with them, the first of which are taken.
        num_samples, batch_size: ints.
        seed: int, of the draw.
    """
    if isinstance(data, (list, tuple, dict)) or checks.is_array(data):
        return _drawn(name, checks.arrays(name, "data", data, MUST), num_samples, batch_size, seed)
    if isinstance(data, (str, bytes, type)) or not isinstance(data, (Iterable, keras.utils.PyDataset)):
        raise TypeError(checks.refused(name, "data", MUST, data, REMEDY))
    return _first(name, data, num_samples)


def together(batches):
    """Batches as one."""
    return keras.tree.map_structure(lambda *parts: np.concatenate(list(map(np.asarray, parts))), *batches)


def _drawn(name, data, num_samples, batch_size, seed):
    counts = {len(x) if np.ndim(x) else 0 for x in keras.tree.flatten(data)}
    if len(counts) != 1 or not min(counts):
        must = f"{MUST}, all of one length, which is not 0"
        raise ValueError(checks.refused(name, "data", must, data, REMEDY))
    count = counts.pop()
    drawn = np.arange(count)
    if num_samples < count:
        drawn = np.sort(np.random.default_rng(seed).choice(count, num_samples, replace=False))
    parts = (drawn[start : start + batch_size] for start in range(0, len(drawn), batch_size))
    return [keras.tree.map_structure(lambda x, part=part: np.asarray(x)[part], data) for part in parts]


def _first(name, data, num_samples):
    found, count = [], 0
    for batch in data if isinstance(data, Iterable) else map(data.__getitem__, range(len(data))):
        inputs = keras.utils.unpack_x_y_sample_weight(batch)[0] if isinstance(batch, tuple) else batch
        found.append(inputs)
        count += len(keras.tree.flatten(inputs)[0])
        if count >= num_samples:
            return found
    if not found:
        raise ValueError(checks.refused(name, "data", f"{MUST}, with one batch at least", data, REMEDY))
    return found


def check_runs(name, model, batch):
    """Raises ValueError unless a model can be called on a batch, and what comes out is finite."""
    try:
        outputs = called(model, batch)
    except Exception as error:  # whatever a layer says of a shape or a dtype that it cannot take
        raise ValueError(
            f"{name}: `data` must be what the model is called with. Received: data on which {model.name} fails, "
            f"{errors.reason(error)} {REMEDY}"
        ) from error
    flat = [keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in keras.tree.flatten(outputs)]
    if not all(np.isfinite(x).all() for x in flat):
        raise ValueError(
            f"{name}: the model must give finite outputs on the data. Received: data on which {model.name} gives NaN "
            "or infinity. Look for them in the data first."
        )
