"""Makes an image model ready for XNNPACK's sparse inference, with equal outputs."""

import keras
import numpy as np
from keras import layers, ops

from keras_admm.errors import reason
from keras_admm.weights import check_keras_3

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
# What gives the turned result on a turned image; convolutions do with their kernels turned.
TURNABLE = (
    *(layers.BatchNormalization, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout),
    *(layers.Add, layers.Multiply, layers.Rescaling, layers.ZeroPadding2D, layers.GlobalAveragePooling2D),
    *CONVOLUTIONS,
)


def for_xnnpack(model):
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
            batch normalisation, activations, sums and products that ends its images in `GlobalAveragePooling2D`,
            with a fixed image size.

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
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"{model.name}: the model must be a built Sequential or Functional one, whose layers can be called in "
            f"another way. Received: {type(model).__name__} without inputs. Build it from keras.Input."
        )
    try:
        return _Rewriting(model, turned=False).model
    except ValueError:
        return _Rewriting(model, turned=True).model


class _Rewriting:
    """One replay of a model, on the image as it is or turned by 180 degrees."""

    def __init__(self, model, turned):
        self.turned = turned
        self.paddings = {}  # of the original layers by name, for their copies are changed
        self.formats = {}
        self.images = {}  # turned inputs, by the id of the input, which the copy keeps alive
        classes = {type(x) for x in model._flatten_layers()}
        self.own_classes = {c.__name__: c for c in classes if not c.__module__.startswith("keras.")}
        graph = model._functional if isinstance(model, keras.Sequential) else model
        source = keras.Model(graph._inputs_struct, graph._outputs_struct, name=model.name)
        self.model = keras.models.clone_model(source, clone_function=self._layer, call_function=self._call)
        for output in self.model.outputs if turned else ():
            if _is_image(output):
                raise ValueError(
                    f"{model.name}: the images must end in GlobalAveragePooling2D. Received: an output of shape "
                    f"{output.shape}. Pool it."
                )
        for layer in source.layers:
            if layer.weights:
                self._copy_weights(layer, self.model.get_layer(layer.name))

    def _copy_weights(self, layer, copy):
        values = [ops.convert_to_numpy(w) for w in layer.weights]
        if self.turned and isinstance(layer, CONVOLUTIONS):
            values[0] = np.ascontiguousarray(values[0][::-1, ::-1])
        copy.set_weights(values)

    def _layer(self, layer):
        config = layer.get_config()
        if isinstance(layer, (*CONVOLUTIONS, layers.ZeroPadding2D)):
            self.paddings[layer.name] = layer.padding
        self.formats[layer.name] = config.get("data_format", "channels_last")
        if _is_explicit(layer):
            config["padding"] = "valid"
        if self.turned and isinstance(layer, layers.ZeroPadding2D):
            config["padding"] = [pair[::-1] for pair in layer.padding]
        try:
            with keras.saving.custom_object_scope(self.own_classes):
                return type(layer).from_config(config)
        except (TypeError, ValueError, NotImplementedError) as error:
            what = f"a {type(layer).__name__} that does not come back from its config: {reason(error)}"
            _refuse(layer, what, "Give it a get_config() that names all arguments")

    def _call(self, layer, *args, **kwargs):
        images = [x for x in keras.tree.flatten(args) if _is_image(x)]
        if self.turned and images and not isinstance(layer, TURNABLE):
            _refuse(layer, f"a {type(layer).__name__}, which cannot be turned with its images", "Replace it")
        if images and self.formats.get(layer.name, "channels_last") != "channels_last":
            _refuse(layer, "data_format='channels_first'", "Build it with channels last")
        args = keras.tree.map_structure(self._turn, args)
        if layer.name in self.paddings and _is_explicit(layer, self.paddings[layer.name]):
            args = (self._padded(layer, args[0]), *args[1:])
        return layer(*args, **kwargs)

    def _turn(self, x):
        if not self.turned or not _is_image(x) or not isinstance(x._keras_history.operation, layers.InputLayer):
            return x
        if id(x) not in self.images:
            self.images[id(x)] = ops.flip(x, axis=(1, 2))
        return self.images[id(x)]

    def _padded(self, layer, x):
        """The layer's input, padded alike on all sides."""
        given = ((0, 0), (0, 0))
        before = x._keras_history.operation
        if isinstance(before, layers.ZeroPadding2D):  # which our padding replaces
            given, x = self.paddings[before.name], before.input
        around = [
            self._around(layer, axis, pair, size)
            for axis, (pair, size) in enumerate(zip(given, x.shape[1:3], strict=True))
        ]
        return layers.ZeroPadding2D(tuple(around), name=f"{layer.name}_around")(x) if any(around) else x

    def _around(self, layer, axis, given, size):
        """How much padding on both sides gives the outputs along an axis."""
        reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        stride = layer.strides[axis]
        if self.paddings[layer.name] == "same":
            total = max((-(-size // stride) - 1) * stride + reach - size - sum(given), 0)
            given = given[0] + total // 2, given[1] + total - total // 2
        unread = (size + sum(given) - reach) % stride
        first, last = (given[1] - unread, given[0]) if self.turned else (given[0], given[1] - unread)
        # A padding alike on both sides must leave its surplus unread; with none, the converter makes it SAME again.
        if reach % 2 == 0 or first != reach // 2 or not 0 < first - last < stride:
            _refuse(
                layer,
                f"no padding alike on all sides gives the outputs of padding={self.paddings[layer.name]!r}, "
                f"strides={layer.strides} on {size} pixels",
                "Choose an image size that stays even down to this layer, before training",
            )
        return first


def _is_explicit(layer, padding=None):
    """Whether a convolution must say its padding: XNNPACK reads the rule SAME only with stride 1."""
    if not isinstance(layer, CONVOLUTIONS):
        return False
    lopsided = (padding or layer.padding) == "same" and any(k % 2 == 0 for k in layer.kernel_size)
    return tuple(layer.strides) != (1, 1) or lopsided


def _is_image(x):
    shape = getattr(x, "shape", ())
    return len(shape) == 4 and tuple(shape[1:3]) != (1, 1)


def _refuse(layer, what, remedy):
    raise ValueError(
        f"{layer.name}: XNNPACK's sparse inference needs a model of equal outputs with every strided convolution "
        f"padded alike on all sides. Received: {what}. {remedy}."
    )
