"""Export to LiteRT (TensorFlow Lite): a .tflite file whose outputs are compared with the model's."""

from keras_admm.export.litert.flatbuffer import Tensor as Tensor
from keras_admm.export.litert.flatbuffer import tensors as tensors
from keras_admm.export.litert.kernels import Kernel as Kernel
from keras_admm.export.litert.report import LiteRTReport as LiteRTReport
from keras_admm.export.litert.write import litert as litert
