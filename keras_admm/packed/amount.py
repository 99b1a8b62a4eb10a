"""`PackedBytes`: the whole packed file of a model as what a budget counts, estimated while the model trains."""

import keras
import ml_dtypes
import numpy as np

from keras_admm.errors import named_few
from keras_admm.packed import codec, state
from keras_admm.packed.codec import estimate
from keras_admm.packed.model import contents
from keras_admm.plan import Amount


class PackedBytes(Amount):
    """Bytes of the file that `keras_admm.save` writes: architecture, biases and all else with it."""

    unit = "bytes in a packed file"
    near, room = 1e-3, 8e-3

    def of(self, model, variables):
        told = super().of(model, variables)
        told._model, told._names = model, {id(v): name for name, v in variables.items()}
        told._contents = contents(model)
        empty, _ = codec.write(told._contents, [], [])
        told._described = codec.open_bytes(empty, codec.ANY_BYTES).described
        kept = {id(each.value) for each in state.arrays(model)}
        missing = [name for name, v in variables.items() if id(v) not in kept]
        if missing:
            raise ValueError(
                f"budget: a budget in bytes needs each pruned weight in the file as it is. Received: "
                f"{named_few(missing)}, which the layer saves otherwise. Leave it out with exclude=."
            )
        return told

    def estimate(self, arrays):
        return self.estimator()(arrays)

    def estimator(self):
        found = state.arrays(self._model)
        specs, names = [each.spec for each in found], self._names_of(found)
        bits = [each.read() if name is None else None for each, name in zip(found, names, strict=True)]
        others = [i for i, name in enumerate(names) if name is None]
        counted = estimate.parts([specs[i] for i in others], [bits[i] for i in others])
        # Kernels tell the one after them which of its rows live: they are counted in their places.
        known = {i: part for i, part in zip(others, counted, strict=True) if len(specs[i].shape) < 2}

        def about(arrays):
            pruned = {i: _bits(specs[i], arrays[name]) for i, name in enumerate(names) if name is not None}
            return estimate.size(self._described, specs, [pruned.get(i, each) for i, each in enumerate(bits)], known)

        return about

    def _names_of(self, found):
        return [self._names.get(id(each.value)) for each in found]

    def measure(self, arrays):
        return len(codec.write(self._contents, *self._written(arrays, state.StateArray.read))[0])

    def least(self, arrays):
        return len(codec.write(self._contents, *self._written(arrays, _trained))[0])

    def _written(self, arrays, otherwise):
        """The shapes and dtypes of all that is in the file, and its bits: of the arrays, or of the model as it is."""
        found = state.arrays(self._model)
        names = self._names_of(found)
        bits = [
            otherwise(each) if name is None else _bits(each.spec, arrays[name])
            for each, name in zip(found, names, strict=True)
        ]
        return [each.spec for each in found], bits


def _trained(array):
    """The bits of an array; one that all begins alike, such as biases of 0, as it may be when it was trained."""
    bits, layer = array.read(), array.layer
    alike = bits.size > 1 and (bits == bits.flat[0]).all()
    if not (alike and layer.trainable and keras.backend.is_float_dtype(array.spec.dtype)):
        return bits
    return _bits(array.spec, np.random.default_rng(0).normal(size=array.spec.shape).astype("float32"))


def _bits(spec, array):
    kind = codec.KINDS[spec.dtype]
    dtype = getattr(ml_dtypes, spec.dtype, None) or np.dtype(spec.dtype)
    return np.ascontiguousarray(array.astype(dtype, copy=False)).view(kind.word)
