"""What is said where a model cannot be made again with other layers in it."""

from keras_admm.errors import reason
from keras_admm.graph.library import graph_class
from keras_admm.graph.rebuilding.models import graph_base


class Refusals:
    """The errors, which all are a ValueError.

    Args:
        otherwise: what a user can do who cannot change the model, such as "use Masked in your own code"; or "".
    """

    def __init__(self, otherwise):
        self._or_otherwise = f", or {otherwise}" if otherwise else ""

    def check(self, model):
        """Raises unless the model is a built graph of layers, called as Keras calls one."""
        if graph_class(model, "keras") is None:
            raise ValueError(
                f"{model.name}: only a Sequential or Functional model can be taken apart and put together again. "
                f"Received: a {type(model).__name__}, with a `call` of its own. Build it with keras.Sequential or "
                f"keras.Model(inputs, outputs){self._or_otherwise}."
            )
        if not model.built or not model.layers:
            raise ValueError(
                f"{model.name}: the model must be built before its layers can be replaced. Received: a model without "
                "variables. Call model.build(input_shape), or the model on a batch of data, first."
            )

    def lost_class(self, model):
        base = graph_base(model)
        methods = sorted({n for c in type(model).__mro__[: type(model).__mro__.index(base)] for n in vars(c)})
        methods = [n for n in methods if not n.startswith("_") and n not in dir(base)]
        return ValueError(
            f"{model.name}: a model with other layers is made of them, which the constructor of its class must take, "
            f"as keras.Model(inputs, outputs) does. Received: a {type(model).__name__}, whose constructor makes its "
            f"own; the class would be lost, and with it {', '.join(methods) or 'what it overrides'}. Pass "
            f"keras.Model(model.input, model.output) where these are not needed{self._or_otherwise}."
        )

    def not_from_config(self, layer, error):
        return ValueError(
            f"{layer.name}: it must be possible to make a layer again from its config. Received: a "
            f"{type(layer).__name__}, which fails ({reason(error)}). Give it a get_config(), and names to its "
            "functions, and register these and its classes with "
            f"keras.saving.register_keras_serializable{self._or_otherwise}."
        )

    def other_shapes(self, layer, expected, received):
        return ValueError(
            f"{layer.name}: a layer made again from its config must have the same variables, of shapes {expected}. "
            f"Received: {received}. Correct its get_config()."
        )

    def other_weights(self, layer, new, received):
        return ValueError(
            f"{layer.name}: the weights of its replacement must be of the shapes of {new.name}.weights, "
            f"{[tuple(v.shape) for v in new.weights]}. Received: {received}. Correct Replacement.weights."
        )

    def untied(self, layer, variable):
        return ValueError(
            f"{layer.name}: weights that are tied must be so by a layer in the config of another "
            f"(keras.saving.serialize_keras_object). Received: {variable.path}, which the copy of this "
            f"{type(layer).__name__} would not share with the same layers. Correct its "
            f"get_config(){self._or_otherwise}."
        )
