"""What plots and pages are made of: figures of matplotlib, and the files that they are written to."""

import io

from keras_admm.files import whole


def new_figure(size):
    """A figure of `size` inches that no window shows."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "pictures: matplotlib must be installed to draw. Received: an environment without it. "
            "Run: pip install keras-admm[plot]"
        ) from error
    return Figure(figsize=size, layout="constrained")


def svg(figure):
    """The figure as an SVG element, ready to stand in a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def save_figure(figure, path):
    """Writes a picture whole or not at all, in the format that the path's ending says, `.png` where it has none."""
    with whole(path) as partial:
        figure.savefig(partial, dpi=120, format=partial.suffix[1:] or "png")
