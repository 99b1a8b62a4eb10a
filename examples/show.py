"""How the examples show what they measured: the machine it was measured on, and aligned tables."""

import importlib.metadata
import os
import platform
from pathlib import Path


def machine(*packages):
    """The processor, its cores, and the versions of Python and of some packages, in a line."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    models = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    processor = next(models, platform.machine())
    return f"{processor}, {os.cpu_count()} cores; {', '.join([f'Python {platform.python_version()}', *versions])}"


def table(head, rows):
    """Lines of cells, all strings, as aligned text: the first column to the left, the others to the right."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    )


def rates(lines):
    """The table of a network at several rates; each line is name, two accuracies in percent, kept, seconds."""
    rows = [
        (name, f"{valid:.2f}%", f"{tested:.2f}%", f"{kept:,}", f"{seconds / 60:.1f}")
        for name, valid, tested, kept, seconds in lines
    ]
    return table(("rate", "validation", "test", "kept", "minutes"), rows)
