"""The examples' detector: mean average precision and boxes by hand, a global ratio in a training step of its own."""

import importlib
import io
import re
import sys
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw
from test_examples import run

import keras_admm as ka

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

pytestmark = pytest.mark.tensorflow_only
pytest.importorskip("tensorflow")
bccd, detection, detector = map(importlib.import_module, ("bccd", "detection", "detector"))

LEFT, RIGHT, NOWHERE = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]
HALF = [0, 0, 10, 20]  # of which LEFT is one half


def array(boxes):
    return np.array(boxes, "float32").reshape(-1, 4)


def found(boxes, scores, labels=None):
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return detection.Found(array(boxes), labels, np.array(scores))


@pytest.mark.parametrize(
    "boxes, scores, expected",
    [
        ([LEFT, RIGHT], [0.9, 0.8], 1),
        ([LEFT], [0.9], 51 / 101),  # recalls of 0 to 0.5 are reached, of 101 from 0 to 1
        ([LEFT, NOWHERE, RIGHT], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),  # two of three are right at the end
        ([LEFT, NOWHERE, RIGHT], [0.9, 0.7, 0.8], 1),  # what is wrong comes last
        ([NOWHERE, LEFT, RIGHT], [0.9, 0.8, 0.7], 2 / 3),  # the best precision at this recall or a higher one
        ([LEFT, LEFT, RIGHT], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),  # a box is found once
        ([HALF, RIGHT], [0.9, 0.8], 1),  # an overlap of 0.5 is enough
        ([NOWHERE], [0.9], 0),
        ([], [], 0),
    ],
)
def test_average_precision_by_hand(boxes, scores, expected):
    found_there = [found(boxes, scores)]
    precisions = detection.average_precisions([array([LEFT, RIGHT])], [np.array([0, 0])], found_there, 1)
    np.testing.assert_allclose(precisions, [expected])


def test_average_precision_is_of_each_class_over_all_photographs():
    truth = [array([LEFT, RIGHT]), array([LEFT]), array([])]
    labels = [np.array([0, 1]), np.array([0]), np.array([], int)]
    there = [found([LEFT, RIGHT], [0.5, 0.9], [0, 0]), found([LEFT], [0.8]), found([LEFT], [0.7])]
    # Of class 0 by their scores: wrong, right, wrong, right; class 1 is never said, class 2 nowhere to be found.
    precisions = detection.average_precisions(truth, labels, there, 3)
    np.testing.assert_allclose(precisions, [0.5, 0, np.nan])


def test_a_higher_overlap_asks_for_more():
    truth = [array([LEFT])], [np.array([0])], [found([HALF], [0.9])]
    np.testing.assert_allclose(detection.average_precisions(*truth, 1), [1])
    np.testing.assert_allclose(detection.average_precisions(*truth, 1, overlap=0.51), [0])


@pytest.mark.parametrize(
    "outputs, box",
    [
        ([0, 0, 0, 0], [16, 8, 24, 16]),  # the cell itself
        ([0.5, -0.25, np.log(2), np.log(0.5)], [16, 8, 32, 12]),
        ([0, 0, 100, 0], [20 - 4 * np.exp(4), 8, 20 + 4 * np.exp(4), 16]),  # not infinite
    ],
)
def test_a_box_is_decoded_from_its_cell(outputs, box):
    grid = np.zeros((1, 2, 3, 4), "float32")
    grid[0, 1, 2] = outputs
    np.testing.assert_allclose(detector.decoded(grid, 8)[0, 1, 2], box, rtol=1e-6)


def test_each_box_is_for_the_cell_of_its_centre_in_the_grid_of_its_size():
    boxes = array([[9, 1, 15, 7], [0, 0, 32, 20]])
    told = detector.targets(boxes, [1, 0], (32, 48), 2)
    assert {name: grid.shape[:2] for name, grid in told.items() if "classes" in name} == {
        "fine_classes": (4, 6),
        "coarse_classes": (2, 3),
    }
    for grid, row, column, classes, box in (("fine", 0, 1, [0, 1], boxes[0]), ("coarse", 0, 1, [1, 0], boxes[1])):
        np.testing.assert_array_equal(told[f"{grid}_classes"][row, column], classes)
        np.testing.assert_array_equal(told[f"{grid}_boxes"][row, column], box)
        assert told[f"{grid}_classes"].sum() == 1


