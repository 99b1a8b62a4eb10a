"""Sequences on the dashboard: logos of letters, heat strips, temporal scores as lines."""

import numpy as np

from keras_admm import pages
from keras_admm.explain import drawings, sequences
from keras_admm.explain.drawn import Drawn

TEXT, LETTERS, LOGO, STRIP, LINES, GAP = 14, 14, 36, 7, 44, 8


class Sequences(Drawn):
    """One-hot sequences, or others, of which the places alone are drawn.

    Args:
        x: array `(samples, positions, channels)`.
        alphabet: str of a letter for each channel, or None.
    """

    def __init__(self, x, alphabet):
        self._x, self._alphabet = np.asarray(x, "float32"), alphabet

    def glyphs(self):
        return drawings.glyphs(self._alphabet) if self._alphabet else ""

    def optimized(self, name, samples):
        parts = []
        for which, matrix in samples.items():
            parts.append(pages.subsection(f"{name}, class {which}", self._logo(matrix, f"{name}: most typical input")))
        return "\n".join(parts)

    def filter(self, name, windows, match):
        """A filter's motif above the known one that it matches, on the strand and at the offset that match."""
        known = match.motif.matrix if match.strand == "+" else match.motif.matrix[::-1, ::-1]
        told = (
            f"{name}, filter {windows.filter}: {match.motif.label}, correlation {match.correlation:.2f}, "
            f"p {match.p_value:.3f}, strand {match.strand}, {len(windows.values)} windows"
        )
        first, second = max(-match.offset, 0), max(match.offset, 0)
        width = max(first + len(windows.pwm), second + len(known)) * drawings.CELL
        above = drawings.logo(_moved(drawings.information(windows.pwm), first), 0, LOGO)
        below = drawings.logo(_moved(drawings.information(known), second), LOGO + GAP, LOGO)
        return pages.subsection(told, pages.wide(drawings.svg([above, below], width, 2 * LOGO + GAP, told)))

    def sample(self, i, maps, scores, temporal):
        sequence, parts, top = self._x[i], [], 0
        length = len(sequence)
        if self._alphabet:
            parts.append(drawings.logo(sequence.clip(0, 1), top, LETTERS))
            top += LETTERS + GAP
        series = [values for values in temporal.values()]
        limits = _limits(series)
        for name, values in maps.items():
            parts.append(drawings.text(f"{name}: score {scores[name]:.3f}", top + TEXT - 4))
            top += TEXT
            if self._alphabet:
                parts.append(drawings.logo(sequence.clip(0, 1) * values[:, None], top, LOGO))
                top += LOGO + 2
            parts.append(drawings.strip(values, top, STRIP))
            top += STRIP + GAP
            if name in temporal:
                parts.append(drawings.lines(temporal[name], limits, length * drawings.CELL, top, LINES))
                top += LINES + GAP
        label = f"Saliency of sample {i} under {', '.join(maps)}"
        drawing = pages.wide(drawings.svg(parts, length * drawings.CELL, top, label))
        return drawing + pages.numbers(self._cells(sequence, maps, temporal))

    def _logo(self, matrix, label):
        width = len(matrix) * drawings.CELL
        if self._alphabet:
            drawn = drawings.logo(drawings.information(matrix), 0, LOGO)
        else:
            drawn = drawings.strip(np.abs(matrix).sum(-1), 0, STRIP)
        cells = [["position", *(self._alphabet or map(str, range(matrix.shape[-1])))]]
        cells += [[str(i), *(f"{value:.2f}" for value in place)] for i, place in enumerate(matrix)]
        return pages.wide(drawings.svg([drawn], width, LOGO, label)) + pages.numbers(cells)

    def _cells(self, sequence, maps, temporal):
        letters = sequences.letters(sequence, self._alphabet) if self._alphabet else [""] * len(sequence)
        fits = {name: each for name, each in temporal.items() if each.shape[1] == len(sequence)}
        head = ["position", "letter", *maps]
        head += [f"{name} {way}" for name in fits for way in ("forward", "backward")]
        columns = [*maps.values(), *(way for each in fits.values() for way in each)]
        rows = [[str(i), letters[i], *(f"{column[i]:.3g}" for column in columns)] for i in range(len(sequence))]
        return [head, *rows]


def _moved(heights, by):
    return np.pad(heights, ((by, 0), (0, 0)))


def _limits(series):
    """The frame of all lines: 0 and 1 for probabilities."""
    values = np.concatenate([each.ravel() for each in series]) if series else np.zeros(1)
    values = values[np.isfinite(values)]
    if not values.size or values.min() >= 0 and values.max() <= 1:
        return 0.0, 1.0
    return float(values.min()), float(values.max())
