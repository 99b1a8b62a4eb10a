"""The data sets of the examples: from a file where one is given, else from where Keras downloads them."""

import functools
import io
from pathlib import Path

import keras
import numpy as np


def mnist(path=None, validation=5000, seed=0):
    """MNIST as three pairs of images in [0, 1], (n, 28, 28, 1) float32, and labels: train, validation, test.

    The validation images are taken from the training set, so that nothing is chosen by the test set.
    """
    if path is None:
        (x, y), test = _download(keras.datasets.mnist)
    else:
        with np.load(path) as file:
            (x, y), test = (file["x_train"], file["y_train"]), (file["x_test"], file["y_test"])
    return _three(x[..., None], y, test[0][..., None], test[1], validation, seed)


@functools.lru_cache(maxsize=1)
def mnist_in(folder, validation, seed):
    """`mnist` of a folder's `mnist.npz`, or downloaded where it is None; the images of one seed stay."""
    return mnist(None if folder is None else Path(folder) / "mnist.npz", validation, seed)


def cifar10(path=None, validation=5000, seed=0):
    """CIFAR-10 as three pairs of images in [0, 1], (n, 32, 32, 3) float32, and labels: train, validation, test.

    A file holds JPEG images: image i is the bytes from offsets[i] to offsets[i + 1].
    """
    if path is None:
        (x, y), test = _download(keras.datasets.cifar10)
    else:
        with np.load(path) as file:
            x, y = _decode(file["jpeg_train"], file["offsets_train"]), file["y_train"]
            test = _decode(file["jpeg_test"], file["offsets_test"]), file["y_test"]
    return _three(x, y.ravel(), test[0], test[1].ravel(), validation, seed)


class Shifted(keras.utils.PyDataset):
    """Batches in an order of their own, every image moved by up to `pixels` either way, anew in each epoch."""

    def __init__(self, x, y, batch_size, pixels, seed=0):
        super().__init__()
        self.y, self.batch_size, self.pixels = y, batch_size, pixels
        padded = np.pad(x[..., 0], ((0, 0), (pixels, pixels), (pixels, pixels)))
        self.windows = np.lib.stride_tricks.sliding_window_view(padded, x.shape[1:3], axis=(1, 2))
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self.y) // self.batch_size

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        down, right = self.rng.integers(0, 2 * self.pixels + 1, (2, len(chosen)))
        return self.windows[chosen, down, right][..., None], self.y[chosen]

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.y))


def _download(dataset):
    try:
        return dataset.load_data()
    except Exception as error:
        raise SystemExit(
            f"The data could not be downloaded ({error}). Give a file with --data PATH instead."
        ) from error


def _decode(data, offsets):
    from PIL import Image

    data = data.tobytes()
    spans = zip(offsets[:-1], offsets[1:], strict=True)
    return np.stack([np.asarray(Image.open(io.BytesIO(data[a:b])).convert("RGB")) for a, b in spans])


def _three(x, y, x_test, y_test, validation, seed):
    x, x_test = (a.astype("float32") / 255 for a in (x, x_test))
    y, y_test = (a.astype("int32") for a in (y, y_test))
    order = np.random.default_rng(seed).permutation(len(x))
    held_out, rest = order[:validation], order[validation:]
    return (x[rest], y[rest]), (x[held_out], y[held_out]), (x_test, y_test)
