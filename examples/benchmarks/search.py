"""What a search of `OLMP` costs beside bare forward passes of the same batch: `python examples/benchmarks/search.py`.

Prints how many masks a whole search scores in the time in which the model is called once for each: 1 would be a search
that costs nothing beside its forward passes; the mark is 0.8. In the time of a search are the sorting of the weights,
the method's own arithmetic, the masks and the metric; not in it is what compiles once.

The measure is CPU time of the process, on one thread: wall time says little on a shared core. Searches and forward
passes take turns, and a ratio is of one round's times.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
from cifar_resnet20 import resnet20
from keras import ops
from mnist_lenet5 import lenet5
from mnist_lenet300 import lenet300
from show import machine, table

from keras_admm import inference
from keras_admm.compiling import compiled
from keras_admm.engine import SplicedPruning
from keras_admm.search import NCS

# By name: the network, the shape of an image, and how many images a batch has.
NETWORKS = {
    "LeNet-300-100": (lenet300, (28, 28, 1), 1000),
    "LeNet-5": (lenet5, (28, 28, 1), 1000),
    "ResNet-20": (resnet20, (32, 32, 3), 250),
}


def measured(build, shape, images, masks, rounds):
    """Ratios of the rounds, and the masks scored in a second of CPU time."""
    rng = np.random.default_rng(0)
    batch = ops.convert_to_tensor(rng.random((images, *shape), dtype="float32")), rng.integers(0, 10, images)
    model = build()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    run = SplicedPruning("search", model, (None, None), "accuracy", NCS, {})
    run.attach(10_000, every=1_000)
    forward = compiled(lambda x: inference.call(model, x))
    for warm_up in (lambda: run.scores(batch), lambda: forward(batch[0])):
        warm_up()
    ratios, speeds = [], []
    for _ in range(rounds):
        began = time.process_time()
        scored = run.search(batch, -1.0, 0, rng, masks).scored
        middle = time.process_time()
        for _ in range(scored):
            ops.convert_to_numpy(forward(batch[0]))
        ratios.append((time.process_time() - middle) / (middle - began))
        speeds.append(scored / (middle - began))
    run.release()
    return ratios, speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--masks", type=int, default=100, help="that a search looks at")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{machine('keras', keras.backend.backend())}; {args.rounds} rounds of {args.masks} masks")
    lines = []
    for name in args.networks:
        ratios, speeds = measured(*NETWORKS[name], args.masks, args.rounds)
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        told = f"{middle:.2f}", f"{low:.2f}..{high:.2f}", f"{np.median(speeds):.0f}"
        lines.append((f"{name}, {NETWORKS[name][2]:,} images", *told))
    print(table(("", "search / forward", "quartiles", "masks a second"), lines))


if __name__ == "__main__":
    main()
