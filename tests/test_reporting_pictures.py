"""The page and the pictures of a report, on the files that they leave."""

import re
import xml.etree.ElementTree

import keras
import numpy as np
import pytest
from keras import layers

import keras_admm as ka
from keras_admm.plots import plot_history, plot_widths
from keras_admm.reporting import Report, ReportRow
from keras_admm.reporting.widths import widths


def dead():
    """A model of zeros."""
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_initializer="zeros")])


@pytest.fixture(scope="module")
def run():
    """A pruned model, the callback, and what fit returned."""
    m = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    m.compile("sgd", "mse", jit_compile=False)
    prune = ka.ADMMPrune(0.5)
    return m, prune, m.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=4, verbose=0, callbacks=[prune])


@pytest.mark.parametrize("form", ["none", "history", "dict", "callback"])
def test_the_page_stands_alone(run, form, tmp_path):
    m, prune, history = run
    given = {"none": None, "history": history, "dict": history.history, "callback": prune}[form]
    text = ka.report(m).to_html(tmp_path / "page.html", history=given)
    assert (tmp_path / "page.html").read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert not re.search(r"<script|<link|<img|src=|@import|href=\"http", text)
    svg = xml.etree.ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    assert svg.tag.endswith("svg")
    assert ("residuals" in text) == (given is not None)
    assert all(f"<p>{line}</p>" in text for line in ka.report(m).summary)


def test_names_are_text_in_the_page():
    text = Report((ReportRow("<b>/kernel", (1, 2), 2, 2, histogram=((2,), (0.0, 1.0))),)).to_html()
    assert "<td>&lt;b&gt;/kernel</td>" in text and "<b>" not in text


def test_pictures(run, tmp_path):
    m, _, history = run
    ka.report(m).plot(tmp_path / "report.png", history)
    ka.report(dead()).plot(tmp_path / "all_zero.svg")
    assert "<svg" in ka.report(keras.Sequential([keras.Input((4,)), layers.ReLU()])).to_html()
    plot_history(history, tmp_path / "history.png")
    plot_widths(m, m, tmp_path / "widths.svg")
    assert {p.name for p in tmp_path.iterdir()} == {"report.png", "all_zero.svg", "history.png", "widths.svg"}
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("history", [{"loss": [1.0]}, 3])
def test_another_history_gets_a_sentence_and_leaves_no_file(history, tmp_path):
    with pytest.raises(ValueError, match="must come from a fit with a keras_admm callback"):
        ka.report(dead()).to_html(tmp_path / "page.html", history=history)
    assert not list(tmp_path.iterdir())


def test_widths_are_those_of_what_each_kernel_gives():
    those = [layers.Conv2D(6, 3, name="a"), layers.DepthwiseConv2D(3, name="b"), layers.Dense(2, name="c")]
    model = keras.Sequential([keras.Input((8, 8, 3)), *those], name="m")
    assert widths(model) == {"a": 6, "b": 6, "c": 2}


def test_models_without_a_layer_in_common_get_a_sentence(tmp_path):
    one, other = (keras.Sequential([keras.Input((4,)), layers.Dense(2, name=name)]) for name in "ab")
    with pytest.raises(ValueError, match="must have layers of the same names. Received: a; and b"):
        plot_widths(one, other, tmp_path / "widths.png")
    assert not list(tmp_path.iterdir())
