"""Mean average precision of a detector: COCO's, as pycocotools computes it."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class Found(NamedTuple):
    """What a detector found on one photograph.

    Attributes:
        boxes: array (k, 4) of left, top, right, bottom.
        labels: int array (k,).
        scores: float array (k,).
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def average_precisions(boxes, labels, found, classes, overlap=0.5):
    """The average precision of each class: the mean of the best precision at 101 recalls from 0 to 1.

    Args:
        boxes: list of arrays (k, 4), for each photograph the true boxes: left, top, right, bottom.
        labels: list of int arrays (k,), what is in them.
        found: list of `Found`, one for each photograph.
        classes: int, how many classes there are.
        overlap: float, the intersection over union from which a box is found.

    Returns:
        Array (classes,) in [0, 1]; NaN for a class that is on no photograph.
    """
    truth = [(box, label, 1.0) for box, label in zip(boxes, labels, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        evaluation = COCOeval(_coco(truth, classes), _coco(found, classes), "bbox")
        evaluation.params.iouThrs = np.array([overlap])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precisions = evaluation.eval["precision"][0, :, :, 0, -1].mean(axis=0)
    return np.where(precisions < 0, np.nan, precisions)


def _coco(photographs, classes):
    """Boxes of all photographs in COCO's form, whose ids begin at 1: it takes an id of 0 for no match."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(len(photographs))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": list(_annotations(photographs)),
    }
    coco.createIndex()
    return coco


def _annotations(photographs):
    number = 0
    for image, (boxes, labels, scores) in enumerate(photographs):
        for box, label, score in zip(boxes, labels, np.broadcast_to(scores, len(labels)), strict=True):
            number += 1
            corner, size = box[:2], box[2:] - box[:2]
            yield {
                "id": number,
                "image_id": image,
                "category_id": int(label),
                "bbox": [*map(float, corner), *map(float, size)],
                "area": float(np.prod(size)),
                "iscrowd": 0,
                "score": float(score),
            }
