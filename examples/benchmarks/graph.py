"""How long it takes to find the groups of a large model and to shrink it: `python examples/benchmarks/graph.py`.

ResNet50 (25.6 million weights) and a DenseNet of 100 convolutions (growth 12, 40 x 40 pixels), both of random
weights, half of every group of channels zero. Each time is that of one call, the processor's own beside it, which says
more where others use the machine too.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from half import halve
from keras import layers
from show import machine, table

import keras_admm as ka
from keras_admm.graph import groups

PACKAGES = ("keras", "tensorflow", "numpy")


def densenet(growth=12, each=32):
    """Three blocks of 32 convolutions and what lies between: 100 layers with weights but those that normalize."""
    x = first = keras.Input((40, 40, 3))
    x = layers.Conv2D(2 * growth, 3, padding="same", use_bias=False)(x)
    for block in range(3):
        for _ in range(each):
            y = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.Concatenate()([x, layers.Conv2D(growth, 3, padding="same", use_bias=False)(y)])
        if block < 2:
            x = layers.Conv2D(x.shape[-1] // 2, 1, use_bias=False)(layers.ReLU()(layers.BatchNormalization()(x)))
            x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(first, layers.Dense(10)(x), name="densenet_100")


def timed(call):
    wall, cpu = time.perf_counter(), time.process_time()
    given = call()
    return given, time.perf_counter() - wall, time.process_time() - cpu


def rows(model, seed):
    found, *finding = timed(lambda: groups.of(model))
    halve(found, seed)
    small, *shrinking = timed(lambda: ka.shrink(model))
    sizes = f"{model.count_params():,}", f"{small.count_params():,}", f"{found.macs() / groups.of(small).macs():.2f}"
    both = finding[0] + shrinking[0], finding[1] + shrinking[1]
    for name, (wall, cpu) in (("groups", finding), ("shrink", shrinking), ("both", both)):
        yield f"{model.name}, {name}", f"{len(found):,}", *sizes, f"{wall:.2f}", f"{cpu:.2f}"


def main(args):
    keras.utils.set_random_seed(args.seed)
    print(f"{machine(*PACKAGES)}; {keras.backend.backend()} backend\nseed {args.seed}; {shlex.join(sys.argv)}\n")
    models = keras.applications.ResNet50(weights=None), densenet()
    head = "model", "groups", "weights", "left", "MACs ratio", "seconds", "CPU s"
    print(table(head, [row for model in models for row in rows(model, args.seed)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