def test_the_losses_by_hand():
    truth = {name: grid[None] for name, grid in detector.targets(array([[0, 8, 8, 16]]), [0], (16, 16), 2).items()}
    outputs = {name: np.zeros(grid.shape, "float32") for name, grid in truth.items()}
    class_loss, box_loss = detector.losses(outputs, truth)
    np.testing.assert_allclose([class_loss, box_loss], [(4 + 1) * 2 * np.log(2), 0], atol=1e-5)
    outputs["fine_boxes"][0, 1, 0, 0] = 0.5  # half a cell to the right: an overlap of a third, 4 of sqrt(12^2 + 8^2)
    _, box_loss = detector.losses(outputs, truth)
    np.testing.assert_allclose(box_loss, 1 - (1 / 3 - 16 / 208), rtol=1e-5)


@pytest.mark.parametrize("size, count", [(1, 5), (4, 3)])
def test_boxes_that_overlap_by_more_than_half_are_found_once(size, count):
    """All cells say the same of themselves: four fine ones and a coarse one; the four times larger overlap by 0.6."""
    model = detector.detector((16, 16), 2, width=2)
    for grid in detector.GRIDS:
        for kind, bias in (("classes", [2, -9]), ("boxes", [0, 0] + [np.log(size) if grid == "fine" else 0] * 2)):
            layer = model.get_layer(f"{grid}_{kind}")
            layer.set_weights([np.zeros_like(layer.get_weights()[0]), np.array(bias, "float32")])
    (there,) = model.find(np.zeros((1, 16, 16, 3), "float32"))
    assert there.boxes.shape == (count, 4) and set(there.labels) == {0}
    np.testing.assert_allclose(there.scores, 1 / (1 + np.exp(-2)), rtol=1e-5)


@pytest.mark.parametrize("across, down", [(False, False), (True, False), (False, True), (True, True)])
def test_mirrored_boxes_hold_what_they_held(across, down):
    images = np.zeros((1, 6, 8, 3), "float32")
    images[0, 1:3, 2:7] = 1
    mirror = bccd.mirrored(bccd.Photographs(images, [array([[2, 1, 7, 3]])], [[0]]), across, down)
    left, top, right, bottom = mirror.boxes[0][0].astype(int)
    assert mirror.images[0, top:bottom, left:right].all() and mirror.images.sum() == images.sum()
    assert (mirror.images[0] != images[0]).any() == (across or down)


def photograph(rng):
    """Discs of the sizes and colours of the three kinds of cells, with their boxes."""
    image = Image.new("RGB", (640, 480), "wheat")
    cells = []
    for name, size, colour in [("RBC", 100, "salmon")] * 3 + [("WBC", 200, "purple"), ("Platelets", 40, "navy")]:
        left, top = (int(rng.integers(0, side - size)) for side in image.size)
        box = left, top, left + size, top + size
        ImageDraw.Draw(image).ellipse(box, fill=colour)
        cells.append((name, box))
    return image, cells


def xml(cells):
    sides = "xmin", "ymin", "xmax", "ymax"
    corners = ["".join(f"<{side}>{n}</{side}>" for side, n in zip(sides, box, strict=True)) for _, box in cells]
    objects = [
        f"<object><name>{n}</name><bndbox>{c}</bndbox></object>" for (n, _), c in zip(cells, corners, strict=True)
    ]
    return f"<annotation>{''.join(objects)}</annotation>".encode()


