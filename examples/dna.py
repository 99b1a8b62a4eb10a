"""Sequences of DNA for the examples: files of ChIP-seq peaks, one-hot letters, shuffles that keep pairs of letters."""

import csv
import glob
import gzip
from pathlib import Path

import numpy as np

LETTERS = "ACGT"


def one_hot(sequences):
    """Equally long strings as (n, length, 4) float32; letters other than ACGT are zeros."""
    codes = np.array([list(sequence) for sequence in sequences])
    return (codes[..., None] == list(LETTERS)).astype("float32")


def shuffled(sequence, rng):
    """A sequence with the same first letter and the same count of every pair of neighbours, in a random order.

    A walk that takes every pair once, all such walks alike often (Altschul and Erickson 1985).
    """
    followers = {}
    for a, b in zip(sequence, sequence[1:], strict=False):
        followers.setdefault(a, []).append(b)
    end = sequence[-1]
    for after in followers.values():
        rng.shuffle(after)
    # The last way out of each letter must lead to the end, or the walk would stop before all pairs are used.
    while not all(_reaches(letter, end, followers) for letter in followers):
        for letter, after in followers.items():
            if letter != end:
                rng.shuffle(after)
    walk, left = [sequence[0]], {letter: iter(after) for letter, after in followers.items()}
    for _ in sequence[1:]:
        walk.append(next(left[walk[-1]]))
    return "".join(walk)


def _reaches(letter, end, followers):
    for _ in range(len(followers) + 1):
        if letter == end:
            return True
        letter = followers[letter][-1]
    return False


def read(folder, factor, part):
    """Sequences and labels of a factor: of part "AC" bound ones to train on, of "B" 500 and 500 others, to test."""
    found = glob.glob(str(Path(folder) / f"{factor}_*_{part}.seq.gz"))
    if not found:
        raise SystemExit(f"{folder}: there must be a file {factor}_*_{part}.seq.gz. Give its folder by --data DATA.")
    with gzip.open(found[0], "rt") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row["seq"] for row in rows], np.array([int(row["Bound"]) for row in rows])


def chip_seq(folder, factor, most=None, validation=0.1):
    """Three pairs of one-hot sequences and labels: train, validation, test.

    To each bound sequence of the first two comes a shuffled one that is not bound. What is drawn is the same always.

    Args:
        most: int, how many bound sequences are taken, or None for all.
        validation: float, the share of them that is held out.
    """
    rng = np.random.default_rng(0)
    bound, _ = read(folder, factor, "AC")
    bound = [bound[i] for i in rng.permutation(len(bound))[:most]]
    held_out = round(len(bound) * validation)
    pairs = []
    for part in (bound[held_out:], bound[:held_out]):
        other = [shuffled(sequence, rng) for sequence in part]
        order = rng.permutation(2 * len(part))
        pairs.append((one_hot(part + other)[order], np.repeat([1, 0], len(part))[order]))
    sequences, labels = read(folder, factor, "B")
    return *pairs, (one_hot(sequences), labels)


def simulated(folder):
    """Simulated sequences, whether each has a motif of GATA, and where its motifs of it are; train and test.

    Returns:
        Two tuples of one-hot sequences (n, 200, 4), labels, and bools (n, 200).
    """
    with gzip.open(Path(folder) / "deeplift_sequences.simdata.gz", "rt") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    with gzip.open(Path(folder) / "deeplift_test.txt.gz", "rt") as file:
        test = set(file.read().split())
    x, y = one_hot([row["sequence"] for row in rows]), np.array([int(row["task2"]) for row in rows])
    places = np.zeros(x.shape[:2], bool)
    for i, row in enumerate(rows):
        for motif in filter(None, row["embeddings"].split(",")):
            at, name = motif.removeprefix("pos-").split("_", 1)
            if name.startswith("GATA"):
                places[i, int(at) : int(at) + len(name.split("-")[-1])] = True
    held_out = np.array([row["seqName"] in test for row in rows])
    return tuple(tuple(array[which] for array in (x, y, places)) for which in (~held_out, held_out))
