"""Plots of a compressed fit, from what it logged. Needs matplotlib (`pip install keras-admm[plot]`)."""

from typing import Any

from keras_admm import hints
from keras_admm.errors import named_few
from keras_admm.files import check_place
from keras_admm.pictures import new_figure, save_figure
from keras_admm.reporting import history as histories
from keras_admm.reporting import widths
from keras_admm.weights import check_model


def plot_history(history: Any, path: hints.Path) -> None:
    """Draws sparsity, residuals and accuracy over the epochs, and saves the picture.

    Epochs of ADMM are shaded, and projections marked.

    Args:
        history: the `keras.callbacks.History` of a fit with a `keras_admm` callback, its dict of lists, or that
            callback.
        path: where the picture goes; the ending says the format, `.png` or `.svg`.

    Raises:
        ValueError: for the history of a fit without such a callback, or a path that cannot be written.
        ImportError: without matplotlib.
    """
    check_place(path)
    logs = histories.logged("plot_history", history)
    figure = new_figure((8, 7))
    histories.draw(figure, logs)
    save_figure(figure, path)


def plot_widths(dense: hints.Model, small: hints.Model, path: hints.Path) -> None:
    """Draws how many channels each layer has before and after it was made smaller, and saves the picture.

    Args:
        dense: a built model.
        small: what `keras_admm.shrink` made of it. Layers are known by their names; those that are not in it have left.
        path: where the picture goes; the ending says the format, `.png` or `.svg`.

    Raises:
        TypeError: for something else than models.
        ValueError: for models that have no layer in common, or a path that cannot be written.
        ImportError: without matplotlib.
    """
    check_place(path)
    check_model("plot_widths", dense, "dense")
    check_model("plot_widths", small, "small")
    before, after = widths.widths(dense), widths.widths(small)
    if not set(before) & set(after):
        raise ValueError(
            f"plot_widths: both models must have layers of the same names. Received: {named_few(list(before))}; and "
            f"{named_few(list(after))}. Pass a model and what shrink() made of it."
        )
    figure = new_figure((7, 0.25 * len(before) + 1))
    widths.draw(figure.subplots(), before, after)
    save_figure(figure, path)
