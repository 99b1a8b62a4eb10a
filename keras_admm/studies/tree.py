"""`ProgressiveSearch`, the record of a search: which model came from which, and what each was worth."""

from typing import NamedTuple

from keras_admm.files import check_place
from keras_admm.tables import aligned

DENSE = "dense"


class Trial(NamedTuple):
    """One model that was pruned and trained.

    Attributes:
        number: int, from 1, in the order in which they were begun.
        sparsity: float, the share of zeros that it was pruned to.
        parent: int, the number of the trial that it came from; None: the dense model.
        metrics: dict of names such as `"val_accuracy"` to floats.
        kept: bool, whether it was the best of its sparsity, and took its parent's place.
    """

    number: int
    sparsity: float
    parent: int | None
    metrics: dict
    kept: bool


class ProgressiveSearch(NamedTuple):
    """All trials of a search; printing it gives a table and a tree.

    Attributes:
        monitor: str, the metric by which the best was chosen.
        trials: tuple of `Trial`s.
    """

    monitor: str
    trials: tuple

    @property
    def best(self):
        """The `Trial` of the largest sparsity that was kept."""
        return max((trial for trial in self.trials if trial.kept), key=lambda trial: trial.sparsity)

    @property
    def path(self):
        """The `Trial`s that led to the best, the first of them pruned from the dense model."""
        found, by_number = [self.best], {trial.number: trial for trial in self.trials}
        while found[0].parent is not None:
            found.insert(0, by_number[found[0].parent])
        return tuple(found)

    def __str__(self):
        return f"{self.table()}\n\n{self.tree()}"

    def table(self):
        """A line for each trial, as text."""
        lines = [
            [str(t.number), f"{t.sparsity:.5g}", t.parent or DENSE, f"{t.metrics[self.monitor]:.4f}", _verdict(t)]
            for t in self.trials
        ]
        return aligned([["trial", "sparsity", "from", self.monitor, ""], *([*map(str, line)] for line in lines)])

    def tree(self):
        """Which came from which, as text; what was not kept is in brackets."""
        return "\n".join([DENSE, *self._branches(None, "")])

    def _branches(self, parent, indent):
        children = [trial for trial in self.trials if trial.parent == parent]
        for child in children:
            corner, below = ("`-- ", "    ") if child is children[-1] else ("|-- ", "|   ")
            told = f"{child.sparsity:.5g}: {child.metrics[self.monitor]:.4f}"
            yield indent + corner + (told if child.kept else f"({told})")
            yield from self._branches(child.number, indent + below)

    def to_dict(self):
        """The numbers alone, ready for `json.dumps`."""
        return {"monitor": self.monitor, "trials": [trial._asdict() for trial in self.trials]}

    def plot(self, path):
        """Draws the tree: a point for each trial over its sparsity, lines to where it came from, and saves the picture.

        Args:
            path: where the picture goes; the ending says the format, `.png` or `.svg`.

        Raises:
            ImportError: without matplotlib.
            ValueError: for a path that cannot be written.
        """
        from keras_admm.pictures import new_figure, plain, save_figure

        check_place(path)
        figure = new_figure((8, 4.5))
        axes = figure.subplots()
        steps = sorted({trial.sparsity for trial in self.trials})
        places = {trial.number: (steps.index(trial.sparsity), trial.metrics[self.monitor]) for trial in self.trials}
        for trial in self.trials:
            if trial.parent is not None:
                (x0, y0), (x1, y1) = places[trial.parent], places[trial.number]
                axes.plot([x0, x1], [y0, y1], "-" if trial.kept else ":", color="gray", linewidth=1, zorder=1)
        way = [places[trial.number] for trial in self.path]
        axes.plot(*zip(*way, strict=True), color="C1", linewidth=2, zorder=2, label="the way to the last")
        for kept, face, label in ((False, "white", "not kept"), (True, "C0", "kept")):
            those = [places[trial.number] for trial in self.trials if trial.kept == kept]
            if those:
                axes.scatter(*zip(*those, strict=True), c=face, edgecolors="C0", zorder=3, label=label)
        axes.set_xticks(range(len(steps)), [f"{s:.5g}" for s in steps])
        axes.set_xlabel("sparsity")
        axes.set_ylabel(plain(self.monitor))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        save_figure(figure, path)


def _verdict(trial):
    return "kept" if trial.kept else ""
