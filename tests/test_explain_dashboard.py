"""The page: whole, of itself, with the numbers behind the pictures."""

import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from keras import layers

import keras_admm as ka
from keras_admm.explain import Motif, drawings

RNG = np.random.default_rng(0)
LETTERS = np.eye(4, dtype="float32")
X = LETTERS[RNG.integers(0, 4, (3, 9))]
Y = np.array([1, 0, 1])


def recurrent():
    parts = [layers.Conv1D(2, 3, padding="same"), layers.LSTM(2), layers.Dense(2, "softmax")]
    return keras.Sequential([keras.Input((9, 4)), *parts])


def dense(shape, classes=2):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes, "softmax")])


class Page(HTMLParser):
    """What a reader finds: every tag closed, tables, pictures with a label, addresses from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.labels, self.elsewhere, self.tables = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.tables += tag == "table"
        if given.get("role") == "img" or tag == "img":
            self.labels.append(given.get("aria-label") or given.get("alt"))
        places = [given.get(each, "") for each in ("src", "href", "srcset")]
        self.elsewhere += [place for place in places if place and not place.startswith(("#", "data:"))]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        pass


def read(path):
    text = path.read_text()
    found = Page(text)
    assert not found.open and not found.elsewhere and all(found.labels) and "<script" not in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    return text, found


def test_sequences(tmp_path):
    models = {"dense": recurrent(), "<small>": dense((9, 4))}
    compared = ka.dashboard(models, X, Y, tmp_path / "page.html", "ACGT", samples=2, steps=2)
    text, found = read(tmp_path / "page.html")
    assert "&lt;small&gt;" in text and "<small>" not in text
    assert len(found.labels) == 2 + 2  # an optimised input of each model, and two samples
    assert found.tables == 1 + 4
    assert text.count("<polyline") == 2 * 2  # of the recurrent model alone
    assert len(re.findall(r"<use ", text)) > 2 * 9
    assert f"score {compared.scores['dense'][0]:.3f}" in text
    assert f"<td>{compared.maps['dense'][1][4]:.3g}</td>" in text


def test_images(tmp_path):
    x = RNG.random((3, 4, 5, 1))
    ka.dashboard({"a": dense((4, 5, 1), 3), "b": dense((4, 5, 1), 3)}, x, [0, 2, 1], tmp_path / "p.html", steps=2)
    _, found = read(tmp_path / "p.html")
    assert len(found.labels) == 2 * 3 + 3 * 3  # of each class and model one; each sample, and over it two maps


def test_sequences_without_letters_and_without_optimised_inputs(tmp_path):
    ka.dashboard({"a": dense((9, 4))}, X, Y, tmp_path / "p.html", steps=0)
    text, found = read(tmp_path / "p.html")
    assert "<use" not in text and len(found.labels) == 3


def test_filters_beside_their_motifs(tmp_path):
    kernel = LETTERS[[2, 0, 3, 0, 0, 2, 1, 3]]
    x = LETTERS[RNG.integers(0, 4, (12, 20))]
    x[:, 5:13] = kernel
    parts = [layers.Conv1D(1, 8, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((20, 4)), *parts])
    model.set_weights([kernel[..., None], np.array([-6.5]), np.ones((1, 1)), np.zeros(1)])
    known = [Motif("m1", "(GATA1)_(Homo_sapiens)", kernel)]
    ka.dashboard({"a": model}, x, np.ones(12, int), tmp_path / "p.html", "ACGT", samples=1, motifs=known, steps=0)
    assert "a, filter 0: m1 GATA1, correlation 1.00, p 0.005, strand +" in (tmp_path / "p.html").read_text()


def test_a_letter_is_its_outline_in_the_unit_square():
    outline = drawings._outline("T")
    numbers = np.array(re.findall(r"-?[\d.]+", outline), float)
    assert numbers.min() == 0 and numbers.max() == 1 and outline.startswith("M") and outline.endswith("Z")


def test_a_logo_is_as_high_as_its_numbers():
    drawn = drawings.logo(np.array([[1.0, 3.0], [0.0, 2.0]]), 0, 40)
    placed = re.findall(r"glyph(\d).*?translate\(([\d.]+) ([\d.]+)\) scale\(9 ([\d.]+)\)", drawn)
    assert placed == [("0", "0.5", "30.0", "10.0"), ("1", "0.5", "0.0", "30.0"), ("1", "10.5", "20.0", "20.0")]


@pytest.mark.parametrize(
    "x, alphabet, sentence",
    [
        (X, "ACG", "must be a str of 4 different letters"),
        (np.ones((3, 4, 4, 1)), "ACGT", "must be sequences"),
        (np.ones((3, 4)), None, "must be sequences or images"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(x, alphabet, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        ka.dashboard({"a": dense((9, 4))}, x, Y, tmp_path / "p.html", alphabet)
    assert not list(tmp_path.iterdir())
