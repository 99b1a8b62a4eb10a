"""Numbers that move with time, worked by hand."""

import pytest

from keras_admm.admm import Residuals
from keras_admm.schedules import rho_factor, tighten


@pytest.mark.parametrize(
    "start, end, fraction, path, expected",
    [
        (0.0, 0.99, 0.0, "constant", 0.99),
        (0.0, 0.99, 0.0, "root", 0.0),
        (0.0, 0.99, 0.1, "root", 0.0),
        (0.0, 0.99, 0.1 + 0.9 * 0.5**4, "root", 0.9),
        (0.9, 0.999, 0.1 + 0.9 * 0.5**4, "root", 0.99),
        (0.0, 0.99, 1.0, "root", 0.99),
        (0.0, 0.99, 0.0, "geometric", 0.0),
        (0.0, 0.99, 0.5, "geometric", 0.9),
        (0.9, 0.999, 0.5, "geometric", 0.99),
        (0.0, 0.99, 1.0, "geometric", 0.99),
        (0.5, 0.9, 0.0, "cubic", 0.5),
        (0.0, 0.8, 0.5, "cubic", 0.7),
        (0.5, 0.9, 1.0, "cubic", 0.9),
    ],
)
def test_paths(start, end, fraction, path, expected):
    assert tighten(start, end, fraction, path) == pytest.approx(expected)


@pytest.mark.parametrize(
    "growth, rho, primal, dual, expected",
    [
        (1.3, 1.0, 1.0, 1.0, 1.3),
        (1.0, 1.0, 100.0, 1.0, 1.0),
        ("balance", 1.0, 10.1, 1.0, 2.0),
        ("balance", 1.0, 9.9, 1.0, 1.0),
        ("balance", 1.0, 1.0, 10.1, 0.5),
        ("balance", 0.5, 1.0, 10.1, 1.0),  # the dual residual is rho * |Z - Z'|
        ("balance", 1.0, 0.0, 0.0, 1.0),
    ],
)
def test_rho(growth, rho, primal, dual, expected):
    assert rho_factor(growth, rho, Residuals(primal, dual)) == expected


def test_an_unknown_path_gets_a_sentence():
    must = "must be one of 'constant', 'cubic', 'geometric', 'root'"
    with pytest.raises(ValueError, match=f"{must}. Received: path='line'. Choose"):
        tighten(0.0, 0.9, 0.5, "line")
