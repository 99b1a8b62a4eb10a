"""Large models: several devices, and pruning without training: `python examples/guides/large_models.py`. No data.

First the same callback under `tf.distribute.MirroredStrategy`, here on two logical devices of one processor: nothing
changes but the scope in which the model is made. Then a trained model that cannot be trained again: `prune_layerwise`
solves `min ||X W - X W0||^2` for each layer, on a few samples without labels. A minute or two.

Several machines, on TensorFlow: `MultiWorkerMirroredStrategy`, with models of tf_keras alone (`fit` of Keras 3 cannot
train under it, keras-team/keras#20585). Each worker runs the same script with the same callback, its address in
`TF_CONFIG`, and a `backup_dir` of its own if it shall go on after a kill; `tests/test_workers.py` does this with two
processes, one of which is killed and started again.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import tensorflow as tf
from quickstart import conv_net, digits

import keras_admm as ka

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = conv_net()
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
weights = model.get_weights()
model.fit(x, y, epochs=24, batch_size=32, verbose=0, callbacks=[ka.ADMMPrune(0.9)])
total = ka.report(model).total
accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
print(f"{strategy.num_replicas_in_sync} devices: kept {total.kept:,} of {total.weights:,}; test {accuracy:.2%}")

for method in ("magnitude", "wanda", "sparsegpt", "admm"):
    trained = conv_net()
    trained.set_weights(weights)
    ka.prune_layerwise(trained, x[:128], 0.8, method=method, verbose=0)
    accuracy = trained.evaluate(x_test, y_test, verbose=0)[1]
    print(f"80% of each layer without training, {method}: test {accuracy:.2%}")
