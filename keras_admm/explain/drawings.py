"""Drawings in SVG: sequence logos, heat strips, lines. Colours are the page's, so that a dark theme changes them."""

from html import escape

import numpy as np

CELL = 10  # units of a place of a sequence
COLORS = {"A": "#2a9d4a", "C": "#2f7de1", "G": "#e09f1f", "T": "#e0483e", "U": "#e0483e"}


def color(letter, number):
    """A letter's colour: as in other logos where it is of DNA or RNA, else one of its own."""
    return COLORS.get(letter, f"hsl({137.5 * number % 360:.0f} 60% 50%)")


def glyphs(alphabet):
    """The shapes of letters as a hidden element, to be used by `logo`: drawn once, however often they appear."""
    shapes = "".join(
        f'<path id="glyph{i}" d="{_outline(letter)}" fill="{color(letter, i)}"/>' for i, letter in enumerate(alphabet)
    )
    return f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{shapes}</defs></svg>'


def _outline(letter):
    """A letter's outline in the unit square, as an SVG path."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), letter, size=100, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    low, high = path.vertices.min(0), path.vertices.max(0)
    parts = []
    for points, code in path.iter_segments(simplify=False):
        scaled = (np.reshape(points, (-1, 2)) - low) / (high - low)
        numbers = " ".join(f"{x:.3f} {1 - y:.3f}" for x, y in scaled)
        parts.append("Z" if code == 79 else f"{'.MLQC'[code]}{numbers}")
    return "".join(parts)


def logo(heights, top, height):
    """Letters above one another, each as high as its number; the largest sum fills the height.

    Args:
        heights: array `(positions, letters)`, not negative.
        top: float, where the drawing begins.
        height: float, of the whole.
    """
    scale = height / max(heights.sum(1).max(), 1e-12)
    parts = []
    for i, place in enumerate(heights):
        at = top + height
        for letter in np.argsort(place, kind="stable"):
            size = place[letter] * scale
            if size >= 0.2:
                at -= size
                move = f"translate({i * CELL + 0.5:g} {at:.1f}) scale({CELL - 1} {size:.1f})"
                parts.append(f'<use href="#glyph{letter}" transform="{move}"/>')
    return "".join(parts)


def strip(values, top, height):
    """A cell for each number, the darker the larger."""
    shares = values / max(values.max(), 1e-12)
    cells = [
        f'<rect x="{i * CELL}" y="{top:g}" width="{CELL}" height="{height:g}" fill-opacity="{share:.2f}"/>'
        for i, share in enumerate(shares)
        if share >= 0.01
    ]
    frame = f'<rect class="frame" x="0" y="{top:g}" width="{len(values) * CELL}" height="{height:g}"/>'
    return f'<g class="heat">{"".join(cells)}</g>{frame}'


def lines(series, limits, width, top, height):
    """Lines in a frame, the first one drawn through, the second one dashed.

    Args:
        series: list of arrays of numbers; NaN are left out.
        limits: pair of floats, the bottom and top of the frame.
    """
    low, high = limits
    parts = [f'<rect class="frame" x="0" y="{top:g}" width="{width:g}" height="{height:g}"/>']
    for name, values in zip(("forward", "backward"), series, strict=False):
        x = (np.arange(len(values)) + 0.5) * width / len(values)
        y = top + height * (1 - (values - low) / max(high - low, 1e-12))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
        parts.append(f'<polyline class="{name}" points="{points}"/>')
    return "".join(parts)


def text(words, top):
    """A line of text that begins at the left."""
    return f'<text x="0" y="{top:g}">{escape(words)}</text>'


def svg(parts, width, height, label):
    """An SVG element of drawings, which a screen reader calls by its label."""
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="min-width:{width / 20:g}rem;max-width:{width / 10:g}rem">{"".join(parts)}</svg>'
    )


def information(matrix):
    """The heights of the letters of a position weight matrix: their shares of the information of each place, in bits.

    Example:

    >>> information(np.array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])).tolist()
    [[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    shares = matrix / np.maximum(matrix.sum(-1, keepdims=True), 1e-12)
    entropy = -(shares * np.log2(np.maximum(shares, 1e-12))).sum(-1, keepdims=True)
    return shares * np.maximum(np.log2(matrix.shape[-1]) - entropy, 0)


def png(array):
    """An image `(rows, columns)` or `(rows, columns, 3)` of numbers in [0, 1] as the address of a PNG in the page."""
    import base64
    import io

    from matplotlib.image import imsave

    file = io.BytesIO()
    rgb = np.repeat(array[..., None], 3, -1) if array.ndim == 2 else array
    imsave(file, np.clip(rgb, 0, 1), format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def overlay(image, heat):
    """An image `(rows, columns, 3)` in grey, with heat `(rows, columns)` over it in red."""
    grey = np.repeat(image.mean(-1, keepdims=True), 3, -1) * 0.7
    share = (heat / max(heat.max(), 1e-12))[..., None]
    return grey * (1 - share) + share * np.array([1.0, 0.25, 0.1])
