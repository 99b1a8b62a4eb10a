"""The graphs of Keras 3."""

import keras
from keras import tree

from keras_admm.graph.library import Library, Node, graph_class


class Keras(Library):
    """Keras 3, on any backend."""

    name = "keras"

    def graph(self, model):
        if graph_class(model, "keras") is None:
            return None
        return model._functional if isinstance(model, keras.Sequential) else model

    def nodes(self, graph):
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    args, kwargs = node.arguments.args, node.arguments.kwargs
                    yield Node(node.operation, args, kwargs, node.input_tensors, node.outputs)

    def ends(self, graph):
        return graph._inputs_struct, graph._outputs_struct

    def flat_inputs(self, graph, given):
        if isinstance(given, dict) and not isinstance(graph._inputs_struct, dict):
            return [given.get(x.name) for x in graph.inputs]
        return tree.flatten(given)

    def takes_training(self, layer):
        return isinstance(layer, keras.layers.Layer) and layer._call_has_training_arg

    def training(self, own, around):
        return own if around is None else around

    def is_tensor(self, x):
        return isinstance(x, keras.KerasTensor)

    def is_variable(self, x):
        return isinstance(x, keras.Variable)

    def maker(self, tensor):
        return tensor._keras_history.operation

    def made_trainable(self, layer):
        return list(layer._trainable_variables)
