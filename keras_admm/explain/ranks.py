"""Measures by rank: AUC, average precision, rank correlation, overlap of the largest."""

import numpy as np


def ranks(values):
    """The ranks along the last axis, from 1; alike values have the mean of theirs.

    Example:

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    flat = np.asarray(values, float).reshape(-1, np.shape(values)[-1])
    return np.stack([_ranks(row) for row in flat]).reshape(np.shape(values))


def _ranks(row):
    _, where, counts = np.unique(row, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]


def auc(truth, scores):
    """The area under the receiver operating characteristic; NaN where all are of one kind.

    Example:

    >>> auc(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.5]))
    0.75
    """
    truth = np.asarray(truth, bool)
    positive, negative = truth.sum(), (~truth).sum()
    if not positive or not negative:
        return float("nan")
    return float((ranks(scores)[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(truth, scores):
    """The area under the curve of precision over recall, as a sum of steps; alike scores come at once.

    Example:

    >>> round(average_precision(np.array([0, 1, 1]), np.array([0.5, 0.9, 0.1])), 4)
    0.8333
    """
    truth, scores = np.asarray(truth, bool), np.asarray(scores, float)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    found, seen = np.cumsum(truth[order])[last], np.arange(1, truth.size + 1)[last]
    return float(np.sum(np.diff(found, prepend=0) * found / seen) / max(truth.sum(), 1))


def rank_correlation(a, b):
    """Spearman's of each row of two arrays; 0 where a row of either is one number everywhere.

    Example:

    >>> rank_correlation(np.array([[1.0, 2.0, 9.0]]), np.array([[0.0, 0.5, 0.7]])).round(6)
    array([1.])
    """
    a, b = (each - each.mean(-1, keepdims=True) for each in (ranks(a), ranks(b)))
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.where(norms > 0, (a * b).sum(-1) / np.where(norms > 0, norms, 1), 0.0)


def overlap(a, b, share):
    """The share of the largest numbers of each row of `a` that are among as many largest of `b`.

    Example:

    >>> overlap(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.0, 5.0, 1.0, 4.0]]), 0.5).tolist()
    [0.5]
    """
    count = max(1, round(share * a.shape[-1]))
    first, second = (np.argsort(-each, -1, kind="stable")[..., :count] for each in (a, b))
    return np.array([np.isin(x, y).mean() for x, y in zip(first, second, strict=True)])
