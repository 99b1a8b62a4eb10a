"""Other ways to a small model, a few lines each: `python examples/guides/more_ways.py`. No data; minutes.

Low rank, widths that come out, a size in the place of a ratio, several models at once, levels without training; and the
parts that these are made of, for those who put them together anew.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
from quickstart import conv_net, digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
dense = conv_net()
dense.fit(x, y, epochs=10, batch_size=32, verbose=0)


def trained(callback, epochs=12):
    """The dense model, trained on with a callback."""
    model = conv_net()
    model.set_weights(dense.get_weights())
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0, callbacks=[callback])
    return model


def told(name, model):
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    print(f"{name:34} {accuracy:7.2%} {ka.report(model).total.kept:>9,} weights")


told("dense", dense)

# Low rank: each layer becomes two smaller ones.
for name, callback in {
    "ADMMLowRank": ka.ADMMLowRank(budget={"macs": 0.5}),
    "the same, as a target": ka.ADMM(ka.LowRankTarget(energy=0.9), update_every="auto"),
    "TRP": ka.TRP(energy=0.98),
}.items():
    told(f"{name}, factorized", ka.factorize(trained(callback), verbose=0))

# The same without any training, by what the layers of the dense model give on some images.
told("factorized by what layers give", ka.factorize(dense, budget={"macs": 0.5}, data=x, verbose=0))

# Channels whose number in each layer comes out, of which `shrink` makes a smaller model.
told("ADMMAdaptive, shrunk", ka.shrink(trained(ka.ADMMAdaptive({"params": 0.5}))))

# So many bytes in the place of a ratio: of the whole file that `save` writes.
small = trained(ka.ADMMPrune(budget={"bytes": 10_000}))
ka.save(small, "small.kadmm")
told(f"budget: {os.path.getsize('small.kadmm'):,} bytes", small)
print("weights that no output can feel:", sum(ka.purify(small).values()))
try:
    ka.load(__file__)
except ka.PackedFileError as error:
    print(f"a file of another kind: {error}"[:100])

# Several models alive, each next sparsity tried from all of them.
search = conv_net()
search.set_weights(dense.get_weights())
found = ka.progressive_search(
    search,
    [0.8, 0.9, 0.95],
    lambda model, callbacks: model.fit(
        x, y, epochs=6, batch_size=32, verbose=0, validation_split=0.1, callbacks=callbacks
    ),
    candidates=2,
    verbose=0,
)
told("progressive_search", search)

# Levels on a few samples, without labels or training.
levels = conv_net()
levels.set_weights(dense.get_weights())
ka.quantize_layerwise(levels, x[:128], 4, sparsity=0.5, verbose=0)
told("quantize_layerwise, 4 bits", levels)
ka.prune_layerwise(levels, x[:128], 0.6, method=ka.layerwise.ADMM(iterations=100), verbose=0)

# How weights on levels are trained, and how a run is drawn.
quantize = ka.ADMMQuantize(3, retraining=ka.retraining.StraightThrough(settle=0.5))
told("3 bits, half of the time settled", trained(quantize))
model = conv_net()
ka.plots.plot_history(model.fit(x, y, epochs=4, verbose=0, callbacks=[ka.ADMMPrune(0.5)]), "history.png")

# The parts: how a budget is divided, how a sparsity tightens, a pull as a regularizer, and a search without gradients.
kernels = {v.path: keras.ops.convert_to_numpy(v) for v in dense.trainable_variables if len(v.shape) > 1}
print("of 1,000 weights:", ka.allocate(kernels, 1 - 1000 / sum(k.size for k in kernels.values()), "lamp"))
print("half way to 90%:", round(ka.schedules.tighten(0.0, 0.9, 0.5, "cubic"), 3))
pull = keras.layers.Dense(2, kernel_regularizer=ka.ADMMRegularizer(np.zeros((4, 2)), rho=0.1))
pull.build((None, 4))
print("least of (x - 1)^2:", np.round(ka.search.minimize(lambda x: float((x[0] - 1) ** 2), [0.0], (-2, 2), 300).x, 1))


class Rest(ka.Target):
    """A target is asked for the set of each weight: here all but the last layer are half zeros."""

    def sets(self, arrays, fraction):
        return {name: ka.constraints.Sparse(0.5) for name in list(arrays)[:-1]}

    def get_config(self):
        return {}


told("a target of one's own", trained(ka.ADMM(Rest())))
