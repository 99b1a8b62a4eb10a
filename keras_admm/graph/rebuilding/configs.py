"""Configs of layers with changes in them."""


def changed(config, changes):
    """A config with changes; where both have a dict, or lists of as many, the changes are those of what is in them.

    Example:

    >>> changed({"layer": {"config": {"units": 4, "name": "d"}}}, {"layer": {"config": {"units": 3}}})
    {'layer': {'config': {'units': 3, 'name': 'd'}}}
    """
    if isinstance(config, dict) and isinstance(changes, dict):
        return {**config, **{key: changed(config.get(key), value) for key, value in changes.items()}}
    if isinstance(config, list) and isinstance(changes, list) and len(config) == len(changes):
        return [changed(*each) for each in zip(config, changes, strict=True)]
    return changes


def unbuilt(config):
    """A config without the shapes that layers in it were built for: they are built anew in their first call."""
    if isinstance(config, (list, tuple)):
        return type(config)(unbuilt(each) for each in config)
    if not isinstance(config, dict):
        return config
    return {key: unbuilt(value) for key, value in config.items() if key != "build_config"}
