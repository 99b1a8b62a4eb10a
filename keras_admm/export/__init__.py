"""Export to LiteRT, TFMOT and tf_keras."""

from keras_admm.export.schemes import strip_tfmot as strip_tfmot
from keras_admm.export.schemes import tfmot as tfmot
from keras_admm.export.tflite import litert as litert
from keras_admm.export.twin import to_tf_keras as to_tf_keras
from keras_admm.export.xnnpack import for_xnnpack as for_xnnpack
