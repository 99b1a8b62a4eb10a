"""From a dense model to a smaller, faster int8 .tflite: `python examples/guides/faster.py`. No data; a minute or two.

Zeros at single places make a file small; what every processor feels are whole channels that leave. ADMM decides which
(`ADMMPrune(structure="channel")`, to half the MACs), `shrink` takes them out, LiteRT makes int8 of what is left.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from keras import layers
from quickstart import digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()

# A residual network: the channels that an addition joins leave together.
inputs = keras.Input((8, 8, 1))
stream = layers.Conv2D(32, 3, padding="same", activation="relu", name="stem")(inputs)
for block in ("block1", "block2"):
    branch = layers.Conv2D(64, 3, padding="same", activation="relu", name=f"{block}_conv1")(stream)
    branch = layers.Conv2D(32, 3, padding="same", name=f"{block}_conv2")(branch)
    stream = layers.ReLU()(layers.Add()([stream, branch]))
outputs = layers.Dense(10, name="head")(layers.GlobalAveragePooling2D()(stream))
model = keras.Model(inputs, outputs, name="digits")
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
model.fit(x, y, epochs=40, batch_size=32, verbose=0, validation_split=0.1)
ka.export.litert(model, "dense.tflite", quantize="int8", representative_data=x[:200])
before = model.evaluate(x_test, y_test, verbose=0)[1]

prune = ka.ADMMPrune(structure="channel", budget={"macs": 0.5}, verbose=1)
model.fit(x, y, epochs=40, batch_size=32, verbose=0, validation_split=0.1, callbacks=[prune])
small = ka.shrink(model)
small.compile(loss=loss, metrics=["accuracy"])
after = small.evaluate(x_test, y_test, verbose=0)[1]
ka.export.litert(small, "small.tflite", quantize="int8", representative_data=x[:200])

print(ka.report(small))
print(f"dense {before:.2%}, {model.count_params():,} weights; small {after:.2%}, {small.count_params():,} weights")
for name in ("dense.tflite", "small.tflite"):
    print(f"{name}: {Path(name).stat().st_size:,} bytes")
print(ka.latency("dense.tflite", "small.tflite", x[:1]))
