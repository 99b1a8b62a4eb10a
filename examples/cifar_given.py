"""ResNet-20 and ResNet-56 as trained by others on CIFAR-10: their weights as Keras models.

The weights are Yerlan Idelbayev's ("Proper ResNet Implementation for CIFAR10/CIFAR100 in PyTorch", BSD-2), as `.npz`
files of torch's names and layouts: `resnet20_cifar10_torch.npz`, `resnet56_cifar10_torch.npz`. The networks are those
of He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2, with shortcuts that have
no weights (their option A): every second pixel, and channels of zeros on both sides.
"""

from pathlib import Path

import keras
import numpy as np

MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])  # of what they were trained on


def resnet(depth):
    """The network of so many layers, 20 or 56, padded as in torch."""
    layers = keras.layers

    def conv(x, name, filters, strides):
        x = layers.Conv2D(filters, 3, strides, use_bias=False, name=name)(layers.ZeroPadding2D()(x))
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)

    def shortcut(x, filters):
        x = layers.Permute((1, 3, 2))(layers.MaxPooling2D(1, 2)(x))
        return layers.Permute((1, 3, 2))(layers.ZeroPadding2D(((0, 0), (filters // 4, filters // 4)))(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(inputs, "conv1", 16, 1))
    for stage, filters in enumerate([16, 32, 64], start=1):
        for i in range((depth - 2) // 6):
            strides = 2 if stage > 1 and i == 0 else 1
            name = f"layer{stage}_{i}"
            y = layers.ReLU()(conv(x, f"{name}_conv1", filters, strides))
            y = conv(y, f"{name}_conv2", filters, 1)
            x = layers.ReLU()(layers.Add()([y, x if strides == 1 else shortcut(x, filters)]))
    outputs = layers.Dense(10, name="linear")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name=f"resnet{depth}")


def given(depth, folder):
    """The network with the weights that are in the folder, for images of the deviation that `normalized` gives."""
    model = resnet(depth)
    with np.load(Path(folder) / f"resnet{depth}_cifar10_torch.npz") as file:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights([_turned(file[name]) for name in _names(layer)])
    return model


def normalized(images):
    return (images - MEAN) / DEVIATION


def _names(layer):
    """The names of a layer's weights in torch, in the order of Keras's."""
    name = layer.name
    for stage in (1, 2, 3):
        name = name.replace(f"layer{stage}_", f"layer{stage}.")
    if isinstance(layer, keras.layers.BatchNormalization):
        name = name.removesuffix("_bn").replace("_conv", ".bn").replace("conv", "bn")
        return [f"{name}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")]
    name = name.replace("_conv", ".conv")
    return [f"{name}.weight", f"{name}.bias"] if isinstance(layer, keras.layers.Dense) else [f"{name}.weight"]


def _turned(array):
    """Torch's kernels have outputs and inputs first, Keras's last."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
