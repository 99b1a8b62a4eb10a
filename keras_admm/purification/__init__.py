"""Dead weight found and set to zero: what cannot reach an output, or has nothing to say that a bias cannot."""

from keras_admm.purification.purify import purify as purify
