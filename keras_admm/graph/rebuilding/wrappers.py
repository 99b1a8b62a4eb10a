"""Wrappers that are taken off the layers of a model, such as those that hold masks, and off their configs."""

import keras


class Wrappers:
    """Layers of these classes stand for the layers that they wrap.

    Args:
        classes: classes of `keras.layers.Wrapper`, final and registered for serialization.
    """

    def __init__(self, classes):
        self._classes = tuple(classes)
        self._names = {keras.saving.get_registered_name(each) for each in self._classes}

    def off(self, layer):
        """The layer that is wrapped, or the layer itself."""
        while isinstance(layer, self._classes):
            layer = layer.layer
        return layer

    def off_config(self, config):
        """A serialized layer without any of them in it."""
        if isinstance(config, (list, tuple)):
            return type(config)(self.off_config(item) for item in config)
        if not isinstance(config, dict):
            return config
        if config.get("registered_name") in self._names:
            return self.off_config(config["config"]["layer"])
        return {key: self.off_config(value) for key, value in config.items()}

    def inside(self, layer):
        """Those in a layer, or of it."""
        return [each for each in layer._flatten_layers() if isinstance(each, self._classes)]

    def variables(self, layer):
        """The variables of a layer but those of the wrappers in it."""
        own = set().union(*(_ids(each) - _ids(each.layer) for each in self.inside(layer)))
        return [v for v in layer.variables if id(v) not in own]

    def unwrapped(self, layer):
        """A layer and those inside it, outer ones first, each without its wrappers."""
        layer = self.off(layer)
        return [layer, *(part for inner in layer._layers for part in self.unwrapped(inner))]


def _ids(layer):
    return {id(v) for v in layer.variables}