@pytest.fixture
def archive(tmp_path):
    """Made-up photographs in the data set's format; the first has a box without area."""
    rng, files = np.random.default_rng(0), {}
    for part, count in (("train", 24), ("val", 4), ("test", 4)):
        names = [f"{part}{i}" for i in range(count)]
        files[f"ImageSets/Main/{part}.txt"] = "\n".join(names).encode()
        for name in names:
            image, cells = photograph(rng)
            files[f"JPEGImages/{name}.jpg"] = file = io.BytesIO()
            image.save(file, "JPEG")
            files[f"JPEGImages/{name}.jpg"] = file.getvalue()
            files[f"Annotations/{name}.xml"] = xml(cells + [("RBC", (5, 5, 5, 5))] * (name == "train0"))
    with tarfile.open(tmp_path / "bccd_dataset.tar", "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"BCCD/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return tmp_path / "bccd_dataset.tar"


def test_photographs_and_their_boxes_are_resized(archive):
    train, validation, test = bccd.parts(archive, (48, 64))
    assert train.images.shape == (24, 48, 64, 3) and len(validation.boxes) == len(test.labels) == 4
    assert train.images.dtype == np.float32 and 0 <= train.images.min() < train.images.max() <= 1
    assert all(len(boxes) == 5 for boxes in train.boxes)
    np.testing.assert_allclose(
        train.boxes[0][:, 2:] - train.boxes[0][:, :2], [[10, 10]] * 3 + [[20, 20], [4, 4]], rtol=1e-5
    )
    np.testing.assert_array_equal(train.labels[0], [0, 0, 0, 1, 2])


@pytest.mark.parametrize("penalty", [None, pytest.param("loss", marks=pytest.mark.nightly)])
def test_one_global_ratio_in_a_training_step_of_its_own(penalty):
    """Four outputs, targets in a dict, losses that `compile` knows nothing of: the callback as it is."""
    size, rng = (32, 32), np.random.default_rng(0)
    model = detector.detector(size, 2, width=4)
    told = [detector.targets(array([[4, 4, 12, 12], [0, 0, 32, 32]]), [0, 1], size, 2)] * 16
    told = {name: np.stack([t[name] for t in told]) for name in told[0]}
    model.compile("adam", jit_compile=False)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    images = rng.random((16, *size, 3), "float32")
    history = model.fit(images, told, 4, 4, verbose=0, callbacks=[ka.ADMMPrune(0.9, penalty=penalty)]).history
    total = ka.report(model).total
    assert total.kept == round(0.1 * total.weights) and history["sparsity"][-1] == pytest.approx(0.9, abs=1e-3)
    assert history["loss"][-1] == pytest.approx(history["class_loss"][-1] + history["box_loss"][-1], rel=1e-4)
    assert all((v.numpy() != before[v.path]).any() for v in model.trainable_variables)


def test_a_detector_is_saved_and_packed(tmp_path):
    model = detector.detector((32, 32), 2, width=4)
    images = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    expected = model.predict(images, verbose=0)
    model.save(tmp_path / "detector.keras")
    ka.save(model, tmp_path / "detector.kadmm")
    for again in (keras.models.load_model(tmp_path / "detector.keras"), ka.load(tmp_path / "detector.kadmm")):
        assert type(again) is detector.Detector
        for name, outputs in again.predict(images, verbose=0).items():
            np.testing.assert_allclose(outputs, expected[name], atol=1e-5)


@pytest.mark.nightly
def test_bccd_detector(archive, tmp_path):
    few = ["--dense-epochs", 2, "--epochs", 2, "--ratios", 80, "--cache", tmp_path]
    few += ["--data", archive.parent, "--results", tmp_path / "rows.jsonl"]
    out = run("bccd_detector.py", *few)
    kept = re.findall(r"^(dense|[08]0?%), seed 0 +([\d,]+) ", out, re.MULTILINE)
    assert kept == [("dense", "313,136"), ("0%", "313,136"), ("80%", "62,627")]
    assert re.search(r"^stage3 +82,944 +\d\d?\.\d$", out, re.MULTILINE)
    assert out.endswith(run("bccd_detector.py", *few, "--table"))
