"""The layer kinds of Keras 3 and tf_keras: one row per class, for all who ask about layers.

What is not here is a barrier for `purify`, has unknown MACs, and has its kernels told by the words of their names.
"""

import keras
import numpy as np

from keras_admm.graph import channels, resizing, uses
from keras_admm.graph.groups import activations, attention, einsum, merges, norms, recurrent, shapes
from keras_admm.graph.groups import kernels as widths
from keras_admm.graph.kind import ROWS, EinsumKernel, Kernel, Kind, channels_of
from keras_admm.graph.kind import rows_of as rows_of
from keras_admm.graph.kind import uses_of as uses_of


def stages(layer, inputs, outputs, array):
    """The stages of a layer, first to last.

    Args:
        layer: a layer or another operation of a graph, called once on nothing but tensors.
        inputs, outputs: lists of shapes.
        array: function of a variable that gives its value.

    Returns:
        A list, or None for a barrier: nothing is known of such a layer, and its weights are left alone.
    """
    rule = channels_of(layer)
    if rule is None or not isinstance(layer, keras.layers.Layer):
        return None
    if any(len(shape) < 2 or not shape[-1] for shape in (*inputs, *outputs)):
        return None
    if getattr(layer, "data_format", None) == "channels_first" or layer.quantization_mode:
        return None
    return None if getattr(layer, "lora_enabled", False) else rule(layer, inputs, outputs, array)


def _row(names, kernels=None, uses=None, channels=None, groups=None, resized=None):
    """Puts one row in the table for several classes; `Conv#D` stands for those of one, two and three dimensions."""
    each = [name.replace("#", str(n)) for name in names.split() for n in ((1, 2, 3) if "#" in name else (0,))]
    named = tuple(Kernel(k) if isinstance(k, str) else k for k in kernels) if kernels is not None else None
    row = Kind(kernels=named, uses=uses, channels=channels, groups=groups, resized=resized)
    ROWS.update(dict.fromkeys(each, row))


CELL = ("kernel", "recurrent_kernel")
# Kernels are those of the classes' own and of what is derived from them; layers that are made of others
# (MultiHeadAttention, Bidirectional) need no row for them. In tf_keras depthwise and separable convolutions are kinds
# of `Conv`.
DEPTHWISE = channels.DEPTHWISE, Kernel("depthwise_kernel", groups=-2, outputs=-1)
_row("Dense", (channels.KERNEL, "quantized_kernel"), uses.at_outputs, channels.dense, widths.dense, resizing.dense)
EINSUM = EinsumKernel("kernel"), "quantized_kernel"
_row("EinsumDense", EINSUM, uses.einsum, None, einsum.einsum_dense, resizing.einsum)
NAMES = "Conv#D BaseConv"
_row(NAMES, (channels.KERNEL,), uses.at_outputs, channels.convolution, widths.convolution, resizing.convolution)
_row("Conv", (channels.KERNEL, *channels.SEPARABLE), uses.at_outputs)
NAMES = "Conv#DTranspose BaseConvTranspose"
_row(NAMES, (channels.TRANSPOSED,), uses.at_inputs, channels.transposed, widths.transposed, resizing.transposed)
NAMES = "DepthwiseConv1D DepthwiseConv2D BaseDepthwiseConv"
_row(NAMES, DEPTHWISE, uses.at_outputs, channels.depthwise, widths.depthwise)
NAMES = "SeparableConv1D SeparableConv2D BaseSeparableConv"
_row(NAMES, channels.SEPARABLE, uses.at_outputs, channels.separable, widths.separable, resizing.separable)
_row("LocallyConnected1D LocallyConnected2D", ("kernel",))
_row("Embedding", ("embeddings", "reverse_embeddings"), uses.never, None, widths.embedding, resizing.embedding)
_row("ReversibleEmbedding", None, uses.reversible, None, widths.reversible_embedding, resizing.embedding)
_row("SimpleRNNCell GRUCell LSTMCell", CELL, uses.cell, None, recurrent.cell, resizing.cell)
_row("ConvLSTMCell", CELL, uses.cell, None, recurrent.cell, resizing.convolving_cell)
_row("StackedRNNCells", resized=resizing.stacked_cells)
_row("RNN", None, uses.recurrent, None, recurrent.recurrent, resizing.around_a_cell)
_row("SimpleRNN LSTM GRU ConvLSTM ConvLSTM#D", None, uses.recurrent, None, recurrent.recurrent, resizing.recurrent)
_row("Bidirectional", groups=recurrent.bidirectional, resized=resizing.both_ways)
_row("TimeDistributed", groups=recurrent.time_distributed, resized=resizing.each_time)
_row("MultiHeadAttention", groups=attention.multi_head, resized=resizing.attention)
_row("GroupedQueryAttention", groups=attention.grouped_query, resized=resizing.grouped_query_attention)
_row("STFTSpectrogram", ("real_kernel", "imag_kernel"))

_row("BatchNormalization", (), None, channels.normalization, norms.batch)
_row("PReLU", (), None, channels.zero_only, activations.prelu)
_row("LayerNormalization RMSNormalization UnitNormalization", (), groups=norms.over_channels)
_row("GroupNormalization", (), groups=norms.group, resized=resizing.group_normalization)
_row("LayerScale", groups=norms.scale, resized=resizing.layer_scale)
_row("BatchNormalizationBase SpectralNormalization Discretization Normalization", ())
_row("Attention", (), groups=attention.attention)
_row("AdditiveAttention", groups=attention.additive)

_row("Activation", channels=channels.activation, groups=activations.activation)
_row("ReLU LeakyReLU ELU", channels=channels.own_activation, groups=activations.same)
_row("Softmax", groups=activations.softmax)
SAME = "ActivityRegularization GaussianDropout GaussianNoise Identity SpatialDropout#D StochasticDepth"
_row(SAME, channels=channels.same, groups=activations.same)
_row("AlphaDropout Dropout", channels=channels.same, groups=activations.same, resized=resizing.dropout)
_row("RepeatVector", channels=channels.same, groups=shapes.repeat)
_row("AveragePooling#D MaxPooling#D", channels=channels.same, groups=shapes.by_channel)
_row("GlobalAveragePooling#D GlobalMaxPooling#D", channels=channels.same, groups=shapes.by_channel)
_row("Cropping#D UpSampling#D", channels=channels.same, groups=shapes.by_channel)
_row("ZeroPadding#D", channels=channels.zero_only, groups=shapes.padding, resized=resizing.padding)
_row("Flatten", channels=channels.reshape, groups=shapes.flatten)
_row("Reshape", channels=channels.reshape, groups=shapes.reshape, resized=resizing.reshape)
_row("Permute", groups=shapes.permute)
_row("Add", None, None, channels.merge(lambda *values: np.sum(values, axis=0)), merges.merge)
_row("Average", None, None, channels.merge(lambda *values: np.mean(values, axis=0)), merges.merge)
_row("Maximum", None, None, channels.merge(channels.reduced(np.maximum)), merges.merge)
_row("Minimum", None, None, channels.merge(channels.reduced(np.minimum)), merges.merge)
_row("Multiply", None, None, channels.merge(channels.product), merges.product)
_row("Subtract", None, None, channels.merge(lambda a, b: a - b), merges.merge)
_row("CustomScaleLayer", groups=merges.merge)  # of keras.applications: a sum
_row("Concatenate", channels=channels.concatenation, groups=merges.concatenation)
_row("InputLayer", resized=resizing.of_input)
