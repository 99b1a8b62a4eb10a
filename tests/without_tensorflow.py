"""A Python in which no part of TensorFlow can be imported: `python without_tensorflow.py FOLDER`, on JAX or torch."""

import sys
from pathlib import Path

PARTS = ("tensorflow", "tf_keras", "tensorflow_model_optimization")
sys.modules.update(dict.fromkeys(PARTS))  # importing what is None there fails as what is not installed does

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_admm as ka  # noqa: E402

folder = Path(sys.argv[1])
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2)], name="m")
model.compile("adam", "mse")
model.fit(x, x[:, :2], epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.75)])
print(ka.report(model).total.sparsity)
ka.report(model).to_html(folder / "report.html")
ka.save(model, folder / "m.kadmm")
again = ka.load(folder / "m.kadmm")
print(all(map(np.array_equal, again.get_weights(), model.get_weights())))
print(ka.mask(again).predict(x, verbose=0).shape, len(ka.shrink(model).layers))
for export in (ka.export.to_tf_keras, ka.export.tfmot, lambda m: ka.export.litert(m, folder / "m.tflite")):
    try:
        export(model)
    except ImportError as error:
        print("refused:", error)
assert not any(map(sys.modules.get, PARTS))
