"""A small YOLO-style detector without anchors: two grids, four outputs, and a training step of its own.

A box belongs to the cell that its centre is in, of the coarse grid if it is large, of the fine one otherwise. A cell
says for each class whether one is there, and how a box lies about it: as in YOLOX (arXiv:2107.08430), shifts of the
centre from the cell's, and the logarithms of width and height, all in units of the cell.
"""

import keras
import numpy as np
import tensorflow as tf
from detection import Found

GRIDS = {"fine": 8, "coarse": 16}  # the sides of a cell, in pixels
LARGE = 32  # from this side on, in pixels, a box is for the coarse grid


def detector(size, classes, width=16):
    """The detector for images of (height, width) pixels: a backbone, a neck from coarse to fine, two heads.

    Args:
        size: tuple of 2 int, multiples of 16.
        classes: int, how many there are.
        width: int, channels of the first convolution, of which the others have multiples.
    """
    inputs = keras.Input((*size, 3))
    x = _conv(inputs, "stem", width, 2)
    x = _conv(x, "stage1", 2 * width, 2)
    fine = _conv(_conv(x, "stage2_down", 4 * width, 2), "stage2", 4 * width)
    coarse = _conv(_conv(fine, "stage3_down", 6 * width, 2), "stage3", 6 * width)
    up = keras.layers.UpSampling2D()(_conv(coarse, "neck", 2 * width, kernel=1))
    fine = keras.layers.Concatenate()([fine, up])
    heads = {name: _conv(x, f"{name}_head", 4 * width) for name, x in (("fine", fine), ("coarse", coarse))}
    rare = keras.initializers.Constant(-3)  # few cells have a box: what is not there is not to be learnt first
    outputs = {}
    for name, x in heads.items():
        for kind, filters, bias in (("classes", classes, rare), ("boxes", 4, "zeros")):
            layer = keras.layers.Conv2D(filters, 1, bias_initializer=bias, name=f"{name}_{kind}")
            outputs[f"{name}_{kind}"] = layer(x)
    return Detector(inputs, outputs, name="detector")


def _conv(x, name, filters, strides=1, kernel=3):
    x = keras.layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=name)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x))


@keras.saving.register_keras_serializable("examples")
class Detector(keras.Model):
    """A model whose training step weighs all of its outputs by how many boxes the batch has."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.means = {name: keras.metrics.Mean(name=name) for name in ("loss", "class_loss", "box_loss")}

    def train_step(self, data):
        images, targets = data
        with tf.GradientTape() as tape:
            class_loss, box_loss = losses(self(images, training=True), targets)
            loss = class_loss + box_loss
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for name, value in (("loss", loss), ("class_loss", class_loss), ("box_loss", box_loss)):
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    @property
    def metrics(self):
        return list(self.means.values())  # which Keras then resets at each epoch

    def find(self, images, least=0.01, overlap=0.5):
        """A list of `Found`, one for each image: the boxes left by non-maximum suppression within each class."""
        outputs = self(images, training=False)
        boxes = np.concatenate([_rows(decoded(outputs[f"{g}_boxes"], s)) for g, s in GRIDS.items()], axis=1)
        scores = np.concatenate([_rows(tf.sigmoid(outputs[f"{g}_classes"])) for g in GRIDS], axis=1)
        kept = tf.image.combined_non_max_suppression(
            boxes[:, :, None], scores, 50, 100, overlap, least, clip_boxes=False
        )
        boxes, scores, labels, counts = (array.numpy() for array in kept)
        return [Found(boxes[i, :n], labels[i, :n].astype(int), scores[i, :n]) for i, n in enumerate(counts)]


def _rows(grid):
    """(n, rows, columns, channels) as (n, cells, channels)."""
    return np.reshape(grid, (len(grid), -1, grid.shape[-1]))


def targets(boxes, labels, size, classes):
    """What the outputs ought to say about one image.

    Args:
        boxes: array (k, 4) of left, top, right, bottom in pixels.
        labels: int array (k,).
        size: tuple of 2 int, the image's height and width.
        classes: int, how many there are.

    Returns:
        Dict of the outputs' names to float32 arrays: (rows, columns, classes) of 0 and 1, and (rows, columns, 4) of
        boxes in pixels, zeros in cells without one. Of two boxes in a cell the later one counts.
    """
    result = {}
    for grid, side in GRIDS.items():
        shape = size[0] // side, size[1] // side
        result[f"{grid}_classes"] = np.zeros((*shape, classes), "float32")
        result[f"{grid}_boxes"] = np.zeros((*shape, 4), "float32")
    for box, label in zip(boxes, labels, strict=True):
        grid = "coarse" if max(box[2:] - box[:2]) >= LARGE else "fine"
        column, row = ((box[:2] + box[2:]) / 2 // GRIDS[grid]).astype(int)
        result[f"{grid}_classes"][row, column] = np.arange(classes) == label
        result[f"{grid}_boxes"][row, column] = box
    return result


def decoded(outputs, side):
    """The boxes that an output says, in pixels: (n, rows, columns, 4) of shifts and logarithms of sizes, by cells."""
    rows, columns = outputs.shape[1:3]
    across, down = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    centre = (outputs[..., :2] + np.stack([across, down], axis=-1).astype("float32")) * side
    half = keras.ops.exp(keras.ops.minimum(outputs[..., 2:], 4.0)) * side / 2  # no image is 55 cells wide
    return keras.ops.concatenate([centre - half, centre + half], axis=-1)


def losses(outputs, truth):
    """Cross-entropy of the classes in all cells, and CIoU of the boxes in those that have one, by the box."""
    class_loss = box_loss = boxes = 0.0
    for grid, side in GRIDS.items():
        classes = truth[f"{grid}_classes"]
        there = keras.ops.max(classes, axis=-1)
        entropy = keras.ops.binary_crossentropy(classes, outputs[f"{grid}_classes"], from_logits=True)
        overlap = keras.utils.bounding_boxes.compute_ciou(
            truth[f"{grid}_boxes"], decoded(outputs[f"{grid}_boxes"], side), "xyxy"
        )
        class_loss += keras.ops.sum(entropy)
        box_loss += keras.ops.sum(there * (1 - overlap))
        boxes += keras.ops.sum(there)
    boxes = keras.ops.maximum(boxes, 1.0)
    return class_loss / boxes, box_loss / boxes
