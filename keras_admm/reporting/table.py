"""A report: its rows, its file, and its forms: a table, Markdown, a dict, an HTML page, a plot."""

from typing import NamedTuple

from keras_admm import checks, pages
from keras_admm.files import check_place, whole
from keras_admm.reporting.columns import columns, times
from keras_admm.reporting.file import PackedFile
from keras_admm.reporting.row import ReportRow
from keras_admm.tables import WIDTH, aligned, wrapped


class Report(NamedTuple):
    """The rows of a model; printing it gives an aligned table with a total, and what its packed file takes.

    Attributes:
        rows: tuple of `ReportRow`s.
        note: str, what the numbers leave out, or nothing.
        distinct: how many different values all rows together have, zero among them.
        file: a `PackedFile`: the bytes of the whole packed file, or None if the model cannot be packed.
        model: str, the model's name, or nothing.
    """

    rows: tuple
    note: str = ""
    distinct: int | None = None
    file: PackedFile | None = None
    model: str = ""

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
            f"all its numbers in float32: {file.dense_bytes:,} bytes, {times(file.ratio)} the file, "
            f"{times(file.weights_ratio)} the file without its architecture ({file.weights_bytes:,} bytes)",
        ]

    def __str__(self):
        return self.to_text()

    def __repr__(self):
        total, of = self.total, f" of {self.model}" if self.model else ""
        file = "" if self.file is None else f", packed file {self.file.bytes:,} bytes"
        return f"<Report{of}: {total.kept:,} of {total.weights:,} weights kept in {len(self.rows)} variables{file}>"

    def _repr_html_(self):
        return pages.fragment(pages.table(self.cells(), self.caption, total=True), *map(pages.paragraph, self.below))

    @property
    def caption(self):
        """What the table shows, in a sentence."""
        of = f" of {self.model}" if self.model else ""
        return f"What each variable{of} kept: weights that are not zero. Bytes and ratio are those of the packed file."

    @property
    def below(self):
        """What stands below a table: lines of text."""
        return [*self.summary, *([self.notes] if self.notes else [])]

    def to_text(self, details=False):
        """The table as aligned text, as `print` shows it: at most 100 characters wide.

        Args:
            details: bool, whether all columns are shown, in lines of any length.
        """
        width = None if checks.boolean("to_text", "details", details) else WIDTH
        below = self.below if details else map(wrapped, self.below)
        return "\n".join([aligned(self.cells(details), width), *below])

    def cells(self, details=False):
        """The table as lists of strings: the head, a line for each row, the total.

        Args:
            details: bool, whether all columns are shown, or the eight that most readers want.
        """
        shown = columns(checks.boolean("cells", "details", details))
        total = [write(self.total) for write in shown.values()]
        if not self.macs_complete and self.total.macs is not None:
            total = [f">={c}" if name.startswith("MACs") else c for name, c in zip(shown, total, strict=True)]
        return [list(shown), *([write(row) for write in shown.values()] for row in self.rows), total]

    def to_markdown(self, details=False):
        """The table in Markdown, numbers to the right.

        Args:
            details: bool, whether all columns are shown.
        """
        cells = self.cells(details)
        head, *lines = [f"| {' | '.join(line)} |" for line in cells]
        rule = f"| --- | {' | '.join(['---:'] * (len(cells[0]) - 1))} |"
        return "\n".join([head, rule, *lines, *(line for text in self.below for line in ("", text))])

    def to_dict(self):
        """The numbers alone, ready for `json.dumps`: `rows`, `total`, `file`, `macs_complete` and `note`."""
        rows = [{field: getattr(row, field) for field in FIELDS} for row in self.rows]
        total = {field: getattr(self.total, field) for field in FIELDS if field not in ("layer", "variable", "shape")}
        file = None if self.file is None else self.file.to_dict()
        return {"rows": rows, "total": total, "file": file, "macs_complete": self.macs_complete, "note": self.note}

    def to_html(self, path=None, history=None, details=False):
        """One page that needs nothing else: the table, and its pictures drawn in it. Needs matplotlib.

        It fits narrow and wide screens, light and dark ones, and its pictures have labels for screen readers.

        Args:
            path: where to write the page; None writes none.
            history: what tells of the training, to draw its sparsity, residuals and accuracy over the epochs: what
                `fit` returned, its dict of lists, or the `keras_admm` callback that was in it.
            details: bool, whether the table has all columns, or the eight that most readers want.

        Returns:
            The page, a str.

        Raises:
            ImportError: without matplotlib.
            ValueError: for a history without such a callback, or a path that cannot be written.
        """
        from keras_admm.reporting.page import page

        if path is not None:
            check_place(path)
        text = page(self, history, checks.boolean("to_html", "details", details))
        if path is not None:
            with whole(path) as partial:
                partial.write_text(text, encoding="utf-8")
        return text

    def plot(self, path, history=None):
        """Draws each variable's sparsity and weights, and with a history the training, and saves the picture.

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
