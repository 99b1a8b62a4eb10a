"""The way through a Keras model: its calls, kinds of layers, facts about channels, what passes through layers, and the
same model with other layers."""

import lazy_loader

# The names stand in __init__.pyi; each is imported when it is first used: weights read kinds, and rebuild weights.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
