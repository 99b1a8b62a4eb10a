"""The graphs of tf_keras."""

from keras import tree

from keras_admm.graph.library import Library, Node, graph_class


class TFKeras(Library):
    """tf_keras, which is Keras 2."""

    name = "tf_keras"

    def graph(self, model):
        known = graph_class(model, "tf_keras") is not None and model._is_graph_network
        return model if known else None

    def nodes(self, graph):
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    outputs = tree.flatten(node.outputs)
                    yield Node(node.layer, node.call_args, node.call_kwargs, node.keras_inputs, outputs)

    def ends(self, graph):
        return graph._nested_inputs, graph._nested_outputs

    def flat_inputs(self, graph, given):
        return graph._flatten_to_reference_inputs(given)

    def takes_training(self, layer):
        return layer._expects_training_arg

    def training(self, own, around):
        return around if own is None else own

    def is_tensor(self, x):
        return hasattr(x, "_keras_history")

    def is_variable(self, x):
        import tensorflow as tf

        return isinstance(x, tf.Variable)

    def maker(self, tensor):
        return tensor._keras_history.layer

    def made_trainable(self, layer):
        return list(layer._trainable_weights)
