"""Dead neurons and filters found and set to zero: what cannot reach an output, or is the same for all inputs."""

import keras  # noqa: F401  # first: once it is loaded, our layers are registered, which must find no room half made

from keras_admm.purification.purify import purified as purified
from keras_admm.purification.purify import purify as purify
