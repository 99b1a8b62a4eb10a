"""Large models on JAX: data and model parallelism: `python examples/guides/large_models_jax.py`. No data;
`pip install ".[jax]"` as well.

Under `keras.distribution`, here on two devices of one processor: `DataParallel`, where each has all weights and a part
of the batch, which they must divide; and `ModelParallel`, where the kernel of the largest layer lies on them in parts.
With `state="device"` it stays so while it is pruned: only counts of weights come to the host. A minute or two.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from quickstart import conv_net, digits

import keras_admm as ka

x, x_test, y, y_test = digits()
x, y, x_test, y_test = x[:1344], y[:1344], x_test[:448], y_test[:448]  # in batches of 32


def pruned(name, **how):
    keras.utils.set_random_seed(0)
    model = conv_net()
    model.fit(x, y, epochs=8, batch_size=32, verbose=0)
    model.fit(x, y, epochs=12, batch_size=32, verbose=0, callbacks=[ka.ADMMPrune(0.9, **how)])
    total = ka.report(model).total
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    print(f"{name}: kept {total.kept:,} of {total.weights:,}; test {accuracy:.2%}", flush=True)
    return model


distribution, devices = keras.distribution, keras.distribution.list_devices()
distribution.set_distribution(distribution.DataParallel(devices=devices))
pruned(f"DataParallel, {len(devices)} devices")

layout = distribution.LayoutMap(distribution.DeviceMesh((1, len(devices)), ("batch", "model"), devices))
layout[".*fc1/kernel"] = (None, "model")  # half of the outputs each
distribution.set_distribution(distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
model = pruned(f"ModelParallel, {len(devices)} devices", state="device")
kernel = model.get_layer("fc1").kernel
parts = [part.data.shape for part in kernel.value.addressable_shards]
print(f"fc1/kernel {tuple(kernel.shape)} is in {len(parts)} parts of {parts[0]}")
