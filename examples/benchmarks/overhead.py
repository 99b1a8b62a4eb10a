"""What ADMM adds to a training step, beside what TFMOT adds: `python examples/benchmarks/overhead.py`.

Prints the ratio of a step in the ADMM phase and in retraining to the plain step of the same Keras 3 model; of a step by
the default recipe of `ADMMPrune` with the moves of Z and U, one every 100 steps; and of a step under TFMOT's
`prune_low_magnitude` to the plain step of the same model in tf_keras, which is all that TFMOT takes; and the memory
that the engine adds. Each ratio stays within one library, for the plain steps differ too.
Then the same for retraining straight through on 16 levels and in 16 clusters, of an embedding of 1.6 million weights:
nearly all that its plain step does is Adam's, so that a pass over the weights weighs more than anywhere else. With
`KERAS_BACKEND=jax` or `torch` that is all it prints. The mark for it is 2.

The measure is CPU time of the process, with TensorFlow and torch on one thread: wall time says little on a shared core.
The variants take turns, some steps each, and a ratio is of one round's times, so that what slows a round slows both.
The train functions are called by themselves: tracing, epoch ends and projections are not in it, and neither is
what `fit` adds to every step alike, which would only bring the ratios closer to 1. One round may or may not meet a move
of every 100th step, TFMOT's or ours: the column `all`, which divides the times of all rounds, has its share.
"""

import argparse
import gc
import itertools
import os
import shlex
import sys
import time
from pathlib import Path
from typing import NamedTuple
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
from cifar_resnet20 import resnet20
from mnist_lenet5 import lenet5
from show import machine

import keras_admm as ka

BATCH = 64
SPARSITY = 0.9
WARM_UP = 5
LONG = 100_000  # training steps of an epoch
TENSORFLOW = keras.backend.backend() == "tensorflow"
TWINS = ("tf_keras", "tensorflow-model-optimization") if TENSORFLOW else ()
PACKAGES = ("keras", keras.backend.backend(), *TWINS, "numpy")
SPARSE = ka.constraints.Sparse(SPARSITY)
# By name: the target, how many epochs have passed of which the first trains under ADMM, and the compressed layers.
PRUNED = {"plain": None, "ADMM phase": (SPARSE, 0, None), "retraining": (SPARSE, 1, None)}
DEFAULT = "default recipe"
VALUES = {
    "plain": None,
    "16 levels": (ka.constraints.Levels(4), 1, "embedding*"),
    "16 clusters": (ka.constraints.Codebook(16), 1, "embedding*"),
}


class Network(NamedTuple):
    """What is trained.

    Attributes:
        name: for the print.
        build: function without arguments that makes the model.
        inputs: function of a generator of random numbers that makes eight batches.
        optimizer: function of a library (keras or tf_keras) that makes the optimizer. The rates are low, so that
            hundreds of steps on a few random batches stay ordinary steps.
        steps: in a round, of each variant.
    """

    name: str
    build: object
    inputs: object
    optimizer: object
    steps: int


def images(*shape):
    return lambda rng: rng.random((8, BATCH, *shape), dtype="float32")


def sequences(rng):
    return rng.integers(50_000, size=(8, BATCH, 64), dtype="int32")


def embedding():
    layers = [keras.layers.Embedding(50_000, 32), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((64,), dtype="int32"), *layers], name="embedding_mean")


def adam(library):
    return library.optimizers.Adam(1e-4)


def momentum(library):
    return library.optimizers.SGD(1e-3, momentum=0.9)


def networks(args):
    both = [
        Network("LeNet-5", lenet5, images(28, 28, 1), adam, args.lenet_steps),
        Network("ResNet-20", resnet20, images(32, 32, 3), momentum, args.resnet_steps),
    ]
    return [n for n in both if n.name in args.networks and TENSORFLOW]


