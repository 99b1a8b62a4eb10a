"""Dead neurons and filters found and set to zero: what cannot reach an output, or is the same for all inputs."""

from keras_admm.purification.purify import purified as purified
from keras_admm.purification.purify import purify as purify
