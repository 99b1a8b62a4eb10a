"""How far two models differ on random inputs, and how far they may where one is factorized."""

from keras_admm.structure import trial

# Of the largest output, or of 1 where that is more, by the dtype that layers compute in.
ALLOWED = {"float16": 2e-2, "bfloat16": 1e-1}


def difference(model, other):
    """How far the outputs of two models differ at most on random inputs, and how far they may.

    Args:
        model, other: built Keras 3 models of the same inputs and outputs.

    Returns:
        `(differs, allowed)`: floats, in units of the largest magnitude of the model's outputs, or of 1 where that is
        smaller.
    """
    inputs, before = trial.drawn(model, lambda inputs: trial.outputs(model, inputs))
    after = trial.outputs(other, inputs)
    computed = {layer.compute_dtype for layer in model._flatten_layers()}
    return trial.apart(before, after), max(ALLOWED.get(dtype, 1e-4) for dtype in computed)
