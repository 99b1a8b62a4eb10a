"""Plots of a report. Needs matplotlib (`pip install keras-admm[plot]`)."""

from keras_admm.pictures import new_figure, plain
from keras_admm.reporting import history as histories

ACROSS = 4  # histograms beside one another
SPREAD = "Weights that are not zero, by value; zeros are left out."


def draw(report, history=None):
    """A figure of a report: the sparsity of each variable, the weights of each, the training.

    Args:
        report: a `Report`.
        history: as in `Report.to_html`, or None for no training.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    logs = None if history is None else histories.logged("report", history)
    down = max(-(-len(report.rows) // ACROSS), 1)
    heights = [bars_height(report.rows), 1.8 * down + 0.3, *([6] if logs else [])]
    figure = new_figure((10, sum(heights)))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    draw_sparsity(parts[0].subplots(), report.rows)
    parts[1].suptitle(SPREAD, fontsize="medium")
    histograms = parts[1].subplots(down, ACROSS, squeeze=False).ravel()
    for axes, row in zip(histograms, report.rows, strict=False):
        draw_histogram(axes, row)
    for axes in histograms[len(report.rows) :]:
        axes.set_axis_off()
    if logs:
        histories.draw(parts[2], logs)
    return figure


def bars_height(rows):
    """How many inches the bars of so many rows need."""
    return 0.25 * len(rows) + 0.7


def draw_sparsity(axes, rows):
    """A bar for each row, the first on top."""
    bars = axes.barh(range(len(rows)), [row.sparsity for row in rows])
    axes.set_yticks(range(len(rows)), [_short(row.name) for row in rows])
    axes.bar_label(bars, [f"{row.sparsity:.1%}" for row in rows], padding=3, fontsize="small")
    axes.set_xlim(0, 1.2)  # room for the label of a full bar
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.margins(y=0.01)
    axes.set_xlabel("share of zeros")
    axes.tick_params(axis="y", labelsize="small")
    axes.invert_yaxis()


def draw_histogram(axes, row):
    """How the weights that are not zero are spread."""
    axes.set_title(_short(row.name), fontsize="small")
    axes.set_xlabel("weight", fontsize="x-small")
    axes.set_ylabel("count", fontsize="x-small")
    axes.tick_params(labelsize="x-small")
    if any(row.histogram[0]):
        axes.stairs(*row.histogram, fill=True)
        axes.locator_params(nbins=3)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        told = "none is finite" if row.kept else "all are zero"
        axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", va="center", fontsize="small")


def _short(name):
    return plain(name if len(name) < 30 else f"...{name[-27:]}")
