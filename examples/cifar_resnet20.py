"""ResNet-20 on CIFAR-10, pruned by ADMM: `python examples/cifar_resnet20.py --data cifar10.npz --rate 10 --bits 4`.

The network is the one of He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2:
3x3 convolutions of 16, 32 and 64 filters with batch normalization. Where the filters double, the shortcut is a
strided 1x1 projection (their option B; A has no weights), so that every weight is in an ordinary layer: 270,896
of them, 0.27 million. A dense model is trained, then one `fit` for each rate starts from it: ADMM, then retraining
with the zeros held; with `--bits` or `--clusters` one more takes what is kept to few values. Validation images come
from the training set; the test set is only printed.

With `--start resnet20` (or `resnet56`) it starts from weights that others trained, in a file beside the data (see
`cifar_given.py`), and is fine-tuned first. In the place of pruning single weights:

- `--structure channel --budget-macs 0.5`: whole channels leave, until that share of the MACs is left;
- `--adaptive 0.5`: channels and residual blocks leave, until that share of the parameters is left;
- `--low-rank 0.5`: ways to a model of low rank with that share of the MACs (see `cifar_low_rank.py`).

`benchmarks/structured.py` compares these with the usual ways.

The defaults take minutes on two CPU cores, on a part of the images, and show the way rather than the accuracy.
For the accuracy, on an accelerator, all images and more epochs:

    KERAS_BACKEND=jax python examples/cifar_resnet20.py --data cifar10.npz --limit 0 --epochs 200 --admm-epochs 100 \\
        --retrain-epochs 100 --rate 10 20 --dense-weights resnet20.npz

It needs TensorFlow only where that is Keras's backend.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cifar_given
import cifar_low_rank
import data
import keras
import numpy as np
import show

import keras_admm as ka

PAD = 4


def resnet20(decay=0.0):
    """He et al.'s ResNet-20; `decay` is their weight decay, on the kernels."""
    layers = keras.layers

    def conv(x, name, filters, strides=1, size=3):
        # L2 is not halved in Keras, weight decay is.
        regularizer = keras.regularizers.L2(decay / 2) if decay else None
        x = layers.Conv2D(
            filters,
            size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
            name=name,
        )(x)
        # The default of 0.99 remembers more steps than a short run has.
        return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)

    def block(x, name, filters, strides):
        y = layers.ReLU()(conv(x, f"{name}_conv1", filters, strides))
        y = conv(y, f"{name}_conv2", filters)
        shortcut = x if strides == 1 else conv(x, f"{name}_shortcut", filters, strides, size=1)
        return layers.ReLU()(layers.Add()([y, shortcut]))

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(inputs, "conv", 16))
    for stage, filters in enumerate([16, 32, 64]):
        for i in range(3):
            x = block(x, f"stage{stage + 1}_block{i + 1}", filters, strides=2 if stage and not i else 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="dense")(x), name="resnet20")


