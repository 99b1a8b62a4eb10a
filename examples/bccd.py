"""Blood-cell photographs with boxes (BCCD): 364 of 640x480 pixels, three kinds of cells, boxes in VOC's XML.

From Shenggan/BCCD_Dataset, MIT, as the archive `bccd_dataset.tar` of its folder `BCCD`, whose `ImageSets` say which
photographs are for training, validation and test.
"""

import tarfile
import xml.etree.ElementTree
from typing import NamedTuple

import numpy as np
from PIL import Image

CLASSES = "RBC", "WBC", "Platelets"


class Photographs(NamedTuple):
    """Photographs and what is on them.

    Attributes:
        images: float32 (n, height, width, 3) in [0, 1].
        boxes: list of n arrays, float32 (k, 4), of left, top, right, bottom in pixels of these images.
        labels: list of n arrays, int (k,), which of CLASSES is in each box.
    """

    images: np.ndarray
    boxes: list
    labels: list


def parts(path, size):
    """The train, val and test photographs of the archive, resized to (height, width).

    Two boxes of the data set have no area; they are left out.
    """
    with tarfile.open(path) as archive:
        return [_part(archive, name, size) for name in ("train", "val", "test")]


def _part(archive, part, size):
    names = archive.extractfile(f"BCCD/ImageSets/Main/{part}.txt").read().decode().split()
    images, boxes, labels = zip(*(_photograph(archive, name, size) for name in names), strict=True)
    return Photographs(np.stack(images), list(boxes), list(labels))


def _photograph(archive, name, size):
    image = Image.open(archive.extractfile(f"BCCD/JPEGImages/{name}.jpg"))
    scale = np.tile([size[1] / image.width, size[0] / image.height], 2)
    root = xml.etree.ElementTree.parse(archive.extractfile(f"BCCD/Annotations/{name}.xml"))
    found = [(_box(item), CLASSES.index(item.find("name").text)) for item in root.findall("object")]
    found = [(box, label) for box, label in found if box[2] > box[0] and box[3] > box[1]]
    pixels = np.asarray(image.convert("RGB").resize(size[::-1]), "float32") / 255
    boxes = np.reshape([box for box, _ in found], (-1, 4)) * scale
    return pixels, boxes.astype("float32"), np.array([label for _, label in found], int)


def _box(item):
    return [int(item.find(f"bndbox/{side}").text) for side in ("xmin", "ymin", "xmax", "ymax")]


def mirrored(photographs, across, down):
    """The same photographs, left and right exchanged, or top and bottom, or both."""
    height, width = photographs.images.shape[1:3]
    images, boxes = photographs.images, photographs.boxes
    if across:
        images = images[:, :, ::-1]
        boxes = [np.stack([width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]], axis=1) for b in boxes]
    if down:
        images = images[:, ::-1]
        boxes = [np.stack([b[:, 0], height - b[:, 3], b[:, 2], height - b[:, 1]], axis=1) for b in boxes]
    return Photographs(images, boxes, photographs.labels)
