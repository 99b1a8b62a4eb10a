"""Which axis of a tensor is the one of channels, and what of the others cannot leave."""


def channel_axis(layer, tensor):
    """The index of the axis of channels, by the layer's `data_format`."""
    return 1 if layer.data_format == "channels_first" else len(tensor.shape) - 1


def places_fixed(tensor, axis, widths):
    """The labels of one axis of a tensor, all others frozen: a layer goes over them as places of one neighbourhood."""
    axes = widths.axes(tensor)
    for other, labels in enumerate(axes):
        if other != axis:
            widths.freeze(labels, "goes over them as places")
    return axes[axis]
