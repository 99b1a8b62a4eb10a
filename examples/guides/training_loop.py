"""ADMM pruning in a training loop of your own: `python examples/guides/training_loop.py`. No data; under a minute.

`keras_admm.Engine` owns all that a run needs and nothing of the loop. With a Keras optimizer it hooks itself into
`optimizer.apply`: the loop stays as it was, but for `begin`, `end_epoch` and `finish`. On TensorFlow here; on JAX and
torch the same three calls, see `tests/test_engine.py`.
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

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
model = conv_net()
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=0).batch(32)
optimizer, loss_of = model.optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)

step = ka.Step(target=ka.PruningTarget(0.95, path="root"), admm_epochs=0.75)
plan = ka.Plan(steps=[step], penalty=ka.penalties.ProximalPenalty(rho=0.03, rho_end=0.3), update_every="20 steps")
engine = ka.Engine(model, plan)
engine.begin(epochs=24, steps_per_epoch=len(data))


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)


for epoch in range(24):
    for batch in data:
        train_step(*batch)
        engine.end_batch()
    progress = engine.end_epoch()
    if epoch % 6 == 5:
        print(f"epoch {epoch + 1}: sparsity {progress.sparsity:.4f}, primal residual {progress.admm_primal:.3f}")
engine.finish()
accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
print(f"kept {ka.report(model).total.kept:,} of {ka.report(model).total.weights:,}; test {accuracy:.2%}")
