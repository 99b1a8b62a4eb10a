"""From Keras to LiteRT (TensorFlow Lite): `python examples/guides/to_litert.py`. No data; a minute or two.

The ways in which a pruned model becomes a .tflite file, what each stores of its zeros, and two of them timed in pairs.
Every file is run by LiteRT's interpreter and compared with the model before it is called done.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from quickstart import conv_net, digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
model = conv_net()
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
ka.export.litert(model, "dense.tflite")
model.fit(x, y, epochs=24, batch_size=32, verbose=0, callbacks=[ka.ADMMPrune(0.9)])

for quantize in (None, "float16", "dynamic_int8", "int8", "int4"):
    data = x[:200] if quantize == "int8" else None
    report = ka.export.litert(model, f"{quantize}.tflite", quantize=quantize, representative_data=data)
    print(f"{quantize or 'float32':13} {report.bytes:7,} bytes, {report.gzip_bytes:6,} by gzip; zeros: {report.sparse}")
print(ka.latency("dense.tflite", "int8.tflite", x[:1]))

# What single zeros do not do: make it faster. Whole channels do (faster.py), and blocks of Dense layers of float32.
twin = ka.export.to_tf_keras(model)  # the same model in tf_keras, for what else is there
# `ka.export.tfmot(model, "pqat")` is one that TFMOT trains quantized, with its zeros held: coming_from_tfmot.py.
print(type(twin).__module__, twin.count_params(), "weights")