def compiled(network, library, seed, jit=False, wrap=lambda model: model):
    library.utils.set_random_seed(seed)
    # The very same code builds both twins.
    with mock.patch.object(sys.modules[network.build.__module__], "keras", library):
        model = wrap(network.build())
    loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(network.optimizer(library), loss, metrics=["accuracy"], jit_compile=jit)
    return model


def batches(network, seed):
    rng = np.random.default_rng(seed)
    return network.inputs(rng), rng.integers(10, size=(8, BATCH))


def stepper(model, data):
    """A function that trains by one step."""
    if not TENSORFLOW:
        turns = itertools.cycle(zip(*data, strict=True))
        return lambda: model.train_on_batch(*next(turns))
    import tensorflow as tf

    iterator = iter(tf.data.Dataset.from_tensor_slices(data).repeat())
    return lambda: model.train_function(iterator)


def keras_variants(network, ways, args, jit):
    """The engines, which must be finished, and the steps by name."""
    data = batches(network, args.seed)
    engines, steps = [], {}
    for name, way in ways.items():
        model = compiled(network, keras, args.seed, jit)
        # Builds metrics and optimizer, which the train function by itself does not.
        model.train_on_batch(data[0][0], data[1][0])
        if way is not None:
            target, epochs, layers = way
            engines.append(ka.Engine(model, plan(target, penalty=args.penalty), layers=layers, in_fit=True))
            engines[-1].begin()
            for _ in range(epochs):
                model.train_on_batch(data[0][0], data[1][0])
                engines[-1].end_epoch()
        steps[name] = stepper(model, data)
    return engines, steps


