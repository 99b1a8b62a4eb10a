"""Makes an image model ready for XNNPACK's sparse inference, with equal outputs."""

import keras
import numpy as np
from keras import layers, ops

from keras_admm import graph
from keras_admm.weights import check_keras_3, storable

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
# What gives the turned result on a turned image; convolutions do with their kernels turned.
TURNABLE = (
    *(layers.BatchNormalization, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout),
    *(layers.Add, layers.Multiply, layers.Rescaling, layers.ZeroPadding2D, layers.GlobalAveragePooling2D),
    *CONVOLUTIONS,
)


def for_xnnpack(model: keras.Model) -> keras.Model:
    """A model of equal outputs whose strided convolutions are padded alike on all sides, as XNNPACK's sparse kernels
    on ARM ask for.

    On images of even size Keras pads a strided convolution at the bottom and the right only. No other padding gives
    the same outputs on the same image. On the image turned by 180 degrees, with all kernels turned as well, the same
    zeros lie at the top and the left, where a padding on all sides has them too; what it has at the bottom and the
    right is not read. So the model returned turns its images first, and global pooling ends the matter.

    Prune it before or after. XNNPACK asks for more, which `keras_admm.export.litert(..., sparse=True)` tells for each
    layer: a first convolution of 3x3 with stride 2 on 3 channels, global average pooling at the end, more than 2/3 of
    zeros in the 1x1 convolutions. On an x86 processor with AVX it never computes sparsely.

    Args:
        model: a built Keras model, Sequential or Functional, channels last, of convolutions, depthwise convolutions,
            batch normalisation, activations, sums and products, and of models of these, that ends its images in
            `GlobalAveragePooling2D`, with a fixed image size.

    Returns:
        A Functional `keras.Model` with weights of its own. If the model is padded as wanted, an equal copy.

    Raises:
        ValueError: naming the layer for which there is no such padding (its input is of odd size) or that does not
            work on a turned image. Such a model must be changed before it is trained.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([
    ...     keras.Input((8, 8, 3)),
    ...     keras.layers.Conv2D(4, 3, strides=2, padding="same"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ... ])
    >>> ready, x = for_xnnpack(model), np.ones((1, 8, 8, 3), "float32")
    >>> bool(np.abs(ready.predict(x, verbose=0) - model.predict(x, verbose=0)).max() < 1e-6)
    True

    Reference: the conditions in XNNPACK's `xnn_check_nchw_compatibility`; Elsen et al., "Fast Sparse ConvNets",
    arXiv:1911.09723.
    """
    check_keras_3("for_xnnpack", model, "Rebuild it in Keras 3.")
    if not graph.has_graph(model):
        raise ValueError(
            f"{model.name}: the model must be a built Sequential or Functional one, whose layers can be called in "
            f"another way. Received: {type(model).__name__} without inputs, or with a `call` of its own. Build it from "
            "keras.Input."
        )
    try:
        return _Rewriting(model, turned=False).model
    except ValueError:
        return _Rewriting(model, turned=True).model


class _Rewriting:
    """The model made again, on the image as it is or turned by 180 degrees."""

    def __init__(self, model, turned):
        self._turned = turned
        self._kernels = set()  # to be turned, by id
        self._images, self._unpadded = {}, {}  # in the places of other tensors, by the ids of these
        source = graph.functional(model)
        self._inputs = [layer for layer in source.layers if isinstance(layer, layers.InputLayer)]
        self.model = graph.rebuild(source, self._layer, call=self._call, value=self._value)
        for output in self.model.outputs if turned else ():
            if _is_image(output):
                raise ValueError(
                    f"{model.name}: the images must end in GlobalAveragePooling2D. Received: an output of shape "
                    f"{output.shape}. Pool it."
                )

    def _layer(self, layer, again):
        if isinstance(layer, CONVOLUTIONS):
            self._kernels |= {id(layer.weights[0])} if self._turned else set()
            return again(padding="valid") if _is_explicit(layer) else again()
        if self._turned and isinstance(layer, layers.ZeroPadding2D):
            return again(padding=[pair[::-1] for pair in layer.padding])
        new = again()
        if self._turned and layer in self._inputs and _is_image(new.output):
            self._images[id(new.output)] = ops.flip(new.output, axis=(1, 2))
        return new

    def _value(self, variable):
        value = storable(variable)
        return np.ascontiguousarray(value[::-1, ::-1]) if id(variable) in self._kernels else value

    def _call(self, old, new, *args, **kwargs):
        images = [x for x in keras.tree.flatten(args) if _is_image(x)]
        if images and not graph.is_opened(old):
            self._check(old)
        args = keras.tree.map_structure(lambda x: self._images.get(id(x), x), args)
        if _is_explicit(old):
            return new(self._padded(old, args[0]), *args[1:], **kwargs)
        outputs = new(*args, **kwargs)
        if isinstance(old, layers.ZeroPadding2D):
            self._unpadded[id(outputs)] = args[0], old.padding
        return outputs

    def _check(self, layer):
        """Raises for a layer that does not work on a turned image, or not on channels last."""
        if self._turned and not isinstance(layer, TURNABLE):
            _refuse(layer, f"a {type(layer).__name__}, which cannot be turned with its images", "Replace it")
        if layer.get_config().get("data_format", "channels_last") != "channels_last":
            _refuse(layer, "data_format='channels_first'", "Build it with channels last")

    def _padded(self, layer, x):
        """The layer's input, padded alike on all sides: a padding before it is replaced."""
        x, given = self._unpadded.get(id(x), (x, ((0, 0), (0, 0))))
        around = [
            self._around(layer, axis, pair, size)
            for axis, (pair, size) in enumerate(zip(given, x.shape[1:3], strict=True))
        ]
        return layers.ZeroPadding2D(tuple(around), name=f"{layer.name}_around")(x) if any(around) else x

    def _around(self, layer, axis, given, size):
        """How much padding on both sides gives the outputs along an axis."""
        reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        stride = layer.strides[axis]
        if layer.padding == "same":
            total = max((-(-size // stride) - 1) * stride + reach - size - sum(given), 0)
            given = given[0] + total // 2, given[1] + total - total // 2
        unread = (size + sum(given) - reach) % stride
        first, last = (given[1] - unread, given[0]) if self._turned else (given[0], given[1] - unread)
        # A padding alike on both sides must leave its surplus unread; with none, the converter makes it SAME again.
        if reach % 2 == 0 or first != reach // 2 or not 0 < first - last < stride:
            _refuse(
                layer,
                f"no padding alike on all sides gives the outputs of padding={layer.padding!r}, "
                f"strides={layer.strides} on {size} pixels",
                "Choose an image size that stays even down to this layer, before training",
            )
        return first


def _is_explicit(layer):
    """Whether a convolution must say its padding: XNNPACK reads the rule SAME only with stride 1."""
    if not isinstance(layer, CONVOLUTIONS):
        return False
    lopsided = layer.padding == "same" and any(k % 2 == 0 for k in layer.kernel_size)
    return tuple(layer.strides) != (1, 1) or lopsided


def _is_image(x):
    return isinstance(x, keras.KerasTensor) and len(x.shape) == 4 and tuple(x.shape[1:3]) != (1, 1)


def _refuse(layer, what, remedy):
    raise ValueError(
        f"{layer.name}: XNNPACK's sparse inference needs a model of equal outputs with every strided convolution "
        f"padded alike on all sides. Received: {what}. {remedy}."
    )
