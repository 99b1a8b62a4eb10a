"""Configs of layers with changes in them."""


def changed(config, changes):
    """A config with changes; where both have a dict, the changes are those of what is in it.

    Example:

    >>> changed({"layer": {"config": {"units": 4, "name": "d"}}}, {"layer": {"config": {"units": 3}}})
    {'layer': {'config': {'units': 3, 'name': 'd'}}}
    """
    both = {key for key in changes if isinstance(changes[key], dict) and isinstance(config.get(key), dict)}
    return {**config, **changes, **{key: changed(config[key], changes[key]) for key in both}}


def unbuilt(config):
    """A config without the shapes that layers in it were built for: they are built anew in their first call."""
    if isinstance(config, (list, tuple)):
        return type(config)(unbuilt(each) for each in config)
    if not isinstance(config, dict):
        return config
    return {key: unbuilt(value) for key, value in config.items() if key != "build_config"}
