"""The way through a Keras model: its calls, and the same model with other layers."""

from keras_admm.graph import calls as calls
from keras_admm.graph.calls import Call as Call
from keras_admm.graph.calls import Calls as Calls
from keras_admm.graph.calls import Tensor as Tensor
from keras_admm.graph.calls import has_graph as has_graph
from keras_admm.graph.rebuild import Replacement as Replacement
from keras_admm.graph.rebuild import owners as owners
from keras_admm.graph.rebuild import rebuild as rebuild
