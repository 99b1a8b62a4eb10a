"""Coming from the TensorFlow Model Optimization Toolkit (TFMOT): `python examples/guides/coming_from_tfmot.py`.

No data; a minute or two. Each call of TFMOT's guides and its counterpart:

| TFMOT, tf_keras | keras_admm, Keras 3 and tf_keras |
| --- | --- |
| `prune_low_magnitude(model, ConstantSparsity(0.9, 0))` | `callbacks=[ka.ADMMPrune(0.9, path="constant")]` |
| `PolynomialDecay(0.0, 0.9, 0, end)` | `callbacks=[ka.ADMMPrune(0.9, path="cubic")]` |
| `PruningSchedule` | `path=`, `start=`, or steps: `ka.ADMMPrune([0.9, 0.97, 0.99])` |
| `UpdatePruningStep()` | nothing: the callback is all there is |
| the same in a training loop: `set_model`, `on_train_batch_begin` | `ka.Engine`: `training_loop.py` |
| `PruningSummaries(log_dir)` | `[ka.ADMMPrune(0.9, log_layers=True), keras.callbacks.TensorBoard(log_dir)]` |
| `strip_pruning(model)` | nothing: the model was never wrapped |
| `prune_scope()`, `cluster_scope()` to load a model | nothing: `keras.models.load_model(path)` |
| `sparsity_m_by_n=(2, 4)` | `ka.ADMMPrune(structure="2:4")` |
| `block_size=(4, 1)` | `ka.ADMMPrune(0.9, structure="block(1,4)")`: outputs come first, with TFMOT inputs |
| `block_pooling_type="MAX"` | nothing: the nearest tensor of whole blocks is kept, by the sum of their squares |
| `clone_model(..., clone_function=...)` for some layers | `ka.ADMMPrune(0.9, layers="dense*", exclude="head")` |
| `PrunableLayer`, `ClusterableLayer`, `ClusteringAlgorithm` | `ka.graph.register(MyLayer, ka.graph.Kind(...))` |
| `PruningPolicy` | `layers=`, `exclude=` |
| `PruneForLatencyOnXNNPack()` | `ka.export.for_xnnpack(model)`, and `layers=` of its 1x1 convolutions |
| `cluster_weights(model, number_of_clusters=16, ...)` | `callbacks=[ka.ADMMCluster(16)]` |
| `CentroidInitialization` | nothing: clusters are those of least squares |
| `cluster_per_channel=True` | `ka.ADMMCluster(16, scope="channel")` |
| `preserve_sparsity=True` | nothing: zeros stay |
| `ClusteringSummaries(log_dir)` | `log_layers=True`, as above |
| `strip_clustering(model)` | nothing |
| `quantize_model(model)`, its pqat, cqat, pcqat | `ka.export.tfmot(model, "qat")` ... `"pcqat"` |
| `quantize_annotate_layer`, `quantize_annotate_model`, `quantize_apply` | the same, on `ka.export.tfmot(model)` |
| `quantize_scope()` to load a model | `ka.export.tfmot(model, "pqat")` again, and its `load_weights` |

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
