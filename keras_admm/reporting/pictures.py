"""Plots of a report and of a run. Needs matplotlib (`pip install keras-admm[plot]`)."""

from keras_admm import checks
from keras_admm.pictures import new_figure

ACROSS = 4  # histograms beside one another


def draw(report, history=None):
    """A figure of a report: the sparsity of each variable, the weights of each, the residuals of the training.

    Args:
        report: a `Report`.
        history: as in `Report.to_html`, or None for no residuals.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    logs = None if history is None else logged("report", history)
    down = max(-(-len(report.rows) // ACROSS), 1)
    bars = 0.25 * len(report.rows) + 0.7
    figure = new_figure((10, bars + 1.6 * down + (3 if logs else 0)))
    parts = figure.subfigures(3 if logs else 2, 1, height_ratios=[bars, 1.6 * down, *([3] if logs else [])])
    draw_sparsity(parts[0].subplots(), report.rows)
    histograms = parts[1].subplots(down, ACROSS, squeeze=False).ravel()
    for axes, row in zip(histograms, report.rows, strict=False):
        draw_histogram(axes, row)
    for axes in histograms[len(report.rows) :]:
        axes.set_axis_off()
    if logs:
        axes = parts[2].subplots()
        draw_residuals(axes, logs)
        axes.set_xlabel("epoch")
    return figure


def draw_sparsity(axes, rows):
    """A bar for each row, the first on top."""
    bars = axes.barh([row.name for row in rows], [row.sparsity for row in rows])
    axes.bar_label(bars, [f"{row.sparsity:.1%}" for row in rows], padding=3, fontsize="small")
    axes.set_xlim(0, 1.12)  # room for the label of a full bar
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.margins(y=0.01)
    axes.set_xlabel("share of zeros")
    axes.tick_params(axis="y", labelsize="small")
    axes.invert_yaxis()


def draw_histogram(axes, row):
    """How the weights that are not zero are spread."""
    axes.stairs(*row.histogram, fill=True)
    axes.set_title(row.name if len(row.name) < 30 else f"...{row.name[-27:]}", fontsize="small")
    axes.locator_params(nbins=3)
    axes.tick_params(labelsize="x-small")


def draw_residuals(axes, logs):
    """The primal and dual residuals over the epochs, and what they mean."""
    draw_lines(axes, logs, ["admm_primal", "admm_dual"], "residual / ||W||")
    axes.set_title("primal: what a projection would cut; dual: how much its target still moves", fontsize="small")
    if any(v > 0 for name in ("admm_primal", "admm_dual") for v in logs[name]):
        axes.set_yscale("log")


def draw_lines(axes, logs, names, label):
    """Logs over the epochs."""
    for name in names:
        # A phase without ADMM logs zeros, which a logarithmic axis cannot show.
        values = [v if v > 0 or not name.startswith("admm_") else float("nan") for v in logs[name]]
        axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
    axes.locator_params(axis="x", integer=True)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")


def logged(name, history):
    """The dict of lists of a `History`, of a callback that was in the same fit, or as it is.

    Raises:
        ValueError: for the history of a fit without a `keras_admm` callback.
    """
    history = getattr(getattr(history, "model", None), "history", None) or history
    logs = getattr(history, "history", history)
    if not isinstance(logs, dict) or "sparsity" not in logs:
        received = f"a history of {sorted(map(str, logs))}" if isinstance(logs, dict) else checks.shown(logs)
        raise ValueError(
            f"{name}: the history must come from a fit with a keras_admm callback. "
            f"Received: {received}. Pass what model.fit(callbacks=[ADMMPrune(...)]) returned."
        )
    return logs
