"""Packed files: a whole model in few bytes, as format.md describes them."""

from keras_admm.packed.amount import PackedBytes as PackedBytes
from keras_admm.packed.codec import PackedFileError as PackedFileError
from keras_admm.packed.model import Sizes as Sizes
from keras_admm.packed.model import TensorSize as TensorSize
from keras_admm.packed.model import load as load
from keras_admm.packed.model import pack as pack
from keras_admm.packed.model import save as save
from keras_admm.packed.model import sizes as sizes
