"""ADMM model compression for Keras.

model.fit(x, y, epochs=30, callbacks=[keras_admm.ADMMPrune(sparsity=0.98)])
"""

import lazy_loader

from keras_admm import registration

# The public names stand in __init__.pyi; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"

registration.register_with_keras()
