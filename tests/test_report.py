"""Counts by hand, and the table that they print."""

import keras
import numpy as np
import pytest

import keras_admm as ka
from keras_admm import weights

pytestmark = pytest.mark.every_backend


def model():
    m = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")], name="m"
    )
    weights.write(m.layers[0].kernel, np.eye(4)[:, :3])
    weights.write(m.layers[1].kernel, np.zeros((3, 2)))
    return m


def test_rows_and_total():
    report = ka.report(model())
    assert [tuple(r) for r in report.rows] == [("m/a/kernel", (4, 3), 12, 3), ("m/b/kernel", (3, 2), 6, 0)]
    assert report.rows[0].sparsity == 0.75
    assert tuple(report.total) == ("total", (), 18, 3)
    assert tuple(ka.report(model(), layers="a").total) == ("total", (), 12, 3)


def test_the_table_is_aligned():
    lines = str(ka.report(model())).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["m/b/kernel", "3x2", "6", "0", "1.0000", "-"]
    assert lines[3].split() == ["total", "18", "3", "0.8333", "6.0x"]


def test_an_unbuilt_model_gets_a_sentence():
    with pytest.raises(ValueError, match="must be built before"):
        ka.report(keras.Sequential([keras.layers.Dense(2)]))
