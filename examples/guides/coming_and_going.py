"""Models that others have made sparse, and ours in others' hands: `python examples/guides/coming_and_going.py`.

No data; a minute or two. Whoever made the zeros: once a model is one of Keras 3, `ka.report` counts them, `ka.mask`
holds them in a plain `fit`, `ka.save` packs them. A product of weights with a mask, which is how most libraries prune,
leaves many a zero as -0.0: `ka.report` tells, and `ka.strip(ka.mask(model))` has zeros that the packed file leaves out.

1. TFMOT's `prune_low_magnitude`: stripped, saved by tf_keras, loaded by Keras 3.
2. A state dict of torch, with zeros: its arrays, with their axes in Keras's order.
3. Layers of another library that are subclasses of Keras's, as those of HGQ2 for hls4ml are: they compute with what a
   quantizer makes of the kernel. `layers="kernel"` says that this is pruned, and no variable of the quantizers.
4. No callback at all: a constraint in `kernel_constraint=` projects after every step of a plain `fit`.
"""

import importlib.util
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from quickstart import digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()


def told(name, model):
    """What each way below ends with: a model of Keras 3, its zeros held, tuned and packed."""
    masked = ka.mask(model)
    masked.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    masked.fit(x, y, epochs=3, batch_size=32, verbose=0)
    ka.save(masked, "model.kadmm")
    total = ka.report(ka.load("model.kadmm"), "kernel").total
    accuracy = masked.evaluate(x_test, y_test, verbose=0)[1]
    print(f"{name}: zeros {total.sparsity:.4f}, tuned {accuracy:.2%}, {os.path.getsize('model.kadmm'):,} bytes packed")


# 1. TFMOT, in tf_keras.
layers = tf_keras.layers
theirs = tf_keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10),
    ]
)
schedule = tfmot.sparsity.keras.ConstantSparsity(0.8, begin_step=100, frequency=10)
wrapped = tfmot.sparsity.keras.prune_low_magnitude(theirs, schedule)
wrapped.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
wrapped.fit(x, y, epochs=10, batch_size=32, verbose=0, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
print(f"in TFMOT's wrappers: zeros {ka.report(wrapped).total.sparsity:.4f}")
stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
stripped.save("tfmot.keras")
told("from TFMOT", keras.models.load_model("tfmot.keras"))

# 2. torch: (outputs, inputs) becomes (inputs, outputs), and channels come first where images are made flat.
if importlib.util.find_spec("torch"):
    import torch
    from torch.nn.utils import prune

    # Here one that was never trained.
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(576, 10))
    for part in (net[0], net[3]):
        prune.l1_unstructured(part, "weight", amount=0.9)
        prune.remove(part, "weight")
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}  # or of torch.load("net.pt")

    layers = [keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.Permute((3, 1, 2)), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(10)])
    kernel, dense = state["0.weight"].transpose(2, 3, 1, 0), state["3.weight"].T
    model.set_weights([kernel, state["0.bias"], dense, state["3.bias"]])
    with torch.no_grad():
        outputs = net(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    print(f"torch and Keras differ by {np.abs(model.predict(x, verbose=0) - outputs).max():.0e} at most")
    told("from torch", model)


# 3. A layer that computes with what a quantizer makes of its kernel.
@keras.saving.register_keras_serializable("guide")
class Rounded(keras.layers.Dense):
    def call(self, inputs):
        steps = keras.ops.round(self.kernel * 16) / 16
        rounded = self.kernel + keras.ops.stop_gradient(steps - self.kernel)
        return self.activation(keras.ops.matmul(inputs, rounded) + self.bias)


model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), Rounded(64, "relu"), Rounded(10)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
prune_kernels = ka.ADMMPrune(0.9, layers="kernel")
model.fit(x, y, epochs=24, batch_size=32, verbose=0, callbacks=[prune_kernels])
told("layers of one's own", model)


# 4. A constraint of a layer, in a plain fit: the set holds after every step, and in what `model.save` writes.
def net(**constraints):
    layers = keras.layers
    made = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu", kernel_constraint=constraints.get("conv")),
            layers.Flatten(),
            layers.Dense(64, activation="relu", kernel_constraint=constraints.get("dense")),
            layers.Dense(10, kernel_constraint=constraints.get("head")),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    return made


dense = net()
dense.fit(x, y, epochs=15, batch_size=32, verbose=0)
sets = ka.constraints
model = net(conv=sets.Levels(4, fit="max"), dense=sets.Sparse(0.9), head=sets.Sparse(structure="2:4"))
model.set_weights(dense.get_weights())
model.fit(x, y, epochs=20, batch_size=32, verbose=0)
for row in ka.report(model).rows:
    print(f"without a callback: {row.name} has {row.sparsity:.2f} zeros, {row.distinct} values")
before, after = (each.evaluate(x_test, y_test, verbose=0)[1] for each in (dense, model))
print(f"without a callback: {after:.2%}, dense {before:.2%}")
