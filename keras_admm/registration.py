"""Registers the package's serializable classes with Keras, so that saved models load by `import keras_admm` alone.

Keras's `register_keras_serializable` runs when a class is defined. Where Keras is imported already, that is done at
once; else when it is imported, so that the order of the two imports is free and `keras-admm --help` needs no Keras.
"""

import importlib
import importlib.abc
import sys

ROOMS = ("constraints", "layers", "regularizers")
WITHOUT_KERAS = ("__main__", "cli", "registration")


def register_with_keras():
    """Registers the classes now, or as soon as Keras has been imported."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _KerasFinder())


def _register():
    for room in ROOMS:
        importlib.import_module(f"keras_admm.{room}")


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras as the other finders do, to go on once it is imported: before any room that needs it.

    A room that imported it would be half made when the rooms are registered that import that one.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname.startswith("keras_admm.") and fullname.split(".")[1] not in WITHOUT_KERAS:
            importlib.import_module("keras")
        if fullname != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader):
        execute = loader.exec_module

        def exec_module(module):
            loader.exec_module = execute
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            _register()

        loader.exec_module = exec_module
