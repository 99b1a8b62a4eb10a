"""The penalty is a squared norm with a half: numbers by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_admm import ADMMRegularizer

pytestmark = pytest.mark.every_backend

TARGET = np.array([[1.0, 0.0], [-2.0, 0.5]], "float32")
W = np.array([[2.0, 3.0], [-2.0, 0.0]], "float32")


def test_value_and_gradient():
    penalty = ADMMRegularizer(TARGET, 0.2)
    assert float(penalty(W)) == pytest.approx(0.1 * (1 + 9 + 0 + 0.25))
    np.testing.assert_allclose(ops.convert_to_numpy(penalty.gradient(W)), [[0.2, 0.6], [0, -0.1]], rtol=1e-6)


def test_moving_variables_needs_no_new_object():
    target, rho = keras.Variable(TARGET), keras.Variable(0.0)
    penalty = ADMMRegularizer(target, rho)
    assert float(ops.convert_to_numpy(penalty(W))) == 0
    rho.assign(2.0)
    target.assign(W)
    assert float(ops.convert_to_numpy(penalty(W))) == 0
    target.assign(W - 1)
    assert float(ops.convert_to_numpy(penalty(W))) == 4


def test_half_precision_weights_are_compared_in_float32():
    half = ops.cast(W, "bfloat16")
    assert keras.backend.standardize_dtype(ADMMRegularizer(TARGET, 1.0).gradient(half).dtype) == "float32"


def test_config_round_trip():
    config = keras.regularizers.serialize(ADMMRegularizer(TARGET, 0.5))
    again = keras.regularizers.deserialize(config)
    assert keras.regularizers.serialize(again) == config
    assert float(again(W)) == float(ADMMRegularizer(TARGET, 0.5)(W))


@pytest.mark.parametrize("rho", [-1.0, float("nan"), float("inf")])
def test_bad_rho_gets_a_sentence(rho):
    with pytest.raises(
        ValueError, match="must be a finite number >= 0, the ADMM penalty. Received: rho=.*Start with 1e-3"
    ):
        ADMMRegularizer(TARGET, rho)
