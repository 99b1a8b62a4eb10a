"""Products of a model's variables that no layer of theirs makes: tied embeddings that end in a matmul."""

import contextlib
import functools
import math

import keras
from keras.src import backend

from keras_admm import weights

PASSING = {"numpy": ("transpose", "reshape", "swapaxes", "moveaxis", "squeeze"), "core": ("cast", "convert_to_tensor")}
PRODUCTS = ("matmul", "dot", "tensordot", "einsum")


class Products:
    """What reads the variables of a model outside of the layers that have a rule of their own.

    Attributes:
        uses: dict of `id(variable)` to how often each of its weights was multiplied, or None where it was read for
            something else.
    """

    def __init__(self, model, inside):
        self.uses = {}
        self._watched = {id(v): v for v in weights.kernels(model)}
        self._tensors = {}
        self._inside = inside

    @contextlib.contextmanager
    def watched(self):
        """While this is open, reads and products are noted."""
        own = []
        try:
            for module, names in {**PASSING, "products": PRODUCTS}.items():
                place = getattr(backend, "numpy" if module == "products" else module)
                for name in names:
                    function = getattr(place, name)
                    own.append((place, name, function))
                    wrapped = self._multiplying if module == "products" else self._passing
                    setattr(place, name, wrapped(function))
            yield
        finally:
            for place, name, function in own:
                setattr(place, name, function)

    def scope(self):
        """In which a variable's reads are noted."""
        return _Reads(self)

    def read(self, variable):
        """Notes a read; returns the tensor by which its products will be known, or None."""
        if id(variable) not in self._watched or self._inside() or variable._value is None:
            return None
        self.uses.setdefault(id(variable), None)
        tensor = backend.convert_to_tensor(variable._value)
        self._tensors[id(tensor)] = tensor, variable
        return tensor

    def _of(self, x):
        if isinstance(x, keras.Variable):
            return x if id(x) in self._watched else None
        held = self._tensors.get(id(x))
        return None if held is None else held[1]

    def _passing(self, function):
        @functools.wraps(function)
        def passed(x, *args, **kwargs):
            variable, result = self._of(x), function(x, *args, **kwargs)
            if variable is not None and not self._inside():
                self._tensors[id(result)] = result, variable
            return result

        return passed

    def _multiplying(self, function):
        @functools.wraps(function)
        def multiplied(*args, **kwargs):
            result = function(*args, **kwargs)
            for x in args:
                variable = self._of(x)
                if variable is not None and not self._inside():
                    count = _macs(args, kwargs, tuple(result.shape)) / math.prod(variable.shape)
                    self.uses[id(variable)] = int(count) + (self.uses.get(id(variable)) or 0)
            return result

        return multiplied


class _Reads(keras.StatelessScope):
    def __init__(self, products):
        super().__init__()
        self._products = products

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        return self._products.read(variable) if value is None else value


def _macs(args, kwargs, result):
    """Multiplications of a product: those of an einsum by its letters, of the others by their sizes."""
    if isinstance(args[0], str):
        terms = args[0].replace(" ", "").split("->")[0].split(",")
        sizes = {}
        for term, x in zip(terms, args[1:], strict=True):
            sizes.update(zip(reversed(term.replace("...", "")), reversed(tuple(x.shape)), strict=False))
        lead = max((len(x.shape) - len(t.replace("...", "")) for t, x in zip(terms, args[1:], strict=True)), default=0)
        return math.prod(sizes.values()) * math.prod(result[:lead])
    first, second = (tuple(x.shape) for x in args[:2])
    axes = kwargs.get("axes", args[2] if len(args) > 2 else 1)
    if isinstance(axes, int):
        return math.prod(result) * math.prod(first[len(first) - axes :])
    along = [axes[0]] if isinstance(axes[0], int) else axes[0]
    return math.prod(result) * math.prod(first[a] for a in along)
