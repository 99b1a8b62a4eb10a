"""The rows of a report, and the ways to read them: a table, Markdown, a dict, a page, a picture."""

from typing import NamedTuple

from keras_admm.files import whole


class Row(NamedTuple):
    """One compressible variable, or the total.

    Attributes:
        name: the variable's path.
        shape: its shape.
        weights: how many weights it has.
        kept: how many of them are not zero.
        distinct: how many different values they have, zero among them; None for the total.
        macs: multiplications (each with an addition) by these weights for one sample; None: not known.
        macs_left: those by weights that are not zero.
        histogram: the counts of the weights that are not zero in bins of equal width, and the bins' edges.
    """

    name: str
    shape: tuple
    weights: int
    kept: int
    distinct: int | None = None
    macs: int | None = None
    macs_left: int | None = None
    histogram: tuple = ((), ())

    @property
    def layer(self):
        """The path of the layer that has the variable."""
        return self.name.rpartition("/")[0]

    @property
    def variable(self):
        """The variable's own name."""
        return self.name.rpartition("/")[2]

    @property
    def zeros(self):
        return self.weights - self.kept

    @property
    def sparsity(self):
        return 1 - self.kept / self.weights

    @property
    def dense_bytes(self):
        """Bytes of all weights as float32, zeros too."""
        return 4 * self.weights


class Report(NamedTuple):
    """The rows of a model; printing it gives an aligned table with a total.

    Attributes:
        rows: tuple of `Row`s.
        note: str, what the numbers leave out, or nothing.
    """

    rows: tuple
    note: str = ""

    @property
    def total(self):
        """The sums, as a `Row`; its MACs are those of the rows where they are known, None where there are none."""
        fields = ("weights", "kept", "macs", "macs_left")
        return Row("total", (), **{field: _sum(getattr(row, field) for row in self.rows) for field in fields})

    @property
    def macs_complete(self):
        """Whether the MACs of every row are known; if not, the total's are a lower bound."""
        return all(row.macs is not None for row in self.rows)

    @property
    def notes(self):
        """What the numbers leave out, in sentences, or nothing."""
        bound = not self.macs_complete and self.total.macs is not None
        return f"{self.note} The total of MACs is a lower bound." if bound else self.note

    def __str__(self):
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in cells
        ]
        return "\n".join([*lines, *([self.notes] if self.notes else [])])

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
        return "\n".join([head, rule, *lines, *(["", self.notes] if self.notes else [])])

    def to_dict(self):
        """The numbers alone, ready for `json.dumps`: `rows`, `total`, `macs_complete` and `note`."""
        rows = [{field: getattr(row, field) for field in FIELDS} for row in self.rows]
        total = {field: getattr(self.total, field) for field in FIELDS if field not in ("layer", "variable", "shape")}
        return {"rows": rows, "total": total, "macs_complete": self.macs_complete, "note": self.note}

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
            ValueError: for a history without such a callback.
        """
        from keras_admm.report.page import page

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
            ValueError: for a history without a `keras_admm` callback.
        """
        from keras_admm.report.pictures import draw

        figure = draw(self, history)
        with whole(path) as partial:
            figure.savefig(partial, dpi=120)


FIELDS = "layer variable shape weights kept zeros sparsity distinct macs macs_left dense_bytes".split()


def _sum(values):
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _short(count):
    """A count with three digits and a unit; small ones as they are."""
    if count is None:
        return "-"
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:,.0f}{unit}"
    return str(count)


# What the table shows of a row; a figure more is a line more.
COLUMNS = {
    "variable": lambda row: row.name,
    "shape": lambda row: "x".join(map(str, row.shape)),
    "weights": lambda row: f"{row.weights:,}",
    "kept": lambda row: f"{row.kept:,}",
    "sparsity": lambda row: f"{row.sparsity:.4f}",
    "rate": lambda row: f"{row.weights / row.kept:.1f}x" if row.kept else "-",
    "distinct": lambda row: "-" if row.distinct is None else f"{row.distinct:,}",
    "MACs": lambda row: _short(row.macs),
    "MACs left": lambda row: _short(row.macs_left),
    "bytes": lambda row: _short(row.dense_bytes),
}