def moving(network, args, jit):
    """An engine, and a step by the default recipe, half way through ADMM, with its moves."""
    data = batches(network, args.seed)
    model = compiled(network, keras, args.seed, jit)
    model.train_on_batch(data[0][0], data[1][0])
    engine = ka.Engine(model, ka.ADMMPrune(SPARSITY).plan, in_fit=True)
    engine.begin(epochs=4, steps_per_epoch=LONG)
    engine.end_steps(3 * LONG // 2)
    engine.move()
    step = stepper(model, data)

    def and_move():
        step()
        if engine.end_steps(1):
            engine.move()

    return engine, and_move


def plan(*targets, **kwargs):
    return ka.Plan(steps=[ka.Step(target=t, admm_epochs=1, retrain_epochs=1) for t in targets], **kwargs)


def tfmot_variants(network, seed):
    import tf_keras

    tfmot = tfmot_sparsity()
    data = batches(network, seed)
    steps = {}
    for name, frequency in [("plain", None), ("TFMOT, frequency 100", 100), ("TFMOT, frequency 1", 1)]:

        def wrap(model, frequency=frequency):
            if frequency is None:
                return model
            schedule = tfmot.ConstantSparsity(SPARSITY, 0, -1, frequency)
            return tfmot.prune_low_magnitude(model, pruning_schedule=schedule)

        model = compiled(network, tf_keras, seed, wrap=wrap)
        update = tfmot.UpdatePruningStep()
        update.set_model(model)
        update.on_train_begin()
        model.make_train_function()
        steps[name] = stepper(model, data)
    return steps


def tfmot_sparsity():
    # Its import chooses tf_keras for everything in this process and in those that it starts.
    with mock.patch.dict(os.environ):
        import tensorflow_model_optimization

        return tensorflow_model_optimization.sparsity.keras


def measured(steps, count, args):
    """CPU seconds of `count` steps of each variant in each round: an array (variant, round)."""
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    names = list(steps)
    # Not in one order, for each variant leaves the caches that the next one finds.
    shuffled = np.random.default_rng(args.seed).permutation
    seconds = np.empty((len(names), args.rounds))
    for r in range(args.rounds):
        for i in shuffled(len(names)):
            gc.collect()
            began = time.process_time()
            for _ in range(count):
                steps[names[i]]()
            seconds[i, r] = time.process_time() - began
    return seconds


def show(title, steps, count, args):
    seconds = measured(steps, count, args)
    plain = seconds[0]
    milliseconds = 1e3 * np.median(plain) / count
    print(f"\n{title}: {count} steps of each in {args.rounds} rounds, a plain step {milliseconds:.1f} ms")
    print(f"{'ratio to plain':<24}{'median':>8}{'quartiles':>14}{'min..max':>14}{'all':>7}")
    for name, variant in list(zip(steps, seconds, strict=True))[1:]:
        ratios = variant / plain
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        quartiles, span = f"{low:.3f}..{high:.3f}", f"{ratios.min():.2f}..{ratios.max():.2f}"
        print(f"{name:<24}{middle:>8.3f}{quartiles:>14}{span:>14}{variant.sum() / plain.sum():>7.3f}", flush=True)


def show_memory(network, seed):
    """Counts the bytes of the arrays that are there, at the start of each phase of two progressive steps."""
    model = compiled(network, keras, seed)
    model.optimizer.build(model.trainable_variables)
    data = batches(network, seed)
    engine = ka.Engine(model, plan(ka.constraints.Sparse(0.5), SPARSE))
    engine.begin()
    weights = ka.report(model).total.weights
    print(f"\n{network.name}: memory that the engine adds, in float32s for each of {weights:,} compressed weights")
    for name in ("ADMM phase", "retraining", "second ADMM phase", "second retraining"):
        moving = [v for state in engine.rule_states.values() for v in state.variables]
        device = sum(keras.ops.convert_to_numpy(v).nbytes for v in moving)
        host = {k: a.nbytes for k, a in engine.state_dict().items() if k.startswith(("u/", "support/"))}
        floats = [n / 4 / weights for n in (device, sum(host.values()), device + sum(host.values()))]
        print("{:<24}device {:.3f}  host {:.3f}  both {:.3f}".format(name, *floats))
        model.train_on_batch(*(d[0] for d in data))
        engine.end_epoch()
    engine.finish()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["LeNet-5", "ResNet-20"]
    parser.add_argument("--networks", nargs="*", default=names, choices=names)
    parser.add_argument("--penalty", default="gradient", choices=["gradient", "proximal", "loss"])
    parser.add_argument("--jit", nargs="+", default=["off", "on"], choices=["off", "on"], help="XLA, for Keras 3")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--lenet-steps", type=int, default=25)
    parser.add_argument("--resnet-steps", type=int, default=5)
    parser.add_argument("--embedding-steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def show_keras(network, ways, args, jit):
    compile_jit = {"on": True, "off": False}.get(jit, "auto")
    engines, steps = keras_variants(network, ways, args, compile_jit)
    if ways is PRUNED:
        engine, steps[DEFAULT] = moving(network, args, compile_jit)
        engines.append(engine)
    title = f"{network.name}, Keras 3, penalty {args.penalty!r}, jit_compile {jit}"
    show(title, steps, network.steps, args)
    for engine in engines:
        engine.finish()


def one_thread():
    if TENSORFLOW:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def main():
    args = arguments()
    one_thread()
    print(f"{machine(*PACKAGES)}\nseed {args.seed}, batch {BATCH}, sparsity {SPARSITY}; {shlex.join(sys.argv)}")
    for network in networks(args):
        for jit in args.jit:
            show_keras(network, PRUNED, args, jit)
        # Enough for TFMOT's update of every 100th step to be among them.
        count = max(network.steps, -(-100 // args.rounds))
        show(f"{network.name}, tf_keras", tfmot_variants(network, args.seed), count, args)
        show_memory(network, args.seed)
    embedded = Network("Embedding of 50000 x 32, straight through", embedding, sequences, adam, args.embedding_steps)
    for jit in args.jit if TENSORFLOW else ["auto"]:
        show_keras(embedded, VALUES, args, jit)


if __name__ == "__main__":
    main()
