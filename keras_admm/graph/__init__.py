"""The graph of a model: its calls."""

from keras_admm.graph import calls as calls
from keras_admm.graph.calls import Call as Call
from keras_admm.graph.calls import Calls as Calls
from keras_admm.graph.calls import Tensor as Tensor
from keras_admm.graph.calls import has_graph as has_graph
