"""Extend it: a constraint, a penalty and a layer of your own: `python examples/guides/extending.py`. No data; seconds.

A constraint is a set that a tensor can be projected on; a penalty says what a training step does to a weight that is
pulled towards it; a row of `keras_admm.graph.register` says which axes of a layer's kernel are inputs and outputs.
More of each kind, tried on three backends, is in `tests/test_extending.py`.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import math
from dataclasses import dataclass

import keras
from keras import ops
from quickstart import conv_net, digits

import keras_admm as ka
from keras_admm import graph
from keras_admm.attach import StepRule
from keras_admm.constraints import Set


class NonNegative(Set):
    """Tensors without negative weights: the nearest one is `max(w, 0)`."""

    def __call__(self, x):
        return ops.relu(x)


class SignPull(StepRule):
    """A pull of the same strength whatever the distance: L1 in the place of L2."""

    def gradient(self, gradient, w, scale):
        return ops.convert_to_tensor(gradient) + scale * self.state.rho * ops.sign(self.pull(w))


@dataclass(frozen=True, kw_only=True)
class SignPenalty(ka.penalties.Penalty):
    def rule(self):
        return SignPull()


class Projection(keras.layers.Layer):
    """A layer that no library knows: `y = x @ w`."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 10), name="w")

    def call(self, x):
        return x @ self.w


kernel = graph.Kernel("w", inputs=0, outputs=1)
graph.register(Projection, graph.Kind(kernels=(kernel,), uses=lambda layer, inputs, outputs: math.prod(outputs[:-1])))

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
model = keras.Sequential([*conv_net().layers[:-1], Projection(name="head")])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
model.fit(x, y, epochs=15, batch_size=32, verbose=0)

model.fit(x, y, epochs=16, batch_size=32, verbose=0, callbacks=[ka.ADMMPrune(0.8, penalty=SignPenalty(rho=1e-3))])
print(ka.report(model))
model.fit(x, y, epochs=8, batch_size=32, verbose=0, callbacks=[ka.ADMM({"*head/w": NonNegative()})])
least = float(ops.min(model.layers[-1].w))
print(f"the smallest weight of the head is {least:g}; test {model.evaluate(x_test, y_test, verbose=0)[1]:.2%}")
