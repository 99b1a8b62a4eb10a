"""Coming from the TensorFlow Model Optimization Toolkit (TFMOT): `python examples/guides/coming_from_tfmot.py`.

No data; a minute or two. Each call of TFMOT's guides and its counterpart:

| TFMOT, tf_keras | keras_admm, Keras 3 and tf_keras |
| --- | --- |
| `prune_low_magnitude(model, ConstantSparsity(0.9, 0))` | `callbacks=[ka.ADMMPrune(0.9, path="constant")]` |
| `PolynomialDecay(0.0, 0.9, 0, end)` | `callbacks=[ka.ADMMPrune(0.9, path="cubic")]` |
| `UpdatePruningStep()` | nothing: the callback is all there is |
| `PruningSummaries(log_dir)` | `[ka.ADMMPrune(0.9, log_layers=True), keras.callbacks.TensorBoard(log_dir)]` |
| `strip_pruning(model)` | nothing: the model was never wrapped |
| `sparsity_m_by_n=(2, 4)` | `ka.ADMMPrune(structure="2:4")` |
| `block_size=(4, 1)` | `ka.ADMMPrune(0.9, structure="block(4,1)")` |
| `clone_model(..., clone_function=...)` for some layers | `ka.ADMMPrune(0.9, layers="dense*", exclude="head")` |
| `prunable_layer.PrunableLayer` | `ka.graph.register(MyLayer, ka.graph.Kind(...))`, where names do not tell |
| `PruningPolicy` | `layers=`, `exclude=` |
| `cluster_weights(model, number_of_clusters=16, ...)` | `callbacks=[ka.ADMMCluster(16)]` |
| `quantize_model(model)` and pqat, cqat, pcqat | `ka.export.tfmot(model, "qat")` ... `"pcqat"` |

What to unlearn: the sparsity is the model's, not each layer's (`allocation="uniform"` is TFMOT's way, and worse); zeros
are there when `fit` returns; a later plain `fit` fills them, unless `ka.mask` holds them; nothing is recompiled. How a
model that TFMOT has pruned comes to Keras 3, its zeros held and packed: `coming_and_going.py`.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import tensorflow_model_optimization as tfmot
from quickstart import conv_net, digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
model = conv_net()
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
print(f"dense {model.evaluate(x_test, y_test, verbose=0)[1]:.2%}")

# TFMOT: prune_low_magnitude, compile, fit with UpdatePruningStep, strip_pruning. Here:
model.fit(x, y, epochs=24, batch_size=32, verbose=0, callbacks=[ka.ADMMPrune(0.9)])
print(f"pruned 10x {model.evaluate(x_test, y_test, verbose=0)[1]:.2%}, zeros {ka.report(model).total.sparsity:.4f}")

# A model that TFMOT has pruned: our report, masks and packed file read its zeros, wrapped or stripped.
twin = ka.export.to_tf_keras(model)
wrapped = tfmot.sparsity.keras.prune_low_magnitude(twin)
print(f"zeros of the model in TFMOT's wrappers: {ka.report(wrapped).total.sparsity:.4f}")
stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
print(f"stripped: {ka.report(stripped).total.sparsity:.4f}")

# Quantization-aware training that keeps the zeros is TFMOT's own, made ready.
aware = ka.export.tfmot(model, "pqat")
aware.compile("adam", "sparse_categorical_crossentropy")
aware.fit(x, y, epochs=1, batch_size=32, verbose=0)
report = ka.export.litert(ka.export.strip_tfmot(aware), "aware.tflite")
print(f"int8 by quantization-aware training: {report.bytes:,} bytes; zeros: {report.sparse}")
