"""Choose what to prune, and how much: `python examples/guides/what_and_how_much.py`. No data; a minute or two.

Which layers (`layers`, `exclude`), how the zeros are divided over them (`allocation`), what is zeroed as one
(`structure`), and a few moderate steps towards an extreme sparsity (a list).
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from quickstart import conv_net, digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
dense = conv_net()
dense.fit(x, y, epochs=15, batch_size=32, verbose=0)
weights = dense.get_weights()

CHOICES = {
    "90% of all kernels, one threshold": ka.ADMMPrune(0.9),
    "90% of each kernel": ka.ADMMPrune(0.9, allocation="uniform"),
    "more where a kernel is large (ERK)": ka.ADMMPrune(0.9, allocation="erk"),
    "the dense layers alone": ka.ADMMPrune(0.9, layers="fc*"),
    "all but the first": ka.ADMMPrune(0.9, exclude="conv1"),
    "more where outliers are few (OWL)": ka.ADMMPrune(0.9, allocation=ka.allocation.OWL(x[:200])),
    "a sparsity for each": ka.ADMMPrune(0.9, allocation={"conv*": 0.5, "fc1": 0.95}),
    "2 of 4 neighbouring inputs": ka.ADMMPrune(structure="2:4", exclude="conv1"),
    "half of the filters": ka.ADMMPrune(0.5, structure="filter"),
    "in steps: 90%, 97%, 99%": ka.ADMMPrune([0.9, 0.97, 0.99]),
    "99% at once": ka.ADMMPrune(0.99),
}

print(f"{'dense':36} {dense.evaluate(x_test, y_test, verbose=0)[1]:.2%}")
for name, prune in CHOICES.items():
    model = conv_net()
    model.set_weights(weights)
    model.fit(x, y, epochs=18, batch_size=32, verbose=0, callbacks=[prune])
    shares = ", ".join(f"{row.layer.split('/')[-1]} {row.sparsity:.0%}" for row in ka.report(model).rows)
    print(f"{name:36} {model.evaluate(x_test, y_test, verbose=0)[1]:.2%}   zeros: {shares}")
