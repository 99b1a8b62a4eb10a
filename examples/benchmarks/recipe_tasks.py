"""The tasks of `recipes.py`: networks, data, and the optimizer and epochs of dense training and of compression."""

import functools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cifar_given
import cifar_resnet20
import data
import keras
import mnist_lenet5
import mnist_lenet300
import numpy as np
import quickstart

ADAM = ("Adam", {"learning_rate": 1e-3})


@dataclass(frozen=True)
class Task:
    """One network on one set of data.

    Attributes:
        name: str, as in the table.
        network: function that builds the Keras model.
        arrays: function from the data folder and the seed to three pairs: train, validation, test.
        epochs: int, of compression, for everybody.
        rates: tuple of ints, dense weights per kept weight.
        batch_size: int.
        optimizer: class name and arguments, the same of Keras and tf_keras.
        dense: str, the task whose dense weights are taken: tasks that differ in compression alone share them.
        dense_epochs: int, with Adam; 0: training from scratch, compression starts at the initial weights.
        feed: class of a `keras.utils.PyDataset` that gives the batches.
        perplexity: bool, whether the score is the perplexity rather than the accuracy in percent.
    """

    name: str
    network: object
    arrays: object
    epochs: int
    rates: tuple
    batch_size: int = 128
    optimizer: tuple = ADAM
    dense: str = ""
    dense_epochs: int = 10
    feed: type = None
    perplexity: bool = False

    def batches(self, pair, seed):
        return (self.feed or InOrder)(*pair, self.batch_size, seed=seed)

    def compiled(self, model, library=keras, optimizer=None):
        """The model compiled by Keras, or by tf_keras as `library`."""
        name, settings = optimizer or self.optimizer
        loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
        made = getattr(library.optimizers, name)(**settings)
        model.compile(made, loss, metrics=["accuracy"], jit_compile=False)
        return model

    def score(self, model, pair):
        loss, accuracy = model.evaluate(*pair, batch_size=500, verbose=0)
        return float(np.exp(loss)) if self.perplexity else 100 * accuracy


class InOrder(keras.utils.PyDataset):
    """Batches in an order that the seed alone tells, so that every method sees the same; full ones only."""

    def __init__(self, x, y, batch_size, seed):
        super().__init__()
        self._pair, self._batch_size = (x, y), batch_size
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self._order) // self._batch_size

    def __getitem__(self, index):
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return tuple(part[chosen] for part in self._pair)

    def on_epoch_end(self):
        self._order = self._rng.permutation(len(self._pair[0]))


def mnist(folder, seed):
    """30,000 images to train on and 30,000 to choose by: with fewer of these, chance would choose."""
    return data.mnist(Path(folder) / "mnist.npz", 30_000, seed)


def mnist_few(folder, seed):
    """10,000 of these images to train on."""
    (x, y), *others = mnist(folder, seed)
    return (x[:10_000], y[:10_000]), *others


def digits(folder, seed):
    x, x_test, y, y_test = quickstart.digits()
    order = np.random.default_rng(seed).permutation(len(x))
    rest, held_out = order[347:], order[:347]
    return (x[rest], y[rest]), (x[held_out], y[held_out]), (x_test, y_test)


def cifar(folder, seed):
    """10,000 images, normalized as the weights that are given expect it."""
    train, validation, test = data.cifar10(Path(folder) / "cifar10_jpeg.npz", 5000, seed)
    train = train[0][:10_000], train[1][:10_000]
    return [(cifar_given.normalized(x), y) for x, y in (train, validation, test)]


def characters(folder, seed, length=64):
    """Windows of tinyshakespeare and the characters that come next; its last tenth is for the test, one before to
    choose by."""
    text = np.frombuffer((Path(folder) / "tinyshakespeare.txt").read_bytes(), "uint8")
    codes = np.unique(text, return_inverse=True)[1].astype("int32")
    windows = codes[: len(codes) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    first, second = (len(windows) * tenths // 10 for tenths in (8, 9))
    parts = windows[:first], windows[first:second], windows[second:]
    return [(part[:, :-1], part[:, 1:]) for part in parts]


def gru():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64,), dtype="int32"),
            layers.Embedding(65, 32, name="embedding"),
            layers.GRU(128, return_sequences=True, name="gru"),
            layers.Dense(65, name="head"),
        ],
        name="gru",
    )


RESNET20 = functools.partial(cifar_given.resnet, 20)
RATES = (5, 10, 30, 100, 300)
LENET300 = Task("lenet300", mnist_lenet300.lenet300, mnist, 14, RATES)
LENET5 = Task("lenet5", mnist_lenet5.lenet5, mnist, 14, RATES)
SGD = ("SGD", {"learning_rate": 0.05, "momentum": 0.9})
FEW = {"rates": (30, 100), "dense": "lenet300"}
DIGITS = Task("digits", quickstart.conv_net, digits, 40, RATES, batch_size=32, dense_epochs=40)
TASKS = [
    DIGITS,
    LENET300,
    LENET5,
    Task("characters", gru, characters, 10, (10,), dense_epochs=10, perplexity=True),
    Task(
        "resnet20",
        functools.partial(cifar_given.resnet, 20),
        cifar,
        6,
        (10, 30),
        feed=cifar_resnet20.Augmented,
        dense_epochs=6,
    ),
    replace(LENET300, name="lenet300, 3 epochs", epochs=3, **FEW),
    replace(LENET300, name="lenet300, 60 epochs", epochs=60, **FEW),
    replace(LENET300, name="lenet300, SGD", optimizer=SGD, **FEW),
    replace(LENET300, name="lenet300, AdamW", optimizer=("AdamW", {"learning_rate": 1e-3}), **FEW),
    replace(LENET300, name="lenet300, Lion", optimizer=("Lion", {"learning_rate": 1e-4}), **FEW),
    replace(LENET300, name="lenet300, scratch", epochs=24, rates=(30, 100), dense_epochs=0),
]
# The same with fewer and with more epochs, for `few_steps.py`.
LENGTHS = [replace(DIGITS, name=f"digits, {n} epochs", epochs=n, dense="digits") for n in (2, 4, 8, 16, 40, 80)]
LENGTHS += [
    replace(LENET300, name=f"lenet300 few, {n} epochs", arrays=mnist_few, epochs=n, dense="lenet300 few")
    for n in (2, 3, 6, 12, 24, 48)
]
