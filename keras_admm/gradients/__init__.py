"""Gradients of a model's outputs with respect to its inputs, on every backend."""

from keras_admm.gradients import autodiff as autodiff
from keras_admm.gradients.gradient import Gradient as Gradient
from keras_admm.gradients.inputs import Inputs as Inputs
from keras_admm.gradients.runner import Forward as Forward
from keras_admm.gradients.runner import Runner as Runner
