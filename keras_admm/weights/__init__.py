"""Which variables of a model are compressed, and reading and writing them."""

from keras_admm.weights.arguments import check_choice as check_choice
from keras_admm.weights.arguments import check_keras_3 as check_keras_3
from keras_admm.weights.arguments import check_model as check_model
from keras_admm.weights.kernels import axes as axes
from keras_admm.weights.kernels import biases as biases
from keras_admm.weights.kernels import kernels as kernels
from keras_admm.weights.kernels import last as last
from keras_admm.weights.selection import choose as choose
from keras_admm.weights.selection import fitting as fitting
from keras_admm.weights.selection import left_out as left_out
from keras_admm.weights.selection import select as select
from keras_admm.weights.values import Lazy as Lazy
from keras_admm.weights.values import is_tf_keras as is_tf_keras
from keras_admm.weights.values import named as named
from keras_admm.weights.values import of_class as of_class
from keras_admm.weights.values import on_device as on_device
from keras_admm.weights.values import path as path
from keras_admm.weights.values import read as read
from keras_admm.weights.values import storable as storable
from keras_admm.weights.values import view as view
from keras_admm.weights.values import views as views
from keras_admm.weights.values import write as write