class Augmented(keras.utils.PyDataset):
    """Images in a new order each epoch, half of them mirrored, all shifted by up to four pixels, in NumPy alone."""

    def __init__(self, x, y, batch_size, seed):
        super().__init__()
        padded = np.pad(x, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)))
        self._crops = np.lib.stride_tricks.sliding_window_view(padded, x.shape[1:3], axis=(1, 2))
        self._y = y
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        # Full batches only: a shorter last one would have the step compiled again.
        return max(1, len(self._y) // self._batch_size)

    def __getitem__(self, index):
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        down, right = self._rng.integers(2 * PAD + 1, size=(2, len(chosen)))
        images = np.moveaxis(self._crops[chosen, down, right], 1, -1)
        mirrored = self._rng.random(len(chosen)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        return images, self._y[chosen]

    def on_epoch_end(self):
        self._order = self._rng.permutation(len(self._y))


def images(args):
    """Train, validation and test pairs, of mean 0 and deviation 1 by channel over the images that were trained on."""
    train, validation, test = data.cifar10(args.data, args.validation)
    if args.limit:
        train = train[0][: args.limit], train[1][: args.limit]
    if args.start:
        return [(cifar_given.normalized(x), y) for x, y in (train, validation, test)]
    mean, deviation = train[0].mean((0, 1, 2)), train[0].std((0, 1, 2))
    return [((x - mean) / deviation, y) for x, y in (train, validation, test)]


def network(args):
    if not args.start:
        return resnet20(args.weight_decay)
    return cifar_given.given(int(args.start.removeprefix("resnet")), Path(args.data).parent)


def compiled(args, rate, model=None):
    model = model or network(args)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    # TensorFlow's own convolutions are faster than XLA's on a CPU.
    jit = keras.backend.backend() == "jax"
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit)
    return model


def fit(args, model, train, validation, epochs, callbacks=()):
    model.fit(
        Augmented(*train, args.batch_size, args.seed),
        epochs=epochs,
        validation_data=validation,
        validation_batch_size=500,
        callbacks=list(callbacks),
        verbose=2,
    )


def accuracy(model, pair):
    return 100 * model.evaluate(*pair, batch_size=500, verbose=0)[1]


def dense_model(args, train, validation):
    rate = args.compress_rate if args.start else args.learning_rate
    if args.dense_weights and os.path.exists(args.dense_weights):
        model = compiled(args, rate)
        with np.load(args.dense_weights) as file:
            model.set_weights([file[key] for key in file.files])
        return model
    steps = args.epochs * len(Augmented(*train, args.batch_size, args.seed))
    model = compiled(args, keras.optimizers.schedules.CosineDecay(rate, steps))
    fit(args, model, train, validation, args.epochs)
    if args.dense_weights:
        np.savez(args.dense_weights, *model.get_weights())
    return model


def compress(args, weights, callback, train, validation):
    """One `fit` from given weights: ADMM, then retraining."""
    model = compiled(args, args.compress_rate)
    model.set_weights(weights)
    fit(args, model, train, validation, args.admm_epochs + args.retrain_epochs, [callback])
    return model


def callbacks(args, rate):
    """What is done in turn, by name: pruning, and where it is asked for a fit onto few values."""
    falling = keras.optimizers.schedules.CosineDecay(args.compress_rate, args.retrain_epochs)
    phases = {
        "admm_epochs": args.admm_epochs,
        "retrain_epochs": args.retrain_epochs,
        "penalty": ka.penalties.NAMED[args.penalty](rho=args.rho, rho_growth=args.rho_growth),
        "learning_rate": {"retrain": falling},
        "verbose": 1,
    }
    few = {"retraining": "straight_through", **phases}
    pruning = {"recipe": "paper", "path": "geometric"}
    out = {f"{rate:g}x": ka.ADMMPrune(sparsity=1 - 1 / rate, **pruning, **phases)} if rate > 1 else {}
    out |= {f"{rate:g}x, {args.bits} bits": ka.ADMMQuantize(args.bits, **few)} if args.bits else {}
    out |= {f"{rate:g}x, {args.clusters} clusters": ka.ADMMCluster(args.clusters, **few)} if args.clusters else {}
    return out


def low_rank(args, dense, train, validation, test):
    """The lines of `--low-rank`."""

    def trained(model, rate, epochs, callbacks=()):
        fit(args, compiled(args, rate, model), train, validation, epochs, callbacks)

    steps = len(Augmented(*train, args.batch_size, args.seed))
    return cifar_low_rank.compare(args, dense, trained, steps, lambda m: (accuracy(m, validation), accuracy(m, test)))


def smaller(args, dense, train, validation, test):
    """The line of `--structure channel` or `--adaptive`: one `fit`, after which what is dead leaves the model."""
    if args.adaptive:
        name, callback = f"adaptive, {args.adaptive:g} of the parameters", ka.ADMMAdaptive({"params": args.adaptive})
    else:
        name = f"channels, {args.budget_macs:g} of the MACs"
        callback = ka.ADMMPrune(structure=args.structure, budget={"macs": args.budget_macs})
    began = time.time()
    epochs = args.admm_epochs + args.retrain_epochs
    steps = epochs * len(Augmented(*train, args.batch_size, args.seed))
    model = compiled(args, keras.optimizers.schedules.CosineDecay(args.compress_rate, steps), dense)
    fit(args, model, train, validation, epochs, [callback])
    small = compiled(args, args.compress_rate, ka.shrink(model))
    table = ka.report(small)
    print(f"\n{table}\n", flush=True)
    return [(name, accuracy(small, validation), accuracy(small, test), table.total.weights, time.time() - began)]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="path of CIFAR-10 as .npz of JPEG images; without it Keras downloads it")
    parser.add_argument("--limit", type=int, default=10_000, help="how many training images to use; 0: all")
    parser.add_argument("--start", choices=["resnet20", "resnet56"], help="weights to start from, beside --data")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--structure", choices=["channel"], help="in the place of pruning weights: whole channels")
    instead.add_argument("--adaptive", type=float, help="channels and blocks: the share of parameters that is left")
    instead.add_argument("--low-rank", type=float, help="low rank: the share of MACs that is left")
    parser.add_argument("--budget-macs", type=float, default=0.5, help="of --structure: the share of MACs that is left")
    parser.add_argument("--scheme", default="spatial", choices=["spatial", "channel"], help="of low rank")
    parser.add_argument(
        "--rate", type=float, nargs="+", default=[10], help="dense weights per kept weight; 1: keep all"
    )
    few = parser.add_mutually_exclusive_group()
    few.add_argument("--bits", type=int, help="levels, as a power of two, onto which what is kept is trained then")
    few.add_argument("--clusters", type=int, help="clusters of equal values into which it is trained then")
    parser.add_argument("--epochs", type=int, default=2, help="of dense training")
    parser.add_argument("--admm-epochs", type=int, default=2)
    parser.add_argument("--retrain-epochs", type=int, default=2)
    parser.add_argument("--penalty", default="gradient", choices=["gradient", "proximal", "loss"])
    parser.add_argument("--rho", type=float, default=1e-2)
    parser.add_argument("--rho-growth", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=0.1, help="of dense training, where cosine decay starts")
    parser.add_argument("--compress-rate", type=float, default=0.01, help="learning rate of ADMM and of retraining")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--validation", type=int, default=5000, help="images of the training set to choose by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense-weights", help="path of an .npz of dense weights: read if it is there, else written")
    return parser.parse_args()


def main():
    args = arguments()
    keras.utils.set_random_seed(args.seed)
    train, validation, test = images(args)
    began = time.time()
    dense = dense_model(args, train, validation)
    weights = ka.report(dense).total.weights
    lines = [("dense", accuracy(dense, validation), accuracy(dense, test), weights, time.time() - began)]
    if args.low_rank:
        lines += low_rank(args, dense, train, validation, test)
    elif args.structure or args.adaptive:
        lines += smaller(args, dense, train, validation, test)
    for rate in [] if args.low_rank or args.structure or args.adaptive else args.rate:
        model = dense
        for name, callback in callbacks(args, rate).items():
            keras.utils.set_random_seed(args.seed)
            began = time.time()
            model = compress(args, model.get_weights(), callback, train, validation)
            table = ka.report(model)
            print(f"\n{table}\n", flush=True)
            figures = accuracy(model, validation), accuracy(model, test), table.total.kept, time.time() - began
            lines.append((name, *figures))
    where = f"{keras.backend.backend()} backend, seed {args.seed}"
    print(f"{args.start or 'ResNet-20'} on CIFAR-10, {len(train[0]):,} images, {where}")
    print(show.rates(lines))


if __name__ == "__main__":
    main()
