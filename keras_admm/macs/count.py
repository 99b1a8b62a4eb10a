"""How often each weight of a model is used for one sample, told by the shapes of a symbolic run."""

import keras

from keras_admm import graph, weights
from keras_admm.graph import kinds
from keras_admm.layers import Masked
from keras_admm.macs import symbolic
from keras_admm.macs.products import Products


def uses(model, input_shape=None):
    """Counts how often each weight is used, one sample given.

    Nothing is computed: the model is called on symbolic inputs, and each layer's call tells its shapes.

    Args:
        model: a built `keras.Model`, or a model of tf_keras.
        input_shape: of the model's inputs, the batch first, where they leave a size open; a list or dict of shapes
            for several inputs.

    Returns:
        A dict of `id(variable)` to an int, or to `None` where it cannot be known (a variable of a layer with no rule
        is not in it), and a sentence that says why the run could not be made, empty if it was.

    Example:

    >>> model = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(2)])
    >>> counted, _ = uses(model)
    >>> counted[id(model.layers[0].kernel)]
    5
    """
    inputs = symbolic.inputs(model, input_shape)
    if symbolic.is_open(inputs):
        return {}, "MACs cannot be known: the shape of the model's inputs is open. Pass `input_shape`."
    try:
        counted = _counted(model, inputs)
    except Exception as error:  # whatever a layer of the user's raises on symbolic inputs
        return {}, f"MACs cannot be known: the model cannot be run on symbolic inputs ({type(error).__name__})."
    batch = keras.tree.flatten(inputs)[0].shape[0]
    return {key: count if count is None else count // batch for key, count in counted.items()}, ""


def uncounted(model, counted):
    """The names of the kernels of a model that `uses` knows no count of: what is summed up is without them.

    Args:
        model: built.
        counted: the dict that `uses` returned.
    """
    by_name = weights.named(model)
    ours = {id(v) for v in weights.kernels(model)}
    return [name for name, v in by_name.items() if id(v) in ours and counted.get(id(v)) is None]


def _counted(model, inputs):
    layers = graph.every_layer(model)
    record = Record(layers)
    with graph.observe(layers, record.note) as going_on:
        products = Products(model, lambda: record.has_rule(going_on))
        with products.watched():
            symbolic.run(model, inputs, products.scope())
    masked = any(isinstance(layer, Masked) for layer in layers)
    for key, count in products.uses.items():
        if key in record.uses:
            record.uses[key] = _with_products(record.uses[key], count, masked)
    return record.uses


def _with_products(before, count, masked):
    """How often a weight is used, what its own layer does with it and the products outside of it together."""
    if count is not None and before is not None:
        return before + count
    # What a layer only looks up, and something unknown reads too, may be multiplied there; a mask reads it as well.
    return None if count is None and before == 0 and not masked else before


class Record:
    """What the calls of a model's layers tell of their weights.

    Attributes:
        uses: dict of `id(variable)` to how often each of its weights is used, or `None`.
    """

    def __init__(self, layers):
        self.uses = {}
        # A layer with a `call` in the place of its class's may do anything.
        self._rules = {id(layer): kinds.uses_of(layer) for layer in layers if "call" not in vars(layer)}

    def has_rule(self, calls):
        """Whether the layer of one of some observed calls has a rule, which then counts what is inside it too."""
        return any(self._rules.get(id(call.layer)) for call in calls)

    def note(self, call):
        """Takes down how often a call uses the kernels of its layer."""
        rule = self._rules.get(id(call.layer))
        if rule is None or self.has_rule(call.around):
            return
        # The body of a loop is traced once for all its rounds.
        count = None if call.in_loop else rule(call.layer, _shape(call.inputs), _shape(call.outputs))
        for variable in weights.kernels(call.layer):
            before = self.uses.get(id(variable), 0)
            self.uses[id(variable)] = None if count is None or before is None else before + count


def _shape(tensors):
    """The shape of the first tensor of a structure."""
    return next(tuple(x.shape) for x in keras.tree.flatten(tensors) if keras.ops.is_tensor(x))
