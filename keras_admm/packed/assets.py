"""Files that layers keep beside their weights, such as vocabularies."""

import base64
import tempfile
from pathlib import Path

from keras_admm.graph import every_layer
from keras_admm.packed.codec.errors import malformed


def collect(model):
    """What the layers of a model keep: a list of one dict {number of the layer: {file's name: base64}}, or empty."""
    kept = {}
    for number, layer in _keepers(model):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            found = {p.name: base64.b64encode(p.read_bytes()).decode() for p in sorted(Path(folder).iterdir())}
        if found:
            kept[str(number)] = found
    return [kept] if kept else []


def restore(model, collected):
    """Gives the layers of a model back what `collect` found."""
    if not collected:
        return
    kept = collected[0]
    for number, layer in _keepers(model):
        if str(number) in kept:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in kept[str(number)].items():
                    _inside(folder, name).write_bytes(base64.b64decode(content))
                layer.load_assets(folder)


def _keepers(model):
    return [(n, layer) for n, layer in enumerate(every_layer(model)) if hasattr(layer, "save_assets")]


def _inside(folder, name):
    if not name or Path(name).name != name:
        raise malformed(f"a layer's file of the name {name!r}")
    return Path(folder) / name
