"""LeNet-300-100 on MNIST, pruned by progressive ADMM: `python examples/mnist_lenet300.py --data mnist.npz`.

The network of 784-300-100-10 (266,200 weights); all else is as in `mnist_lenet5.py`, of which this is a form.
"""

import keras
import mnist_lenet5


def lenet300(l1=0.0):
    layers = keras.layers

    def kernels():
        return {"kernel_regularizer": keras.regularizers.L1(l1)} if l1 else {}

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(300, activation="relu", name="fc1", **kernels()),
            layers.Dense(100, activation="relu", name="fc2", **kernels()),
            layers.Dense(10, name="fc3", **kernels()),
        ],
        name="lenet300",
    )


if __name__ == "__main__":
    rates = {"rate": [22.9, 60, 115], "admm_epochs": [20, 30, 40], "retrain_epochs": [20, 20, 20]}
    mnist_lenet5.main(lenet300, "LeNet-300-100", **rates)
