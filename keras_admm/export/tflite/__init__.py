"""Export to LiteRT (TensorFlow Lite): a .tflite file whose outputs are compared with the model's."""

from keras_admm.export.tflite.flatbuffer import Tensor as Tensor
from keras_admm.export.tflite.flatbuffer import tensors as tensors
from keras_admm.export.tflite.kernels import Kernel as Kernel
from keras_admm.export.tflite.report import LiteRTReport as LiteRTReport
from keras_admm.export.tflite.write import litert as litert
