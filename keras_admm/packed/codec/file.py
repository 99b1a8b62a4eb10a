"""The whole file: a head, the architecture, the large tensors' sections, and one stream for all small ones."""

import zlib
from typing import NamedTuple

import numpy as np

from . import bulk, text
from .coder import Decoder, Encoder
from .dtype import KINDS
from .errors import PackedFileError, malformed
from .positions import Memory, positions
from .source import Source, number
from .values import values

MAGIC = b"kad"
VERSION = 1
MAX_BYTES = 4 * 2**30
ANY_BYTES = 1 << 62  # of a file that was just made
PATIENCE = 1 << 20  # steps of the stream that a writer takes, each some microseconds,
LESS_PATIENCE = 1 << 17  # and for a large model
LARGE = 1 << 20  # weights
STEPS = 10  # of a number, about


class Size(NamedTuple):
    """Where the bytes of one tensor went, in fractions: small tensors share one stream.

    Attributes:
        data: of its numbers alone.
        index: of where its non-zeros are.
        side: of how it is coded, and of scales and lists of values.
    """

    data: float
    index: float
    side: float

    @property
    def all(self):
        """Together."""
        return self.data + self.index + self.side


class Contents(NamedTuple):
    """What a file holds before its tensors are read.

    Attributes:
        architecture: what JSON gave.
        dense: bytes of all tensors together, dense.
        head: bytes before the tensors, without the architecture.
        described: bytes of the architecture.
        sections: of the large tensors, as bytes.
        stream: of the small ones.
    """

    architecture: object
    dense: int
    head: int
    described: int
    sections: list
    stream: bytes


def write(architecture, specs, tensors):
    """A packed file.

    Args:
        architecture: anything of JSON.
        specs: list of `Spec`.
        tensors: arrays of these shapes, of their bits as unsigned integers.

    Returns:
        The bytes, and a list of `Size`.

    Raises:
        ValueError: for a dtype that the format does not know.
    """
    _check_dtypes(specs)
    described = text.deflate(architecture)
    coder, memory, sections, sizes = Encoder(), Memory(), [], []
    left = LESS_PATIENCE if sum(spec.size for spec in specs) > LARGE else PATIENCE
    for name, (spec, tensor) in enumerate(zip(specs, tensors, strict=True)):
        before = coder.spent.copy()
        steps = spec.size + STEPS * np.count_nonzero(tensor)
        large = coder.bit(_large(coder), int(steps > left))
        extra = {}
        if large:
            section, extra = bulk.encode(*spec, tensor)
            sections.append(section)
        else:
            left -= steps
            small(coder, name, spec, memory, tensor)
        sizes.append(_size(coder.spent - before, extra))
    dense = number(sum(spec.bytes for spec in specs))
    head = dense + number(len(described)) + described + number(len(sections))
    body = head + b"".join(number(len(s)) + s for s in sections) + coder.bytes()
    return MAGIC + bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body, sizes


def open_bytes(data, max_bytes=MAX_BYTES):
    """Takes a file apart, without reading its tensors.

    Args:
        data: bytes.
        max_bytes: of all that may be made of it.

    Returns:
        `Contents`.

    Raises:
        PackedFileError: for what is no packed file, is damaged, or asks for more.
    """
    body = _checked(data)
    source = Source(body)
    dense = source.number(ANY_BYTES)
    if dense > max_bytes:
        raise PackedFileError(
            f"packed file: its weights must fit into max_bytes={max_bytes}. Received: {dense} bytes of weights. "
            "Raise max_bytes if you trust the file."
        )
    packed = source.take(source.number(source.left))
    described = text.inflate(packed, max_bytes)
    sections = [source.take(source.number(source.left)) for _ in range(source.number(source.left))]
    stream = source.take(source.left)
    head = len(data) - len(packed) - len(stream) - sum(len(section) for section in sections)
    return Contents(described, dense, head, len(packed), sections, stream)


def read(contents, specs):
    """The tensors of a file.

    Args:
        contents: `Contents`.
        specs: list of `Spec`, as the architecture implies them.

    Returns:
        A list of arrays of bits as unsigned integers, and a list of `Size`.

    Raises:
        PackedFileError: where the file does not hold such tensors.
    """
    _check_dtypes(specs)
    dense = sum(spec.bytes for spec in specs)
    if dense != contents.dense:
        raise malformed(f"{contents.dense} bytes of weights where the architecture has {dense}")
    coder, memory, sections = Decoder(contents.stream), Memory(), iter(contents.sections)
    tensors, sizes = [], []
    for name, spec in enumerate(specs):
        before, extra = coder.spent.copy(), {}
        if coder.bit(_large(coder)):
            section = next(sections, b"")
            tensor, extra = bulk.decode(section, *spec)
        else:
            tensor = small(coder, name, spec, memory)
        tensors.append(tensor)
        sizes.append(_size(coder.spent - before, extra))
    if next(sections, None) is not None:
        raise malformed("more sections than large tensors")
    return tensors, sizes


def small(coder, name, spec, memory, tensor=None):
    """Codes a small tensor: whether all its numbers are written or the non-zeros alone, where those are, and they."""
    if not spec.size:
        return np.zeros(spec.shape, KINDS[spec.dtype].word)
    rank = min(len(spec.shape), 2)
    sparse = coder.bit(coder.context("sparse", rank), None if tensor is None else int(not tensor.all()))
    coder.label = "index"
    mask = np.ones(spec.shape, bool)
    if sparse:
        mask = positions(coder, spec.shape, memory, None if tensor is None else tensor != 0)
    elif rank == 2:
        memory.columns = np.ones(spec.shape[-1], bool)
    out = np.zeros(spec.shape, KINDS[spec.dtype].word)
    if mask.any():
        out[mask] = values(coder, name, spec.dtype, int(mask.sum()), None if tensor is None else tensor[mask])
    return out


def _large(coder):
    coder.label = "side"
    return coder.context("large")


def _size(spent, extra):
    return Size(*((spent[label] + extra.get(label, 0)) / 8 for label in Size._fields))


def _check_dtypes(specs):
    for spec in specs:
        if spec.dtype not in KINDS:
            raise ValueError(
                f"packed file: a tensor must be of one of {sorted(KINDS)}. Received: dtype={spec.dtype!r}. "
                "Cast it, or save the model with model.save()."
            )


def _checked(data):
    """A file's body, where its head and its checksum are right."""
    data = memoryview(data)
    if bytes(data[:3]) != MAGIC or len(data) < 8:
        raise malformed("a file of another kind, or one that is cut off")
    if data[3] != VERSION:
        raise PackedFileError(
            f"packed file: its version must be {VERSION}. Received: version {data[3]}. Install a newer keras_admm."
        )
    if zlib.crc32(data[8:]) != int.from_bytes(data[4:8], "little"):
        raise malformed("bytes that do not add up to their checksum")
    return data[8:]
