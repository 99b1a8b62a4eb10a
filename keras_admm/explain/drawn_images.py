"""Images on the dashboard: saliency over the image, optimised images."""

import numpy as np

from keras_admm import pages
from keras_admm.explain import drawings
from keras_admm.explain.drawn import Drawn

NAMED = 10  # places in the table behind an image


class Images(Drawn):
    """Images of one channel or of three; of others the mean of the channels is drawn.

    Args:
        x: array `(samples, rows, columns, channels)`.
    """

    def __init__(self, x):
        self._x = np.asarray(x, "float32")
        self._low, self._high = float(self._x.min()), float(self._x.max())

    def optimized(self, name, samples):
        return pages.images(
            [(drawings.png(self._rgb(image)), f"{name}, class {which}") for which, image in samples.items()]
        )

    def sample(self, i, maps, scores, temporal):
        image = self._rgb(self._x[i])
        shape = image.shape[:2]
        pictures = [(drawings.png(image), f"sample {i}")]
        for name, values in maps.items():
            picture = drawings.png(drawings.overlay(image, values.reshape(shape)))
            pictures.append((picture, f"{name}: score {scores[name]:.3f}"))
        return pages.images(pictures) + pages.numbers(self._cells(maps, shape))

    def _rgb(self, image):
        scaled = (np.asarray(image, "float32") - self._low) / max(self._high - self._low, 1e-12)
        if scaled.shape[-1] != 3:
            scaled = np.repeat(scaled.mean(-1, keepdims=True), 3, -1)
        return scaled

    def _cells(self, maps, shape):
        """The places of most saliency of each model."""
        head, columns = ["rank"], []
        for name, values in maps.items():
            order = np.argsort(-values, kind="stable")[:NAMED]
            places = zip(*np.unravel_index(order, shape), strict=True)
            columns.append(
                [f"{row}, {column}: {values[at]:.3g}" for (row, column), at in zip(places, order, strict=True)]
            )
            head.append(f"{name} (row, column: saliency)")
        return [head, *([str(i + 1), *line] for i, line in enumerate(zip(*columns, strict=True)))]
