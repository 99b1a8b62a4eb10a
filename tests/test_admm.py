"""The formulas of ADMM against numbers worked by hand."""

import numpy as np
import pytest

from keras_admm import admm
from keras_admm.constraints import Sparse


def array(*numbers):
    return np.array(numbers, "float32")


def test_two_steps_by_hand():
    one = Sparse(2 / 3)  # keeps one of three
    state = admm.start(array(3, 2, 1), one)
    assert state.z.tolist() == [3, 0, 0] and state.u.tolist() == [0, 0, 0]
    # W + U = W = (2, 3, 1): Z = (0, 3, 0), U = (2, 0, 1); |W - Z| = |(2, 0, 1)|, |Z - Z'| = |(-3, 3, 0)|
    state, residuals = admm.step(array(2, 3, 1), state, one)
    assert state.z.tolist() == [0, 3, 0] and state.u.tolist() == [2, 0, 1]
    assert residuals == pytest.approx((5**0.5, 18**0.5))
    # W + U = (3.5, 2.5, 1): Z = (3.5, 0, 0), U = (0, 2.5, 1); |W - Z| = |(-2, 2.5, 0)|, |Z - Z'| = |(3.5, -3, 0)|
    state, residuals = admm.step(array(1.5, 2.5, 0), state, one)
    assert state.z.tolist() == [3.5, 0, 0] and state.u.tolist() == [0, 2.5, 1]
    assert residuals == pytest.approx((10.25**0.5, 21.25**0.5))


def test_the_dual_shrinks_as_rho_grows():
    """y = rho * u stays: u / 2 where rho doubles; the authors' codes leave u (rescale=1)."""
    one = Sparse(0.5)
    start = admm.start(array(2, 1), one)
    scaled, _ = admm.step(array(2, 1), start, one, rescale=2.0)
    left, _ = admm.step(array(2, 1), start, one)
    assert scaled.u.tolist() == [0, 0.5] and left.u.tolist() == [0, 1]
    assert admm.rescaled(left, 4.0).u.tolist() == [0, 0.25]


def test_residuals_add_up_as_one_long_tensor():
    parts = [admm.Residuals(3.0, 1.0), admm.Residuals(4.0, 0.0)]
    assert admm.total(parts) == pytest.approx((5.0, 1.0))


def test_it_converges_to_the_best_member():
    """min |W - c|^2 / 2 over one non-zero of three: W solves its subproblem exactly, ADMM finds (0, 0, 3)."""
    c, rho, one = array(1, -2, 3), 4.0, Sparse(2 / 3)
    w = c.copy()
    state = admm.start(w, one)
    for _ in range(100):
        w = (c + rho * (state.z - state.u)) / (1 + rho)
        state, residuals = admm.step(w, state, one)
    np.testing.assert_allclose(state.z, [0, 0, 3], atol=1e-4)
    np.testing.assert_allclose(w, state.z, atol=1e-4)
    assert residuals.primal < 1e-4 and residuals.dual < 1e-4


def test_a_step_leaves_its_arguments_alone():
    w, one = array(2, 1), Sparse(0.5)
    state = admm.start(w, one)
    u = state.u.copy()
    admm.step(w, state, one)
    assert w.tolist() == [2, 1] and state.u.tolist() == u.tolist()


@pytest.mark.parametrize("unit", [1e-38, 1e-30, 1e-10, 1e10, 1e30, 1e38])
def test_residuals_in_any_unit(unit):
    assert admm.norm(np.full(4, unit, "float32")) == pytest.approx(2 * unit)
