"""`Comparison`: what models of one task look at, beside one another."""

from typing import NamedTuple

import numpy as np

MOST = 5  # changed samples that are named


class Compared(NamedTuple):
    """How a model compares with the first one.

    Attributes:
        name: str.
        accuracy: float, the share of samples whose class is right.
        auc: float, of class 1; None for more than two classes.
        agreement: float, the share of samples of the same class as the first model predicts.
        rank_correlation: float, Spearman's of the saliency of a sample with that of the first model; the mean.
        overlap: float, the share of the places of most saliency that are such for the first model; the mean.
        auprc: float, the average precision of the saliency for the true places; the mean. None where they are not told.
        motifs: tuple of str, the known motifs that filters match; None where none were given.
        lost: tuple of str, those of the first model's that are not among them.
        prediction_changed: tuple of ints, the samples whose score changed most.
        explanation_changed: tuple of ints, the samples whose saliency changed most.
    """

    name: str
    accuracy: float
    auc: float | None
    agreement: float
    rank_correlation: float
    overlap: float
    auprc: float | None
    motifs: tuple | None
    lost: tuple
    prediction_changed: tuple
    explanation_changed: tuple


class Comparison(NamedTuple):
    """Models beside one another; printing it gives a table.

    Attributes:
        rows: tuple of `Compared`, the first model first.
        maps: dict of names to arrays `(samples, places)`, the saliency of each place.
        scores: dict of names to arrays `(samples,)`, the score of the class of each.
        classes: array `(samples,)`, the class of each sample.
        filters: dict of names to tuples of pairs of `Windows` and `Match`, the filters that known motifs name; empty
            where none were given.
    """

    rows: tuple
    maps: dict
    scores: dict
    classes: np.ndarray
    filters: dict

    def __str__(self):
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells]
        told = [self.sentence(row) for row in self.rows[1:]]
        return "\n".join([*lines, *told])

    def cells(self):
        """The table as lists of strings: the head, and a line for each model."""
        columns = {name: write for name, write in COLUMNS.items() if any(write(row) != "-" for row in self.rows)}
        return [list(columns), *([write(row) for write in columns.values()] for row in self.rows)]

    def sentence(self, row):
        """Which samples changed most, and which motifs are lost."""
        first = self.rows[0].name
        told = [
            f"{row.name} beside {first}: scores changed most of samples {_listed(row.prediction_changed)}; "
            f"saliency of samples {_listed(row.explanation_changed)}."
        ]
        if row.motifs is not None:
            told.append(f"Motifs lost: {', '.join(row.lost) or 'none'}.")
        return " ".join(told)

    def to_dict(self):
        """The rows, ready for `json.dumps`; None for what is not defined, such as the AUC of one class."""
        return {"rows": [{name: _told(each) for name, each in row._asdict().items()} for row in self.rows]}


def _listed(samples):
    return ", ".join(map(str, samples[:MOST]))


def _told(value):
    return None if isinstance(value, float) and np.isnan(value) else value


def _share(value):
    return "-" if value is None or np.isnan(value) else f"{value:.4f}"


COLUMNS = {
    "model": lambda row: row.name,
    "accuracy": lambda row: _share(row.accuracy),
    "AUC": lambda row: _share(row.auc),
    "agreement": lambda row: _share(row.agreement),
    "rank correlation": lambda row: _share(row.rank_correlation),
    "overlap": lambda row: _share(row.overlap),
    "AUPRC": lambda row: _share(row.auprc),
    "motifs": lambda row: "-" if row.motifs is None else str(len(row.motifs)),
    "lost": lambda row: "-" if row.motifs is None else str(len(row.lost)),
}
