"""The model of an architecture that came from a file: built without trust in it."""

import contextlib
import math
import threading

import keras

from keras_admm.packed import codec, state
from keras_admm.packed.codec import architecture
from keras_admm.packed.codec.errors import malformed

ONE_AT_A_TIME = threading.RLock()  # two loads that changed `add_weight` in turn would not give it back as it was


def built(contents, custom_objects, safe_mode):
    """The model of an architecture, with weights that are still to be read, and its slots."""
    if not isinstance(contents.architecture, list) or not contents.architecture:
        raise malformed("an architecture that describes no model")
    described = architecture.long(contents.architecture[0])
    with as_packed_file_error(), _weights_of_at_most(contents.dense):
        model = keras.saving.deserialize_keras_object(described, custom_objects, safe_mode)
        if not isinstance(model, keras.Model):
            raise malformed(f"a {type(model).__name__} where a model should be")
        return model, state.slots(model)


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
            f"{type(error).__name__}: {str(error).strip()[:600]} Pass custom_objects for classes of your own."
        ) from error


@contextlib.contextmanager
def _weights_of_at_most(most):
    """Layers that are built in this thread may take so many bytes, and Keras's own begin with zeros.

    Keras would make a weight of any size that a description names, and fill it with random numbers; here they are
    all overwritten.
    """
    thread = threading.get_ident()
    left = [2 * most]  # wrappers build a layer, and then their copy of it

    def counted(layer, *args, **kwargs):
        if threading.get_ident() != thread:
            return add_weight(layer, *args, **kwargs)
        named = dict(zip(("shape", "initializer", "dtype"), args, strict=False)) | kwargs
        left[0] -= _bytes_of(named.get("shape"), named.get("dtype") or layer.variable_dtype)
        if left[0] < 0:
            raise malformed(f"an architecture of more weights than the {most} bytes that the file announces")
        if type(layer).__module__.startswith("keras.") and not args:
            kwargs["initializer"] = "zeros"
        return add_weight(layer, *args, **kwargs)

    with ONE_AT_A_TIME:
        add_weight = keras.layers.Layer.add_weight
        keras.layers.Layer.add_weight = counted
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = add_weight


def _bytes_of(shape, dtype):
    kind = codec.KINDS.get(keras.backend.standardize_dtype(dtype))
    shape = (shape,) if isinstance(shape, int) else shape or ()
    return math.prod(shape) * (kind.bits // 8 if kind else 1)
