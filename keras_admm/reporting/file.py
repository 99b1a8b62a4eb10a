"""The size of a model's packed file, part by part, without writing it."""

import math
import warnings
from typing import NamedTuple

from keras_admm import packed, weights
from keras_admm.graph import every_layer
from keras_admm.packed import state
from keras_admm.reporting.row import ratio


class PackedFile(NamedTuple):
    """Where the bytes of the whole packed file go: `rows`, `rest`, `architecture` and `head` together are `bytes`.

    Attributes:
        rows: bytes of the report's rows: the sum of their `packed_bytes`.
        rest: bytes of the tensors that are no row: biases, statistics, masks, and what the report leaves out.
        architecture: bytes of the model's description.
        head: bytes of magic, version, checksum and lengths.
        bytes: of the whole file, as `keras_admm.save` writes it.
        dense_bytes: bytes of all numbers in it as float32, each variable once, those of quantized kernels too; masks
            and counters, which are in the file as well, are not among them.
    """

    rows: float
    rest: float
    architecture: int
    head: float
    bytes: int
    dense_bytes: int

    @property
    def ratio(self):
        """`dense_bytes` over `bytes`: of everything in the file."""
        return ratio(self.dense_bytes, self.bytes)

    @property
    def weights_bytes(self):
        """Bytes of the file without the model's description."""
        return self.bytes - self.architecture

    @property
    def weights_ratio(self):
        """`dense_bytes` over `weights_bytes`."""
        return ratio(self.dense_bytes, self.weights_bytes)

    def to_dict(self):
        """The bytes, and the two ratios."""
        return {**self._asdict(), **{name: getattr(self, name) for name in ("ratio", "weights_bytes", "weights_ratio")}}


def pack(model, variables):
    """Packs a model in memory, to see where the bytes go.

    Args:
        model: a built `keras.Model`, or a model of tf_keras, which cannot be packed.
        variables: those with a row.

    Returns:
        A dict of `id(variable)` to the bytes of its data, its index and its side; a `PackedFile` or None; and a
        sentence that says what cannot be known and why, empty if all is.
    """
    if weights.is_tf_keras(model):
        return (
            {},
            None,
            "Packed bytes cannot be known: a packed file holds models of Keras 3, and this one is of tf_keras.",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Keras says to who saves; here nothing is saved
            arrays, sizes = state.arrays(model), packed.sizes(model)
    except Exception as error:  # whatever a layer of the user's raises when it must describe itself
        return {}, None, f"Packed bytes cannot be known: the model cannot be packed ({_sentence(error)})."
    parts = _parts(arrays, sizes)
    found = {id(v): parts[id(v)] for v in variables if id(v) in parts}
    missing = len(variables) - len(found)
    note = (
        f"The packed bytes of {missing} of {len(variables)} variables cannot be told from others'." if missing else ""
    )
    lora = [x.name for x in every_layer(model) if getattr(x, "lora_enabled", False)]
    merged = f"In the packed file LoRA's factors are added to the kernels of {', '.join(lora)}." if lora else ""
    return found, _file(arrays, sizes, found, parts), " ".join(filter(None, (note, merged)))


def _variable(array):
    """The variable that an array of the file stands for: LoRA's factors are added to their kernel there."""
    if getattr(array.layer, "lora_enabled", False) and array.key == "0":
        return vars(array.layer).get("_kernel", vars(array.layer).get("_embeddings"))
    return array.value


def _parts(arrays, sizes):
    """The bytes of each variable; of one that two layers give to the file, all of them."""
    parts = {}
    for array, row in zip(arrays, sizes.rows, strict=True):
        before = parts.get(id(_variable(array)), (0, 0, 0))
        parts[id(_variable(array))] = tuple(a + b for a, b in zip(before, (row.data, row.index, row.side), strict=True))
    return parts


def _file(arrays, sizes, found, parts):
    rows = sum(sum(part) for part in found.values())
    rest = sum(sum(part) for key, part in parts.items() if key not in found)
    counted = [array for array in arrays if "float" in array.spec.dtype or id(_variable(array)) in found]
    numbers = {id(_variable(array)): 4 * math.prod(array.spec.shape) for array in counted}
    return PackedFile(rows, rest, sizes.architecture, sizes.head, sizes.file, sum(numbers.values()))


def _sentence(error):
    """The kind of an error and the beginning of what it says, on one line."""
    said = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
