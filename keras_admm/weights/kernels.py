"""What is a kernel: by its role in a layer of Keras first, then by whole words of its own name."""

from keras import tree

from keras_admm.axes import Axes
from keras_admm.graph import calls, every_layer, has_graph, kinds
from keras_admm.names import words
from keras_admm.weights.values import path

# Attributes of layers of a known kind that are none whatever their rank and their name: biases (of rank 2 in GRU and
# attention), what normalizes, the factors of LoRA, which stand for a change of the layer's own kernel, scales of
# quantization.
OTHERS = ("bias", "gamma", "beta", "alpha", "scale", "moving_mean", "moving_variance", "adapt_mean", "adapt_variance")
OTHERS += ("mean", "variance", "vector_u", "summary", "kernel_scale", "kernel_zero", "embeddings_scale")
OTHERS += ("embeddings_zero", "reverse_embeddings_scale", "reverse_embeddings_zero")
OTHERS += ("lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b")

# Words of names by which other weights of rank 2 and more are told: the last one, and any.
KERNEL_WORDS = {"kernel", "embedding", "embeddings"}
OTHER_WORDS = {"bias", "gamma", "beta", "alpha", "scale", "lora", "mask"}


def kernels(layer):
    """The variables of a layer or a model, trainable or not, each once, that are kernels or embeddings.

    Of rank 2 and more: what is one in a layer of a known kind (`graph.kinds`), whatever its name; and weights of other
    layers but those whose names say that they scale or shift.
    """
    roles = _roles(layer)
    return [v for v in _unique(layer.variables) if len(v.shape) > 1 and _is(roles.get(id(v)), v, _named_as_kernel)]


def biases(layer):
    """The variables of a layer or a model, each once, that are biases: so called by the layer, or by their names."""
    roles = _roles(layer)
    return [v for v in _unique(layer.variables) if roles.get(id(v)) == "bias" or "bias" in _own_words(v)]


def axes(model, variables):
    """The `constraints.Axes` of each of a dict of a model's variables by name, as the layers that have them say.

    Where none does, those of `Dense`.
    """
    found = {}
    for each in every_layer(model):
        for kernel in (kernel for row in kinds.rows_of(each) for kernel in row.kernels or ()):
            found.setdefault(id(_attribute(each, kernel.name)), kernel.axes(each))
    return {name: found.get(id(variable), Axes()) for name, variable in variables.items()}


def last(model):
    """The kernels that write a model's outputs, with no other kernel between: of each layer that does so its last one.

    Of a model without a graph none is known.
    """
    if not has_graph(model):
        return []
    followed = calls.of(model, "its outputs can be followed")
    wanted, found = set(tree.flatten(followed.outputs)), []
    for call in reversed(followed.calls):
        if not wanted.isdisjoint(call.outputs):
            own = kernels(call.layer) if any(len(v.shape) > 1 for v in call.variables.values()) else []
            found += own[-1:]
            wanted.update(() if own else call.inputs)
    return _unique(found)


def ends_as_kernel(variable):
    """Whether the last word of a variable's name says that it is a kernel or an embedding."""
    return bool(KERNEL_WORDS & set(_own_words(variable)[-1:]))


def _roles(layer):
    """Of each variable that a known layer has in a known attribute, by id: `"kernel"`, or that attribute's name."""
    roles = {}
    for each in every_layer(layer):
        own = {id(v) for v in each.variables}
        told = [row.kernels for row in kinds.rows_of(each) if row.kernels is not None]
        kernels = {kernel.name: "kernel" for row in told for kernel in row}
        for attribute, role in {**{name: name for name in OTHERS if told}, **kernels}.items():
            variable = _attribute(each, attribute)
            if id(variable) in own:
                roles[id(variable)] = role
    return roles


def _attribute(layer, name):
    """What a layer has under a name: with LoRA, or quantized, the name alone gives a sum and the variable has a `_`."""
    return vars(layer)[f"_{name}"] if f"_{name}" in vars(layer) else vars(layer).get(name)


def _is(role, variable, by_name):
    return role == "kernel" if role else by_name(variable)


def _named_as_kernel(variable):
    if ends_as_kernel(variable):
        return True
    return not OTHER_WORDS & set(_own_words(variable)) and sum(size > 1 for size in variable.shape) > 1


def _own_words(variable):
    return words(path(variable).split("/")[-1])


def _unique(variables):
    return list({id(v): v for v in variables}.values())
