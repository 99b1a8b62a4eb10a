"""The same model again, with other layers in the places of some."""

from keras_admm.graph.rebuilding.initializers import of_any_shape as of_any_shape
from keras_admm.graph.rebuilding.models import functional as functional
from keras_admm.graph.rebuilding.models import is_opened as is_opened
from keras_admm.graph.rebuilding.models import owners as owners
from keras_admm.graph.rebuilding.rebuild import Replacement as Replacement
from keras_admm.graph.rebuilding.rebuild import rebuild as rebuild
