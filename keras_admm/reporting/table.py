"""A report: its rows, its file, and its forms: a table, Markdown, a dict, an HTML page, a plot."""

from typing import NamedTuple

from keras_admm.files import check_place, whole
from keras_admm.reporting.file import PackedFile
from keras_admm.reporting.row import ReportRow
from keras_admm.tables import aligned


class Report(NamedTuple):
    """The rows of a model; printing it gives an aligned table with a total, and what its packed file takes.

    Attributes:
        rows: tuple of `ReportRow`s.
        note: str, what the numbers leave out, or nothing.
        distinct: how many different values all rows together have, zero among them.
        file: a `PackedFile`: the bytes of the whole packed file, or None if the model cannot be packed.
    """

    rows: tuple
    note: str = ""
    distinct: int | None = None
    file: PackedFile | None = None

    @property
    def total(self):
        """The sums, as a `ReportRow`; its distinct values are those of all rows together.

        Its MACs are those of the rows where they are known, None where there are none; its bytes are None unless
        those of every row are known.
        """
        known = {field: _sum(getattr(row, field) for row in self.rows) for field in ("macs", "macs_left")}
        all_of = {field: _sum_of_all(getattr(row, field) for row in self.rows) for field in SUMMED}
        return ReportRow("total", (), distinct=self.distinct, **known, **all_of)

    @property
    def macs_complete(self):
        """Whether the MACs of every row are known; if not, the total's are a lower bound."""
        return all(row.macs is not None for row in self.rows)

    @property
    def notes(self):
        """What the numbers leave out, in sentences, or nothing."""
        bound = not self.macs_complete and self.total.macs is not None
        return f"{self.note} The total of MACs is a lower bound." if bound else self.note

    @property
    def summary(self):
        """The packed file's figures as lines of text, none if the model cannot be packed."""
        if self.file is None:
            return []
        file = self.file
        parts = {"rows": file.rows, "rest": file.rest, "architecture": file.architecture, "head": file.head}
        return [
            f"packed file: {file.bytes:,} bytes ({' + '.join(f'{name} {n:,.0f}' for name, n in parts.items())})",
            f"all its numbers in float32: {file.dense_bytes:,} bytes, {_times(file.ratio)} the file, "
            f"{_times(file.weights_ratio)} the file without its architecture ({file.weights_bytes:,} bytes)",
        ]

    def __str__(self):
        return "\n".join([aligned(self.cells()), *self.summary, *([self.notes] if self.notes else [])])

    def cells(self):
        """The table as lists of strings: the head, a line for each row, the total."""
        total = [write(self.total) for write in COLUMNS.values()]
        if not self.macs_complete and self.total.macs is not None:
            total = [f">={c}" if name.startswith("MACs") else c for name, c in zip(COLUMNS, total, strict=True)]
        return [list(COLUMNS), *([write(row) for write in COLUMNS.values()] for row in self.rows), total]

    def to_markdown(self):
        """The table in Markdown, numbers to the right."""
        head, *lines = [f"| {' | '.join(line)} |" for line in self.cells()]
        rule = f"| --- | {' | '.join(['---:'] * (len(COLUMNS) - 1))} |"
        below = [line for text in (*self.summary, self.notes) if text for line in ("", text)]
        return "\n".join([head, rule, *lines, *below])

    def to_dict(self):
        """The numbers alone, ready for `json.dumps`: `rows`, `total`, `file`, `macs_complete` and `note`."""
        rows = [{field: getattr(row, field) for field in FIELDS} for row in self.rows]
        total = {field: getattr(self.total, field) for field in FIELDS if field not in ("layer", "variable", "shape")}
        file = None if self.file is None else self.file.to_dict()
        return {"rows": rows, "total": total, "file": file, "macs_complete": self.macs_complete, "note": self.note}

    def to_html(self, path=None, history=None):
        """One page that needs nothing else: the table, and its pictures drawn in it. Needs matplotlib.

        Args:
            path: where to write the page; None writes none.
            history: what tells of the training, to draw its residuals over the epochs: what `fit` returned, its
                dict of lists, or the `keras_admm` callback that was in it.

        Returns:
            The page, a str.

        Raises:
            ImportError: without matplotlib.
            ValueError: for a history without such a callback, or a path that cannot be written.
        """
        from keras_admm.reporting.page import page

        if path is not None:
            check_place(path)
        text = page(self, history)
        if path is not None:
            with whole(path) as partial:
                partial.write_text(text, encoding="utf-8")
        return text

    def plot(self, path, history=None):
        """Draws each variable's sparsity and weights, and with a history the residuals, and saves the picture.

        Args:
            path: where the picture goes; the ending says the format, `.png` or `.svg`.
            history: as in `to_html`.

        Raises:
            ImportError: without matplotlib.
            ValueError: for a history without a `keras_admm` callback, or a path that cannot be written.
        """
        from keras_admm.pictures import save_figure
        from keras_admm.reporting.pictures import draw

        check_place(path)
        save_figure(draw(self, history), path)


FIELDS = (
    "layer variable shape weights kept zeros sparsity distinct bits_per_weight macs macs_left "
    "dense_bytes data_bytes index_bytes side_bytes with_indices_bytes packed_bytes "
    "data_ratio with_indices_ratio packed_ratio"
).split()
SUMMED = ("weights", "kept", "data_bytes", "index_bytes", "side_bytes")


def _sum(values):
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_of_all(values):
    values = list(values)
    return None if None in values else sum(values)


def _short(count):
    """A count with three digits and a unit; small ones as they are."""
    if count is None:
        return "-"
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:,.0f}{unit}"
    return f"{count:.3g}"


def _times(ratio):
    return "-" if ratio is None else f"{ratio:,.1f}x" if ratio < 99.95 else f"{ratio:,.0f}x"


# What the table shows of a row; a figure more is a line more.
COLUMNS = {
    "variable": lambda row: row.name,
    "shape": lambda row: "x".join(map(str, row.shape)),
    "weights": lambda row: f"{row.weights:,}",
    "kept": lambda row: f"{row.kept:,}",
    "sparsity": lambda row: f"{row.sparsity:.4f}",
    "distinct": lambda row: "-" if row.distinct is None else f"{row.distinct:,}",
    "bits": lambda row: "-" if row.bits_per_weight is None else f"{row.bits_per_weight:.3g}",
    "MACs": lambda row: _short(row.macs),
    "MACs left": lambda row: _short(row.macs_left),
    "dense": lambda row: _short(row.dense_bytes),
    "data": lambda row: _short(row.data_bytes),
    "+index": lambda row: _short(row.with_indices_bytes),
    "packed": lambda row: _short(row.packed_bytes),
    "data x": lambda row: _times(row.data_ratio),
    "+index x": lambda row: _times(row.with_indices_ratio),
    "packed x": lambda row: _times(row.packed_ratio),
}
