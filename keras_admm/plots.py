"""Pictures of a run, from the numbers that its fit logged. Needs matplotlib (`pip install keras-admm[plot]`)."""


def plot_history(history, path):
    """Draws sparsity, residuals and accuracy over the epochs, and saves the picture.

    Args:
        history: the `keras.callbacks.History` of a fit with a `keras_admm` callback, or its dict of lists.
        path: where the picture goes; the ending says the format, `.png` or `.svg`.

    Raises:
        ValueError: for the history of a fit without such a callback.
        ImportError: without matplotlib.
    """
    from matplotlib.figure import Figure

    logs = getattr(history, "history", history)
    if "sparsity" not in logs:
        raise ValueError(
            "plot_history: the history must come from a fit with a keras_admm callback. "
            f"Received: a history of {sorted(logs)}. Pass what model.fit(callbacks=[ADMMPrune(...)]) returned."
        )
    epochs = range(1, len(logs["sparsity"]) + 1)
    figure = Figure(figsize=(7, 7), layout="constrained")
    sparsity, residuals, accuracy = figure.subplots(3, 1, sharex=True)
    _lines(sparsity, epochs, logs, ["sparsity"], "share of zeros")
    _lines(residuals, epochs, logs, ["admm_primal", "admm_dual"], "residual / ||W||")
    if any(v > 0 for name in ("admm_primal", "admm_dual") for v in logs[name]):
        residuals.set_yscale("log")
    own = [n for n in logs if n not in ("sparsity", "learning_rate") and not n.startswith("admm_")]
    accuracies = [n for n in own if "acc" in n]
    _lines(accuracy, epochs, logs, accuracies or own, "accuracy" if accuracies else "metrics")
    accuracy.set_xlabel("epoch")
    figure.savefig(path, dpi=120)


def _lines(axes, epochs, logs, names, label):
    for name in names:
        # A phase without ADMM logs zeros, which a logarithmic axis cannot show.
        values = [v if v > 0 or not name.startswith("admm_") else float("nan") for v in logs[name]]
        axes.plot(epochs, values, marker=".", label=name)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
