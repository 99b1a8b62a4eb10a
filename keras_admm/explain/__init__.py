"""What a model looks at: saliency maps, temporal output scores, optimised inputs, motifs; before and after compression.

Every function returns numbers; `keras_admm.dashboard` draws them.
"""

import lazy_loader

# The names stand in __init__.pyi; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
