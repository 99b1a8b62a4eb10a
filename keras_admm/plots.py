"""Plots of a compressed fit, from what it logged. Needs matplotlib (`pip install keras-admm[plot]`)."""

from keras_admm.files import check_place
from keras_admm.reporting import pictures


def plot_history(history, path):
    """Draws sparsity, residuals and accuracy over the epochs, and saves the picture.

    Args:
        history: the `keras.callbacks.History` of a fit with a `keras_admm` callback, its dict of lists, or that
            callback.
        path: where the picture goes; the ending says the format, `.png` or `.svg`.

    Raises:
        ValueError: for the history of a fit without such a callback, or a path that cannot be written.
        ImportError: without matplotlib.
    """
    check_place(path)
    logs = pictures.logged("plot_history", history)
    figure = pictures.new_figure((7, 7))
    sparsity, residuals, accuracy = figure.subplots(3, 1, sharex=True)
    pictures.draw_lines(sparsity, logs, ["sparsity"], "share of zeros")
    pictures.draw_residuals(residuals, logs)
    own = [n for n in logs if n not in ("sparsity", "learning_rate") and not n.startswith("admm_")]
    accuracies = [n for n in own if "acc" in n]
    pictures.draw_lines(accuracy, logs, accuracies or own, "accuracy" if accuracies else "metrics")
    accuracy.set_xlabel("epoch")
    pictures.save_figure(figure, path)
