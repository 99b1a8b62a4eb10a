"""The same model again, with other layers in the places of some."""

from keras_admm.graph.rebuild.models import owners as owners
from keras_admm.graph.rebuild.rebuild import Replacement as Replacement
from keras_admm.graph.rebuild.rebuild import rebuild as rebuild
