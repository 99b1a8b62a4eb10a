"""Known motifs: reading files of them in the MEME format, and comparing a position weight matrix with them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_admm import checks, hints

WIDTH = re.compile(r"\bw= *(\d+)")
BOTH_STRANDS = "ACGT", "ACGU"  # whose letters, read backwards, are each other's complements
CHUNK = 100  # shuffles that are compared at once


@dataclass(frozen=True, eq=False)
class Motif:
    """A known motif.

    Attributes:
        name: str, its identifier.
        about: str, what else its line says.
        matrix: array `(width, letters)`, the probability of each letter in each place.
        alphabet: str, the letters.
    """

    name: str
    about: str
    matrix: np.ndarray
    alphabet: str = "ACGT"

    @property
    def label(self):
        """The identifier and the name of what binds it: `M4427_1.02 CTCF`."""
        about = self.about.split(")_(")[0].strip("()")
        return f"{self.name} {about}" if about else self.name


class Match(NamedTuple):
    """How alike a position weight matrix and a known motif are.

    Attributes:
        motif: the `Motif`.
        correlation: Pearson's, at the best offset.
        p_value: the share of shuffled matrices that correlate as well with this motif.
        offset: int, the place of the matrix where the motif begins.
        strand: `"+"`, or `"-"` if the motif is read backwards, of complements.
    """

    motif: Motif
    correlation: float
    p_value: float
    offset: int
    strand: str


def read_meme(path: hints.Path) -> list[Motif]:
    """Reads a file of motifs in the minimal MEME format.

    Args:
        path: the file, such as `JASPAR.meme`.

    Returns:
        A list of `Motif`.

    Raises:
        ValueError: for a file that is not there or has no motif in it.

    Example:

    ```
    motifs = keras_admm.explain.read_meme("JASPAR.meme")
    ```
    """
    checks.path("read_meme", "path", path)
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(
            f"{path}: the motifs must be in a file in the MEME format. Received: {error.strerror}. Look for a typing "
            "error."
        ) from error
    alphabet = re.search(r"^ALPHABET= *(\w+)", text, re.MULTILINE)
    letters = alphabet.group(1) if alphabet else "ACGT"
    parts = re.split(r"^MOTIF[ \t]+", text, flags=re.MULTILINE)[1:]
    found = [_motif(path, part.splitlines(), letters) for part in parts]
    if not found:
        raise ValueError(
            f"{path}: a file in the MEME format must have lines that begin with MOTIF. Received: {len(text):,} "
            "characters without one. Choose the minimal MEME format where you get the motifs."
        )
    return found


def _motif(path, lines, letters):
    name, _, about = lines[0].strip().partition(" ")
    at = next((i for i, line in enumerate(lines) if line.startswith("letter-probability matrix")), len(lines))
    width = WIDTH.search(lines[at]) if at < len(lines) else None
    try:
        rows = [line.split() for line in lines[at + 1 :] if line.strip()][: int(width.group(1))]
        matrix = np.array(rows, "float32").reshape(int(width.group(1)), len(letters))
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: a motif must have a letter-probability matrix of w= rows of {len(letters)} numbers. Received: "
            f"{name}, where that is not so. Mend the file, or leave the motif out."
        ) from error
    return Motif(name, about.strip(), matrix, letters)


def match_motifs(
    pwm: ArrayLike, motifs: Sequence[Motif], most: int = 5, shuffles: int = 999, seed: int = 0
) -> list[Match]:
    """The known motifs that a position weight matrix is most alike.

    Pearson's correlation over the offset at which it is highest, on both strands of DNA and RNA. All of the shorter of
    the two counts: where it reaches over the end of the longer one, at most with its half, letters are alike often
    there. How much of it is chance tell shuffles of the matrix's places; a `p_value` is of one motif, and among
    hundreds of motifs some are below 0.01 by chance.

    Args:
        pwm: array `(width, letters)`, the share of each letter in each place.
        motifs: list of `Motif`, see `read_meme`.
        most: int, how many are returned.
        shuffles: int, of the matrix; the least p-value is 1 / (1 + shuffles).
        seed: int, of the shuffles.

    Returns:
        A list of `Match`, by p-value; of alike ones the highest correlation first.

    Raises:
        TypeError, ValueError: for something else than a matrix of the motifs' letters.

    Example:

    >>> letters = np.eye(4)
    >>> known = [Motif("a", "GATA", letters[[2, 0, 3, 0, 0, 2]]), Motif("b", "other", letters[[1, 1, 0, 1, 3, 1]])]
    >>> first, _ = match_motifs(letters[[1, 3, 3, 0, 3, 1, 1]], known)  # read backwards: GATAAG
    >>> first.motif.label, first.strand, round(first.correlation, 2), first.offset
    ('a GATA', '-', 1.0, 0)
    """
    name = "match_motifs"
    matrix = checks.array(name, "pwm", pwm).astype("float32")
    motifs = check_motifs(name, [] if motifs is None else motifs)
    letters = len(motifs[0].alphabet)
    if matrix.ndim != 2 or not len(matrix) or matrix.shape[1] != letters or not np.isfinite(matrix).all():
        must = f"a matrix (width, {letters}) of finite numbers, for the alphabet {motifs[0].alphabet}"
        raise ValueError(checks.refused(name, "pwm", must, pwm, "Pass for example the pwm of a Windows."))
    for argument, value in (("most", most), ("shuffles", shuffles)):
        checks.integer(name, argument, value)
    checks.integer(name, "seed", seed, 0)
    rng = np.random.default_rng(seed)
    orders = [np.arange(len(matrix)), *(rng.permutation(len(matrix)) for _ in range(shuffles))]
    queries = np.stack([matrix[order] for order in orders]) - np.float32(1 / letters)
    matches = []
    for width in {len(motif.matrix) for motif in motifs}:
        matches += _matches(queries, [motif for motif in motifs if len(motif.matrix) == width])
    return sorted(matches, key=lambda match: (match.p_value, -match.correlation))[:most]


def check_motifs(name, motifs):
    """A list of `Motif`, or None; else what is wrong with it."""
    known = isinstance(motifs, (list, tuple)) and motifs and all(isinstance(each, Motif) for each in motifs)
    if motifs is not None and not known:
        raise TypeError(checks.refused(name, "motifs", "a list of Motif", motifs, "Pass what read_meme() returned."))
    return motifs


def _matches(queries, motifs):
    """The `Match` of each of some motifs of one width; the first query is the matrix itself."""
    known = np.stack([motif.matrix for motif in motifs]) - np.float32(1 / queries.shape[-1])
    both = motifs[0].alphabet in BOTH_STRANDS
    strands = np.concatenate([known, known[:, ::-1, ::-1]]) if both else known
    chunks = [_best(queries[start : start + CHUNK], strands) for start in range(0, len(queries), CHUNK)]
    best, offsets = np.concatenate([found for found, _ in chunks]), chunks[0][1][0]
    best = best.reshape(len(queries), -1, len(motifs))
    strand, highest = best[0].argmax(0), best.max(1)
    own, others = highest[0], highest[1:]
    p = (1 + (others >= own - 1e-6).sum(0)) / len(queries)
    offsets = offsets.reshape(-1, len(motifs))[strand, np.arange(len(motifs))]
    return [
        Match(motif, float(own[i]), float(p[i]), int(offsets[i]), "+-"[strand[i]]) for i, motif in enumerate(motifs)
    ]


def _best(queries, motifs):
    """The highest correlation of each query with each motif, `(queries, motifs)`, and the offsets of the motifs."""
    swapped = queries.shape[1] < motifs.shape[1]
    long, short = (motifs, queries) if swapped else (queries, motifs)
    reach = short.shape[1] // 2
    padded = np.pad(long, ((0, 0), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, short.shape[1], axis=1)
    windows = windows.transpose(0, 1, 3, 2).reshape(len(long), windows.shape[1], -1)
    flat = short.reshape(len(short), -1)
    norms = np.linalg.norm(windows, axis=-1)[..., None] * np.linalg.norm(flat, axis=-1)
    found = windows @ flat.T / np.maximum(norms, 1e-7)  # (long, offsets, short)
    at = found.argmax(1)
    best = np.take_along_axis(found, at[:, None], 1)[:, 0]
    return (best.T, reach - at.T) if swapped else (best, at - reach)
