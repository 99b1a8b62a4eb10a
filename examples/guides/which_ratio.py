"""Which sparsity for which layer? Three ways that ask for none of them: `python examples/guides/which_ratio.py`.

One number for the whole model, `ADMMPrune(sparsity=...)`: one threshold decides what each layer keeps. One tolerance,
`ADMMPrune(max_accuracy_drop=...)`: as far as the accuracy allows. `OLMP(delta, ...)`: thresholds of all layers are
searched on validation data. On scikit-learn's digits, no data to be fetched; a few minutes. `ka.sensitivity` shows
beforehand which layers bear little.
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
validation = x[-200:], y[-200:]
x, y = x[:-200], y[:-200]
model = conv_net()
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
dense = model.get_weights()
print(ka.sensitivity(model, validation, verbose=0), "\n")

ways = {
    "one sparsity": ka.ADMMPrune(sparsity=0.95),
    "one tolerance": ka.ADMMPrune(max_accuracy_drop=0.01),
    "OLMP": ka.OLMP(0.04, validation_data=validation),
}
for name, callback in ways.items():
    model = conv_net()
    model.set_weights(dense)
    model.fit(x, y, epochs=48, batch_size=64, verbose=0, validation_data=validation, callbacks=[callback])
    rows = ka.report(model).rows
    kept = ", ".join(f"{row.layer.split('/')[-1]} {row.kept:,} of {row.weights:,}" for row in rows)
    rate = sum(row.weights for row in rows) / sum(row.kept for row in rows)
    scores = [model.evaluate(*pair, verbose=0)[1] for pair in (validation, (x_test, y_test))]
    print(f"{name}: {rate:.1f}x, validation {scores[0]:.2%}, test {scores[1]:.2%}\n  {kept}")
