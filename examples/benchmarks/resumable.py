"""Rows of a long benchmark in a file, one JSON object a line, so that a run which was stopped goes on where it was."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import keras


@dataclass(frozen=True)
class Rows:
    """The rows of a benchmark.

    Attributes:
        path: `Path` of the file that each row is appended to.
        keys: tuple of str, which entries of a row say what it is a measurement of: its cell; the last is the seed.
    """

    path: Path
    keys: tuple

    def read(self):
        """Dict of cells to the rows that are there; a line that a kill cut short is left out."""
        rows = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            rows[tuple(row[key] for key in self.keys)] = row
        return rows

    def fill(self, cells, measure):
        """Measure the cells that are not there.

        Args:
            cells: iterable of tuples, by the keys.
            measure: function of a cell and of what `read` tells, that returns the other entries of its row, or raises
                LookupError where another row has to be there first.
        """
        for cell in cells:
            done = self.read()  # other processes may append to it too
            if cell in done:
                continue
            keras.backend.clear_session()
            name = ", ".join(map(str, cell))
            try:
                row = dict(zip(self.keys, cell, strict=True)) | measure(cell, done)
            except LookupError as missing:
                print(f"{name}: {missing}", flush=True)
                continue
            with open(self.path, "a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{name}: validation {row['validation']:.2f}", flush=True)

    def by_seeds(self):
        """Dict of cells without their seed, sorted, to dicts of seeds to rows."""
        cells = {}
        for (*cell, seed), row in sorted(self.read().items()):
            cells.setdefault(tuple(cell), {})[seed] = row
        return cells


def arguments(description, results):
    """A parser of what every such benchmark is told.

    Args:
        description: str, with what `--help` begins.
        results: `Path`, by default the file of the rows.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the data")
    parser.add_argument("--cache", help="folder for the dense weights, trained once for each network and seed")
    parser.add_argument("--results", type=Path, default=results, help="file to which each row is appended")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print what is done, and run nothing")
    return parser
