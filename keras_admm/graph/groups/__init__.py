"""Channels that live or die together: coupled groups of a whole model for structured pruning, and what each costs."""

import lazy_loader

# The names stand in __init__.pyi; each is imported when it is first used: the rows of `kinds` read the rules here.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
