"""Prune a small conv net 20x on scikit-learn's handwritten digits: `python examples/quickstart.py`.

No download and no argument; under a minute on two cores. It trains a dense net, goes on with one more `fit` that
has `ADMMPrune` in its callbacks, prints the plan, what the projection cost, what each layer kept and both accuracies,
and draws `quickstart.png`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_admm as ka
from keras_admm.plots import plot_history


def digits():
    """1,797 images of 8 x 8 in [0, 1]; a quarter of them for the test."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
    return train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)


def conv_net():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="fc1"),
            layers.Dense(10, name="fc2"),
        ],
        name="digits",
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", default="quickstart.png", help="where the picture goes")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    x, x_test, y, y_test = digits()
    model = conv_net()
    model.fit(x, y, epochs=15, batch_size=32, verbose=0)
    dense = model.evaluate(x_test, y_test, verbose=0)[1]

    prune = ka.ADMMPrune(sparsity=0.95, verbose=1)
    history = model.fit(x, y, epochs=40, batch_size=32, verbose=0, validation_split=0.1, callbacks=[prune])

    pruned = model.evaluate(x_test, y_test, verbose=0)[1]
    print(f"\n{ka.report(model)}\n")
    print(f"test accuracy: dense {100 * dense:.2f}%, pruned 20x {100 * pruned:.2f}%")
    plot_history(history, args.plot)
    print(f"sparsity and residuals over the epochs: {args.plot}")


if __name__ == "__main__":
    main()
