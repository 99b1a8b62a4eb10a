"""What plots and pages are made of: figures of matplotlib, and the files that they are written to."""

import io
import re
from html import escape

from keras_admm.files import whole

TEXT = {"svg.fonttype": "none", "svg.hashsalt": "keras_admm"}  # text stays text; the same picture is the same file


def new_figure(size, layout="constrained"):
    """A figure of `size` inches that no window shows.

    Args:
        size: pair of floats.
        layout: what makes room for labels, as matplotlib has it; `"none"` where the axes are told their room.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "pictures: matplotlib must be installed to draw. Received: an environment without it. "
            "Run: pip install keras-admm[plot]"
        ) from error
    return Figure(figsize=size, layout=layout)


def plain(name):
    """A name as a text of a figure, in which matplotlib would else read what stands between two `$` as mathematics.

    Example:

    >>> plain("p$x_$q")
    'p\\\\$x_\\\\$q'
    """
    return name.replace("$", r"\$")


def svg(figure, label):
    """The figure as an SVG element, ready to stand in a page, whose colours for ink and paper it takes.

    Args:
        figure: `matplotlib.figure.Figure`.
        label: str, what a screen reader says of it.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context(TEXT):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])  # which other pictures of the page have too
    text = text.replace("#000000", "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def save_figure(figure, path):
    """Writes a picture whole or not at all, in the format that the path's ending says, `.png` where it has none."""
    import matplotlib

    with whole(path) as partial, matplotlib.rc_context(TEXT):
        figure.savefig(partial, dpi=120, format=partial.suffix[1:] or "png")
