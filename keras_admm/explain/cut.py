"""A model cut in two before its first recurrent layer (LSTM, GRU, SimpleRNN, Bidirectional)."""

from keras import ops, tree
from keras.src.backend.common.masking import get_keras_mask

from keras_admm import graph, weights
from keras_admm.layers import Masked

RECURRENT = "RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM", "Bidirectional"
# What does to each place of a sequence the same, whatever stands beside it: a Keras mask is handed on.
PLACE_BY_PLACE = "Dense", "Dropout", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "BatchNormalization"
PLACE_BY_PLACE += "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "TimeDistributed"


class Cut:
    """A model in two parts: what is before its first recurrent layer, and the rest from there on.

    Args:
        name: str, name used in error messages.
        model: a built Sequential or Functional model of Keras 3 or tf_keras.

    Attributes:
        first: the recurrent layer.
        maskable: whether the rest computes of a padded sequence with a mask what it does of the shorter one.
        starts_with_it: whether nothing is before it.

    Raises:
        ValueError: for a model without such a layer, or with a way around it.
    """

    def __init__(self, name, model):
        calls = graph.calls.of(model, f"{name} looks at its recurrent layers").needed()
        at = next((i for i, call in enumerate(calls.calls) if is_recurrent(call.layer)), None)
        if at is None:
            raise ValueError(
                f"{name}: with mode='map' a model must have a recurrent layer. Received: {model.name}, which has none. "
                "Choose mode='input'."
            )
        self._calls, self._map = calls, calls.calls[at].reads()[0]
        self._rest, self._before = self._parts(name, model)
        self.first = self._rest[0].layer
        self.maskable = self._is_maskable()
        self.starts_with_it = self._map in tree.flatten(calls.inputs)

    def _parts(self, name, model):
        known, rest = {self._map}, []
        for call in self._calls:
            if known.intersection(call.reads()):
                rest.append(call)
                known.update(call.outputs)
        for call in rest:
            around = [x.layer.name for x in call.reads() if x not in known]
            if around:
                raise ValueError(
                    f"{name}: with mode='map' all of a model must go through what its first recurrent layer reads. "
                    f"Received: {model.name}, where {call.layer.name} reads {around[0]} too. Choose mode='input'."
                )
        return rest, [call for call in self._calls if call not in rest]

    def _is_maskable(self):
        """A chain of each place by itself, until a recurrent layer gives its last state, or places are averaged."""
        tensor = self._map
        for call in self._rest:
            readers = sum(tensor in each.reads() for each in self._rest)
            layer = inner(call.layer)
            if call.reads() != [tensor] or readers != 1 or len(call.outputs) != 1:
                return False
            tensor = call.outputs[0]
            ends = weights.of_class(layer, "GlobalAveragePooling1D")
            if ends or is_recurrent(layer) and not layer.return_sequences:
                return True
            if not is_recurrent(layer) and not weights.of_class(layer, *PLACE_BY_PLACE):
                return False
        return False

    @property
    def one_way(self):
        """`"forward"` or `"backward"` if the first layer goes this way alone and gives its last state, else None."""
        layer = inner(self.first)
        if weights.of_class(layer, "Bidirectional", "ConvLSTM") or layer.return_sequences or not self.maskable:
            return None
        return "backward" if layer.go_backwards else "forward"

    def before(self, x):
        """The map that the recurrent layer reads, and the Keras mask of it if there is one, as a list."""
        values = dict(zip(tree.flatten(self._calls.inputs), tree.flatten(x), strict=True))
        for call in self._before:
            _compute(call, values)
        found = values[self._map]
        return [each for each in (found, get_keras_mask(found)) if each is not None]

    def after(self, values, mask=None):
        """The outputs of the model for a map, with a mask of the places that are there."""
        return self._outputs({self._map: values}, self._rest, {} if mask is None else {"mask": mask})

    def after_each(self, values, mask=None):
        """The outputs for each state of a layer that goes one way: `(samples * positions, ...)`."""
        layer, first = inner(self.first), self._rest[0]
        layer.return_sequences = True
        try:
            kwargs = {} if mask is None else {"mask": mask}
            states = self.first(values, **kwargs)
        finally:
            layer.return_sequences = False
        known = {first.outputs[0]: ops.reshape(states, (-1, states.shape[-1]))}
        return self._outputs(known, self._rest[1:], {})

    def _outputs(self, values, calls, more):
        for i, call in enumerate(calls):
            _compute(call, values, {} if i else more)
        return tree.map_structure(values.get, self._calls.outputs)


def _compute(call, values, more=None):
    args, kwargs = call.filled(values)
    outputs = tree.flatten(call.layer(*args, **kwargs, **(more or {})))
    values.update(zip(call.outputs, outputs, strict=True))


def is_recurrent(layer):
    """Whether a layer goes through a sequence place by place, one in a `Masked` too."""
    return weights.of_class(inner(layer), *RECURRENT)


def inner(layer):
    """The layer in a `Masked`, or a layer itself."""
    return layer.layer if isinstance(layer, Masked) else layer
