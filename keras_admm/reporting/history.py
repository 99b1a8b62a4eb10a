"""The picture of a training: sparsity, residuals and accuracy over the epochs, with phases and projections."""

import itertools
from typing import NamedTuple

from keras_admm import checks
from keras_admm.pictures import plain

ADMM = "tab:orange"  # what ADMM epochs are shaded with
SHARES = {"sparsity": "sparsity", "admm_sparsity": "admm_sparsity: of Z"}
RESIDUALS = {"admm_primal": "what a projection would cut", "admm_dual": "how much its target moves"}


class Span(NamedTuple):
    """Epochs of one phase, one after the other.

    Attributes:
        first, last: ints, from 1.
        phase: `"ADMM"` or `"retraining"`.
        step: int, which progressive step, from 1.
    """

    first: int
    last: int
    phase: str
    step: int


def spans(logs):
    """The phases of a run, a list of `Span`s; none for callbacks that have no phases.

    Args:
        logs: dict of lists, `"admm_rho"` and `"admm_step"` among them: rho and the residuals are 0 while the model is
            retrained.

    Example:

    >>> spans({"admm_rho": [0.1, 0.2, 0], "admm_step": [1, 1, 1]})
    [Span(first=1, last=2, phase='ADMM', step=1), Span(first=3, last=3, phase='retraining', step=1)]
    """
    rhos, steps = logs.get("admm_rho", ()), logs.get("admm_step", ())
    pulls = [rho > 0 or primal > 0 for rho, primal in zip(rhos, logs.get("admm_primal", rhos), strict=True)]
    epochs = enumerate(zip(pulls, steps, strict=True), 1)
    found = []
    for (pulled, step), these in itertools.groupby(epochs, key=lambda epoch: (epoch[1][0], int(epoch[1][1]))):
        numbers = [number for number, _ in these]
        found.append(Span(numbers[0], numbers[-1], "ADMM" if pulled else "retraining", step))
    return found


def told(logs):
    """What the picture shows, in sentences."""
    epochs = len(logs["sparsity"])
    after = [str(span.last) for span in spans(logs) if span.phase == "ADMM"]
    phases = ", ".join(f"{s.first}-{s.last} {s.phase} of step {s.step}" for s in spans(logs))
    parts = [f"Sparsity, residuals and accuracy over {epochs} epochs."]
    parts += [f"Epochs {phases}. Weights were projected after epochs {', '.join(after)} (dotted)."] if after else []
    return " ".join(parts)


def draw(figure, logs):
    """Draws sparsity, residuals and accuracy one above the other.

    Args:
        figure: a `matplotlib` figure or subfigure.
        logs: dict of lists, as `logged` gives it.
    """
    axes = figure.subplots(3, 1, sharex=True)
    _draw_lines(axes[0], logs, SHARES, "share of zeros")
    _draw_lines(axes[1], logs, {name: f"{name}: {said}" for name, said in RESIDUALS.items()}, "residual / ||W||")
    if any(v > 0 for name in RESIDUALS for v in logs.get(name, ())):
        axes[1].set_yscale("log")
    own = [name for name in logs if not name.startswith(("sparsity", "learning_rate", "admm_"))]
    accuracies = [name for name in own if "acc" in name]
    _draw_lines(axes[2], logs, {name: name for name in accuracies or own}, "accuracy" if accuracies else "metrics")
    for each in axes:
        _shade(each, spans(logs), named=each is axes[0])
        each.set_xlim(0.5, len(logs["sparsity"]) + 0.5)
        each.locator_params(axis="x", integer=True)
        each.grid(alpha=0.3)
        handles, labels = each.get_legend_handles_labels()
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 1 if each is axes[1] else 2}
        each.legend(handles, labels, **place, frameon=False, fontsize="small")
    axes[2].set_xlabel("epoch")


def _draw_lines(axes, logs, names, label):
    """Logs over the epochs: of those of the names, a dict to what the legend says, that there are."""
    for name in (each for each in names if each in logs):
        # A phase without ADMM logs zeros, which a logarithmic axis cannot show.
        values = [v if v > 0 or not name.startswith("admm_") else float("nan") for v in logs[name]]
        axes.plot(range(1, len(values) + 1), values, marker=".", label=plain(names[name]))
    axes.set_ylabel(label)


def _shade(axes, phases, named):
    """Colour behind the epochs of ADMM, and a line where weights were projected, in the legend or not."""
    for i, span in enumerate(each for each in phases if each.phase == "ADMM"):
        names = ("ADMM epochs", "projection") if named and not i else ("_", "_")  # which no legend shows
        axes.axvspan(span.first - 0.5, span.last + 0.5, color=ADMM, alpha=0.15, lw=0, label=names[0])
        axes.axvline(span.last + 0.5, color="0.5", ls=":", label=names[1])


def logged(name, history):
    """The dict of lists of a `History`, of a callback that was in the same fit, or as it is.

    Raises:
        ValueError: for the history of a fit without a `keras_admm` callback.
    """
    history = getattr(getattr(history, "model", None), "history", None) or history
    logs = getattr(history, "history", history)
    if not isinstance(logs, dict) or "sparsity" not in logs:
        received = f"a history of {sorted(map(str, logs))}" if isinstance(logs, dict) else checks.shown(logs)
        raise ValueError(
            f"{name}: the history must come from a fit with a keras_admm callback. "
            f"Received: {received}. Pass what model.fit(callbacks=[ADMMPrune(...)]) returned."
        )
    return logs
