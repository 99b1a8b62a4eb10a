"""Packed files without Keras: arrays of bits and an architecture in JSON, to bytes and back."""

from . import estimate as estimate
from .dtype import KINDS as KINDS
from .dtype import Spec as Spec
from .errors import PackedFileError as PackedFileError
from .file import ANY_BYTES as ANY_BYTES
from .file import MAX_BYTES as MAX_BYTES
from .file import Size as Size
from .file import open_bytes as open_bytes
from .file import read as read
from .file import write as write
