"""The columns of a report's table: what each shows of a row, as text."""


def short(count):
    """A count with three digits and a unit; small ones as they are."""
    if count is None:
        return "-"
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:,.0f}{unit}"
    return f"{count:.3g}"


def times(ratio):
    """How many times smaller."""
    return "-" if ratio is None else f"{ratio:,.1f}x" if ratio < 99.95 else f"{ratio:,.0f}x"


# All of them, for `details=True`; a figure more is a line more.
ALL = {
    "variable": lambda row: row.name,
    "shape": lambda row: "x".join(map(str, row.shape)),
    "weights": lambda row: f"{row.weights:,}",
    "kept": lambda row: f"{row.kept:,}",
    "sparsity": lambda row: f"{row.sparsity:.4f}",
    "distinct": lambda row: "-" if row.distinct is None else f"{row.distinct:,}",
    "bits": lambda row: "-" if row.bits_per_weight is None else f"{row.bits_per_weight:.3g}",
    "MACs": lambda row: short(row.macs),
    "MACs left": lambda row: short(row.macs_left),
    "dense": lambda row: short(row.dense_bytes),
    "data": lambda row: short(row.data_bytes),
    "+index": lambda row: short(row.with_indices_bytes),
    "packed bytes": lambda row: short(row.packed_bytes),
    "data x": lambda row: times(row.data_ratio),
    "+index x": lambda row: times(row.with_indices_ratio),
    "ratio": lambda row: times(row.packed_ratio),
}
SHOWN = ("variable", "shape", "weights", "kept", "sparsity", "MACs left", "packed bytes", "ratio")


def columns(details):
    """The columns of a table by their heads: those that most readers want, or all."""
    return ALL if details else {name: ALL[name] for name in SHOWN}
