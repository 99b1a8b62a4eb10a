"""The weights of a Keras 3 layer in its twin of tf_keras."""

from keras import ops

from keras_admm.export.twin.layers import LEFT_OUT

# What LoRA adds to a layer, whose twin has the kernel with their product in it.
LORA = ("lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b")


def copy_weights(layer, twin, held):
    """Gives a twin the weights of its layer.

    Args:
        layer: of Keras 3.
        twin: of tf_keras.
        held: list of pairs of the layers in both, which have weights of their own.

    Raises:
        ValueError: if they do not fit.
    """
    own, new = _own(layer, [old for old, _ in held]), _own(twin, [inner for _, inner in held])
    if [tuple(v.shape) for v in own] != [tuple(v.shape) for v in new]:
        raise ValueError(
            f"{layer.name}: a {type(layer).__name__} must have the same weights in tf_keras, of shapes "
            f"{[tuple(v.shape) for v in own]}. Received: {[tuple(v.shape) for v in new]}. {LEFT_OUT}."
        )
    for old, variable in zip(own, new, strict=True):
        variable.assign(ops.convert_to_numpy(_with_lora(layer, old)))
    twin.finalize_state()  # Normalization computes with constants made of its weights


def _own(layer, held):
    others = {id(v) for each in held for v in each.weights} | {id(v) for v in lora_factors(layer)}
    return [v for v in layer.weights if id(v) not in others]


def lora_factors(layer):
    """The weights of a layer that stand for a change of its kernel."""
    return [vars(layer)[name] for name in LORA if name in vars(layer)]


def _with_lora(layer, variable):
    """A variable's value, with the product of LoRA's factors added to the kernel that they change."""
    for name in ("kernel", "embeddings"):
        if lora_factors(layer) and vars(layer).get(f"_{name}") is variable:
            return getattr(layer, name)
    return variable
