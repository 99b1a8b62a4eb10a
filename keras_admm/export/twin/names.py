"""Names of layers of tf_keras."""

import itertools
import re


def fit(name):
    """The name as TensorFlow takes it for the scope of a layer or model: underscores in the places of other signs.

    Example:

    >>> fit("conv_1"), fit("my layer"), fit("_e")
    ('conv_1', 'my_layer', 'layer_e')
    """
    name = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return name if re.match("[A-Za-z0-9.]", name) else f"layer{name}"


class Names:
    """Names that no other layer of the twin has, nor any that tf_keras will make up.

    TFMOT adds layers, under names that tf_keras makes up, to a model in which it looks layers up by name.
    """

    def __init__(self):
        self._taken = set()

    def new(self, name):
        from tf_keras.src import backend

        name = fit(name)
        tries = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
        name = next(each for each in tries if each not in self._taken)
        self._taken.add(name)
        base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
        made_up = backend.get_default_graph_uid_map()
        made_up["", base] = max(made_up["", base], int(number or 0) + 1)
        return name
