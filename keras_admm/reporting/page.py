"""A report as one page of HTML that needs nothing from elsewhere."""

import datetime

import keras

from keras_admm import __version__, pages
from keras_admm.pictures import new_figure, svg
from keras_admm.reporting import history as histories
from keras_admm.reporting import pictures

ROOM = {"left": 0.26, "right": 0.95, "bottom": 0.25, "top": 0.87}  # of a histogram, beside its labels


def page(report, history=None, details=False):
    """The page, a str. See `Report.to_html`."""
    logs = None if history is None else histories.logged("report", history)
    sections = [_sparsity(report.rows), _spread(report.rows), *([] if logs is None else [_training(logs)])]
    table = pages.table(report.cells(details), report.caption, total=True)
    summary = [pages.paragraph(_origin()), table, *map(pages.paragraph, report.below)]
    return pages.page(f"{report.model or 'A model'}: what each layer kept", "\n".join(summary), sections)


def _origin():
    """When the page was written, and by what."""
    versions = f"keras_admm {__version__}, Keras {keras.__version__} on {keras.backend.backend()}"
    return f"{datetime.date.today().isoformat()}, {versions}"


def _sparsity(rows):
    figure = new_figure((5, pictures.bars_height(rows)))
    pictures.draw_sparsity(figure.subplots(), rows)
    label = "Share of zeros: " + ", ".join(f"{row.name} {row.sparsity:.1%}" for row in rows)
    return pages.section("Zeros", pages.figure(svg(figure, label), "Share of the weights of each variable that are 0."))


def _spread(rows):
    return pages.section("Weights", pages.paragraph(pictures.SPREAD), pages.grid(map(_histogram, rows)))


def _histogram(row):
    figure = new_figure((2.4, 1.8), layout="none")  # there is one for each variable: to look for room takes long
    pictures.draw_histogram(figure.subplots(gridspec_kw=ROOM), row)
    counts, edges = row.histogram
    between = f"between {edges[0]:.3g} and {edges[-1]:.3g}" if any(counts) else "left"
    told = f"{row.name}: {row.kept:,} of {row.weights:,} weights {between}"
    return pages.figure(svg(figure, told), told)


def _training(logs):
    figure = new_figure((4.8, 7))
    histories.draw(figure, logs)
    heads = [name for name, values in logs.items() if len(values) == len(logs["sparsity"])]
    lines = [[str(i), *(f"{v:.4g}" for v in each)] for i, each in enumerate(zip(*map(logs.get, heads), strict=True), 1)]
    told = histories.told(logs)
    return pages.section("Training", pages.figure(svg(figure, told), told), pages.numbers([["epoch", *heads], *lines]))
