"""`dashboard`: a page of what models look at, before and after compression."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks, hints, pages
from keras_admm.explain.comparing import check_models, checked_classes, compare
from keras_admm.explain.comparison import Comparison
from keras_admm.explain.cut import is_recurrent
from keras_admm.explain.drawn_images import Images
from keras_admm.explain.drawn_sequences import Sequences
from keras_admm.explain.maps import Method
from keras_admm.explain.motifs import Motif, check_motifs
from keras_admm.explain.optimized import optimize_input
from keras_admm.explain.sequences import check_alphabet
from keras_admm.explain.temporal import temporal_scores
from keras_admm.files import check_place, whole
from keras_admm.graph import every_layer
from keras_admm.pictures import new_figure

NAME = "dashboard"
FILTERS = 5  # of each model whose motifs are drawn


def dashboard(
    models: Mapping[str, hints.Model],
    x: ArrayLike,
    y: ArrayLike,
    path: hints.Path,
    alphabet: str | None = None,
    *,
    samples: int = 20,
    method: Method = "saliency",
    truth: ArrayLike | None = None,
    motifs: Sequence[Motif] | None = None,
    steps: int = 500,
    seed: int = 0,
) -> Comparison:
    """Writes one page of what models look at, a dense one above its compressed ones: the Deep Motif Dashboard.

    The page needs nothing from elsewhere. It has the table of `keras_admm.compare`; the input that each model finds
    most typical of a class; the motifs of filters; and of each sample its saliency map under every model, and the
    scores of its beginnings and ends under models with a recurrent layer. Behind each picture is a table of its
    numbers. Needs matplotlib (`pip install keras-admm[plot]`).

    Args:
        models: dict of names to built models with one input; the first one is the one that others are compared with.
        x: array of samples: sequences `(samples, positions, channels)`, or images `(samples, rows, columns, channels)`.
            What has three axes is drawn as sequences: grey images are `x[..., None]`, for models of such an input.
        y: their classes, see `keras_admm.compare`, which takes all of them.
        path: where the page goes.
        alphabet: str, the letters of the channels of one-hot sequences, such as `"ACGT"`; None: those of `motifs`, or
            none.
        samples: int, how many of the samples are drawn, the first ones.
        method: which map, see `keras_admm.explain.saliency`.
        truth: see `keras_admm.compare`.
        motifs: list of known motifs, see `keras_admm.explain.read_meme`.
        steps: int, of `keras_admm.explain.optimize_input`, for each class that `y` has but class 0 of two; 0: none.
        seed: int, of what is drawn at random.

    Returns:
        The `keras_admm.explain.Comparison` that the page tells of.

    Raises:
        ImportError: without matplotlib.
        TypeError, ValueError: before anything is written, for arguments that do not fit.

    References:
        Deep Motif Dashboard (arXiv:1608.03644).

    Example:

    ```
    keras_admm.dashboard({"dense": dense, "pruned": pruned}, x_test[:20], y_test[:20], "page.html", alphabet="ACGT")
    ```
    """
    check_place(path)
    models, given, classes = check_models(NAME, models), checks.array(NAME, "x", x), checked_classes(NAME, y)
    for argument, value, least in (("samples", samples, 1), ("steps", steps, 0), ("seed", seed, 0)):
        checks.integer(NAME, argument, value, least)
    if alphabet is None and check_motifs(NAME, motifs):
        alphabet = motifs[0].alphabet
    drawn = _drawn(given, alphabet)
    new_figure((1, 1))  # without matplotlib it is said now
    found = compare(models, given, classes, method, truth=truth, motifs=motifs)
    temporal, told = _temporal(models, given[:samples], classes[:samples])
    sections = [_optimized(drawn, models, given, classes, steps, seed)] if steps else []
    sections += _filters(drawn, found)
    for i in range(len(given[:samples])):
        each = {name: values[i] for name, values in found.maps.items()}
        scores = {name: values[i] for name, values in found.scores.items()}
        lines = {name: values[i] for name, values in temporal.items()}
        sections.append(pages.section(f"Sample {i}, class {classes[i]}", drawn.sample(i, each, scores, lines)))
    said = [*map(found.sentence, found.rows[1:]), *told]
    summary = pages.table(found.cells()) + "".join(map(pages.paragraph, said))
    text = pages.page(f"What {', '.join(models)} look at", summary, sections, drawn.glyphs())
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return found


def _drawn(given, alphabet):
    """How samples like these are drawn."""
    if given.ndim == 3:
        if alphabet is not None:
            check_alphabet(NAME, alphabet, given.shape[-1])
        return Sequences(given, alphabet)
    if given.ndim != 4 or alphabet is not None:
        kind = "sequences (samples, positions, channels)" if alphabet is not None else "sequences or images"
        raise ValueError(
            f"{NAME}: `x` must be {kind}, of three or four axes. Received: shape {given.shape}, alphabet={alphabet!r}. "
            "Of other inputs use keras_admm.compare."
        )
    return Images(given)


def _temporal(models, x, classes):
    """The scores of beginnings and ends under models with a recurrent layer, and which of these have none."""
    scores, told = {}, []
    if x.ndim != 3:
        return scores, told
    for name, model in models.items():
        if any(is_recurrent(layer) for layer in every_layer(model)):
            try:
                scores[name] = temporal_scores(model, x, classes).values
            except ValueError as error:
                told.append(f"No scores of beginnings and ends of {name}: {error}")
    if scores:
        told.append("Lines: the score of what is left of a place, drawn through, and of what is right of it, dashed.")
    return scores, told


def _optimized(drawn, models, x, classes, steps, seed):
    """A section of the inputs that each model finds most typical of the classes."""
    wanted = [int(each) for each in np.unique(classes) if each or classes.max() > 1] or [1]
    parts = [
        drawn.optimized(
            name, {each: optimize_input(model, each, x, steps=steps, seed=seed).values[0] for each in wanted}
        )
        for name, model in models.items()
    ]
    return pages.section("Inputs that are most typical", *parts)


def _filters(drawn, found):
    """A section of the motifs of each model's filters, if any matches a known one."""
    parts = [drawn.filter(name, *each) for name, matched in found.filters.items() for each in matched[:FILTERS]]
    return [pages.section("Motifs of filters", *parts)] if parts else []
