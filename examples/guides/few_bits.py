"""Few bits and a tiny file: `python examples/guides/few_bits.py`. No data; a minute or two.

Quantization and clustering as further sets of ADMM: levels of 3 bits, binary weights, 16 clusters, and zeros and levels
in one `fit`. Every weight ends exactly on its value, and `ka.save` stores what is left: which value, and where.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from quickstart import conv_net, digits

import keras_admm as ka
from keras_admm.constraints import Levels, Sparse

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
dense = conv_net()
dense.fit(x, y, epochs=15, batch_size=32, verbose=0)
weights = dense.get_weights()

WAYS = {
    "3 bits": ka.ADMMQuantize(bits=3),
    "binary": ka.ADMMQuantize(levels="binary"),
    "16 clusters": ka.ADMMCluster(clusters=16),
    "16 clusters, one of them 0": ka.ADMMCluster(clusters=16, zero=True),
    "90% zeros, then 3 bits": ka.ADMM([Sparse(0.9), Levels(3, zero=False)]),
}


def told(name, model):
    ka.save(model, "few.kadmm")
    distinct = max(row.distinct for row in ka.report(model).rows)
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    print(
        f"{name:28} {accuracy:.2%}   at most {distinct:,} values a kernel, {Path('few.kadmm').stat().st_size:,} bytes"
    )


told("dense", dense)
for name, callback in WAYS.items():
    model = conv_net()
    model.set_weights(weights)
    model.fit(x, y, epochs=24, batch_size=32, verbose=0, callbacks=[callback])
    told(name, model)
