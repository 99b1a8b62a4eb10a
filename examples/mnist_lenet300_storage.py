"""LeNet-300-100 on MNIST in as few bytes as can be: `python examples/mnist_lenet300_storage.py --data mnist.npz`.

As `mnist_lenet5_storage.py`, whose options it takes.
"""

import mnist_lenet5_storage
from mnist_lenet300 import lenet300

PUBLISHED = [
    ("published: EPR, all weights", "8,560", "124x", "98.1%", "arXiv:1906.06624"),
]

if __name__ == "__main__":
    mnist_lenet5_storage.main(lenet300, PUBLISHED, rate=[100])
