"""What a model looks at, before and after pruning: `python examples/guides/what_it_looks_at.py`. No data; a minute.

A conv net on scikit-learn's handwritten digits is pruned 20x. Does the small one still look at the same strokes?
`what_it_looks_at.html` has the saliency of each digit under both, and the image that each finds most typical of a
class.
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
dense, pruned = conv_net(), conv_net()
dense.fit(x, y, epochs=15, batch_size=32, verbose=0)
pruned.set_weights(dense.get_weights())
pruned.fit(x, y, epochs=40, batch_size=32, verbose=0, callbacks=[ka.ADMMPrune(sparsity=0.95)])

print(ka.compare({"dense": dense, "pruned 20x": pruned}, x_test, y_test))
# Where one digit is for the dense model, place by place; any method of `saliency` is drawn by `method=`.
print(ka.explain.saliency(dense, x_test[:1], y_test[:1]).sum_over("channel")[0].round(2))
ka.dashboard({"dense": dense, "pruned 20x": pruned}, x_test, y_test, "what_it_looks_at.html", samples=10)
print("what_it_looks_at.html: open it in a browser")
