"""The model of an architecture that came from a file: built without trust in it."""

import contextlib
import math
import threading
import warnings

import keras
from keras.src import backend

from keras_admm import serialization
from keras_admm.errors import reason
from keras_admm.packed import codec, state
from keras_admm.packed.codec import architecture
from keras_admm.packed.codec.errors import malformed

ONE_AT_A_TIME = threading.RLock()  # two loads that changed `add_weight` in turn would not give it back as it was


OBJECTS = 1 << 16  # that a description may have, whatever is allowed: they take time rather than memory
BYTES_OF_AN_OBJECT = 1 << 14


def built(contents, custom_objects, safe_mode, max_bytes):
    """The model of an architecture, with weights that are still to be read, and its arrays."""
    if not isinstance(contents.architecture, list) or not contents.architecture:
        raise malformed("an architecture that describes no model")
    described = architecture.long(contents.architecture[0])
    _check_objects(described, max_bytes)
    limits = _weights_of_at_most(contents.dense, max_bytes)
    with as_packed_file_error(), limits, serialization.one_object_each({}):
        model = keras.saving.deserialize_keras_object(described, custom_objects, safe_mode)
        if not isinstance(model, keras.Model):
            raise malformed(f"a {type(model).__name__} where a model should be")
        return model, state.arrays(model)


@contextlib.contextmanager
def as_packed_file_error():
    """Whatever Keras has to say of a description that it cannot use, as one kind of error."""
    try:
        yield
    except codec.PackedFileError:
        raise
    except Exception as error:
        raise codec.PackedFileError(
            "packed file: Keras must be able to build the model from its description. Received: "
            f"{type(error).__name__}: {reason(error, 600)} Pass custom_objects for classes and functions of your own."
        ) from error


def _check_objects(described, max_bytes):
    """Refuses a description of so many layers that making them would take minutes, or more memory than is allowed."""
    most, count, left = OBJECTS + max_bytes // BYTES_OF_AN_OBJECT, 0, [described]
    while left:
        thing = left.pop()
        left += thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ()
        count += isinstance(thing, dict) and "class_name" in thing
    if count > most:
        raise malformed(f"an architecture of {count} objects, where max_bytes={max_bytes} allows {most}")


class _Limit:
    """What may still be made, in this thread.

    Args:
        most: bytes.
        words: for the error.
    """

    def __init__(self, most, words):
        self._left, self._words, self._thread = most, words, threading.get_ident()

    @property
    def here(self):
        return threading.get_ident() == self._thread

    def take(self, size):
        self._left -= size
        if self._left < 0:
            raise malformed(self._words)


@contextlib.contextmanager
def _weights_of_at_most(most, states):
    """Layers that are built in this thread may take so many bytes, and Keras's own begin with zeros.

    Keras would make a weight of any size that a description names, and fill it with random numbers; here they are
    all overwritten. The states of stateful layers are in no file: they may take `states` bytes.
    """
    # Twice: wrappers build a layer, and then their copy of it.
    weights = _Limit(2 * most, f"an architecture of more weights than the {most} bytes that the file announces")
    states = _Limit(states, f"stateful layers whose states take more than max_bytes={states}")

    def add_weight(layer, *args, **kwargs):
        if weights.here:
            named = dict(zip(("shape", "initializer", "dtype"), args, strict=False)) | kwargs
            weights.take(_bytes_of(named.get("shape"), named.get("dtype") or layer.variable_dtype))
            if type(layer).__module__.startswith("keras.") and not args:
                kwargs["initializer"] = "zeros"
        return before[0](layer, *args, **kwargs)

    def get_initial_state(layer, batch_size):
        if states.here and layer.stateful:
            spec = backend.compute_output_spec(lambda: before[1](layer, batch_size))
            states.take(sum(_bytes_of(x.shape, x.dtype) for x in keras.tree.flatten(spec)))
        return before[1](layer, batch_size)

    with ONE_AT_A_TIME, warnings.catch_warnings():
        # Of a layer without build(), whose parts are built in its first call, here as in the saved model.
        warnings.filterwarnings("ignore", r"`build\(\)` was called on layer")
        before = keras.layers.Layer.add_weight, keras.layers.RNN.get_initial_state
        keras.layers.Layer.add_weight, keras.layers.RNN.get_initial_state = add_weight, get_initial_state
        try:
            yield
        finally:
            keras.layers.Layer.add_weight, keras.layers.RNN.get_initial_state = before


def _bytes_of(shape, dtype):
    kind = codec.KINDS.get(keras.backend.standardize_dtype(dtype))
    shape = (shape,) if isinstance(shape, int) else shape or ()
    return math.prod(shape) * (kind.bits // 8 if kind else 1)
