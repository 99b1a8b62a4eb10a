"""The page and the pictures of a report, on the files that they leave."""

import datetime
import re
import shutil
import subprocess
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from keras import layers

import keras_admm as ka
from keras_admm.pictures import new_figure
from keras_admm.plots import plot_history, plot_widths
from keras_admm.reporting import Report, ReportRow
from keras_admm.reporting import history as histories
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


class Page(HTMLParser):
    """What a reader finds: every tag closed, no address, labels of the pictures, heads of tables with their scopes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.labels, self.scopes, self.words = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert tag not in ("script", "link", "img") and not {"src", "href"} & set(given)
        if tag not in ("meta", "wbr"):
            self.open.append(tag)
        if tag == "svg":
            assert given["role"] == "img"
            self.labels.append(given["aria-label"])
        if tag == "th":
            self.scopes.append(given["scope"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("form", ["none", "history", "dict", "callback"])
def test_the_page_stands_alone(run, form, tmp_path):
    m, prune, history = run
    given = {"none": None, "history": history, "dict": history.history, "callback": prune}[form]
    text = ka.report(m).to_html(tmp_path / "page.html", history=given)
    assert (tmp_path / "page.html").read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    found = Page(text)
    assert found.scopes[:11] == 8 * ["col"] + 3 * ["row"]
    assert len(found.labels) == 3 + (given is not None) and all(found.labels)
    assert ("residual" in text) == (given is not None)
    assert all(f"<p>{line}</p>" in text for line in ka.report(m).summary)


def test_the_page_says_what_it_is_of_and_its_pictures_are_text(run):
    m, _, history = run
    text = ka.report(m).to_html(history=history)
    words = "".join(Page(text).words)
    for told in (
        m.name,
        datetime.date.today().isoformat(),
        f"keras_admm {ka.__version__}",
        f"Keras {keras.__version__}",
    ):
        assert told in words
    for told in ("share of zeros", "weight", "count", "epoch", "residual / ||W||", "zeros are left out", "ADMM epochs"):
        assert told in words
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    # Colours that a dark page would swallow are the page's own.
    assert "#000000" not in text and "#ffffff" not in text


def test_details_are_all_columns():
    report = ka.report(dead())
    assert [len(report.cells(details)[0]) for details in (False, True)] == [8, 16]
    assert Page(report.to_html(details=True)).scopes.count("col") == 16


def test_a_notebook_shows_a_table():
    text = ka.report(dead())._repr_html_()
    assert Page(text).scopes.count("col") == 8
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    rules = [rule for rule in re.findall(r"([^{}]+) \{", style) if not rule.strip().startswith("@media ")]
    # What else the notebook has keeps its looks.
    assert rules and all(each.strip().startswith(".keras-admm") for rule in rules for each in rule.split(","))


CUT = "[...document.querySelectorAll('.keras-admm, body')].map(e => e.scrollWidth - e.clientWidth)"


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser to look at it")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_of_the_table_is_cut(width, tmp_path):
    row = ReportRow("block_13_depthwise_of_the_left_branch/kernel", (1, 1, 960, 1280), 1_228_800, 122_880, 9, 20, 2)
    text = Report((row._replace(histogram=((2,), (0.0, 1.0))),)).to_html()
    (tmp_path / "page.html").write_text(text.replace("</body>", f"<script>document.title = {CUT}</script></body>"))
    screen = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    told = subprocess.run(["chromium", *screen, f"file://{tmp_path}/page.html"], capture_output=True, text=True)
    assert re.search(r"<title>(.*)</title>", told.stdout)[1] == "0,0"


def test_phases_and_projections_of_a_history():
    logs = {"sparsity": [0, 0, 0.5, 0.5, 0.9], "admm_rho": [1, 2, 0, 1, 0], "admm_step": [1, 1, 1, 2, 2.0]}
    assert histories.spans(logs) == [
        (1, 2, "ADMM", 1),
        (3, 3, "retraining", 1),
        (4, 4, "ADMM", 2),
        (5, 5, "retraining", 2),
    ]
    assert "projected after epochs 2, 4" in histories.told(logs)
    figure = new_figure((5, 6))
    histories.draw(figure, {**logs, "admm_primal": [0.5, 0.1, 0, 0.1, 0], "loss": [1, 1, 1, 1, 1]})
    for axes in figure.axes:
        assert axes.get_xlim() == (0.5, 5.5) and axes.get_ylabel()
        assert sorted(line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":") == [2.5, 4.5]
        assert len(axes.patches) == 2  # the epochs of ADMM, shaded


def test_no_legend_of_a_history_is_cut():
    logs = {"sparsity": [0, 0.9], "admm_sparsity": [0.5, 0], "admm_rho": [1, 0], "admm_step": [1, 1]}
    logs |= {"admm_primal": [0.5, 0], "admm_dual": [0.1, 0], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6]}
    figure = new_figure((4.8, 7))
    histories.draw(figure, logs)
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent()
        assert figure.bbox.x0 <= legend.x0 and legend.x1 <= figure.bbox.x1
        assert axes.get_window_extent().width > 0.7 * figure.bbox.width


def test_a_history_without_phases_is_drawn():
    logs = {"sparsity": [0.5, 0.9], "loss": [1.0, 0.5]}
    assert histories.spans(logs) == [] and histories.told(logs) == "Sparsity, residuals and accuracy over 2 epochs."
    histories.draw(new_figure((5, 6)), logs)


def test_names_are_text_in_the_page():
    text = Report((ReportRow("<b>/kernel", (1, 2), 2, 2, histogram=((2,), (0.0, 1.0))),)).to_html()
    assert '<th scope="row">&lt;b&gt;/<wbr>kernel</th>' in text and "<b>" not in text


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


EDGE = np.nextafter(np.float32(0.1), np.float32(1))
# Values of a kernel, of which the last stands once and the first in all other places; what the note says; the counts.
ODD = {
    "NaN": (0.1, np.nan, "NaN or infinity, counted as kept and in no histogram: 1 in odd/a/kernel.", 11),
    "infinite": (0.1, -np.inf, "1 in odd/a/kernel.", 11),
    "none is finite": (np.nan, np.inf, "12 in odd/a/kernel.", 0),
    "equal": (40.0, 40.0, "", 12),
    "all but equal": (0.1, EDGE, "", 12),
    "far apart": (-3e38, 3e38, "", 12),
}


@pytest.mark.parametrize("case", ODD)
def test_a_report_of_any_weights(case, tmp_path):
    most, one, note, count = ODD[case]
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, use_bias=False, name="a")], name="odd")
    kernel = np.full((4, 3), most, "float32")
    kernel[1, 2] = one
    model.set_weights([kernel])
    found = ka.report(model)
    assert note in found.note and ("NaN" in found.note) == bool(note)
    counts, edges = found.rows[0].histogram
    assert sum(counts) == count and found.rows[0].kept == 12 and (np.diff(edges) > 0).all()
    found.plot(tmp_path / "p.svg")
    assert ("none is finite" in (tmp_path / "p.svg").read_text()) == (not count)
    Page(found.to_html())


def test_names_are_text_in_pictures(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="p$x_{$q")], name="m")
    assert "m/p$x_{$q/kernel" in ka.report(model).to_html()
    plot_widths(model, model, tmp_path / "w.svg")
    plot_history({"sparsity": [0.5, 0.5], "x$acc_{$": [0.5, 0.6]}, tmp_path / "h.svg")
    assert "p$x_{$q" in (tmp_path / "w.svg").read_text() and "x$acc_{$" in (tmp_path / "h.svg").read_text()
