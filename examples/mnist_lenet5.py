"""LeNet-5 on MNIST, pruned by progressive ADMM: `python examples/mnist_lenet5.py --data mnist.npz --rate 300`.

The network is the one of the ADMM authors (arXiv:1804.03294): conv 5x5x20, conv 5x5x50, dense 500, dense 10, with
ReLU and pooling, 430,500 weights. A dense model is trained, then one `fit` for each rate starts from it: ADMM
whose count of kept weights falls by a constant factor from epoch to epoch, then retraining with the zeros held.
Training images, the dense model's too, are moved by up to a pixel; `--shift 0` leaves them in place. Validation
images come from the training set; the test set is only printed.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import keras
import numpy as np
import show

import keras_admm as ka


def lenet5(l1=0.0):
    """The authors' LeNet-5; `l1` shrinks the kernels from the first dense epoch on, and goes on while ADMM prunes."""
    layers = keras.layers

    def kernels():
        return {"kernel_regularizer": keras.regularizers.L1(l1)} if l1 else {}

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, activation="relu", name="conv1", **kernels()),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, activation="relu", name="conv2", **kernels()),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="fc1", **kernels()),
            layers.Dense(10, name="fc2", **kernels()),
        ],
        name="lenet5",
    )


def compiled(model, rate):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # TensorFlow's own convolutions are faster than XLA's on a CPU, in which this network is trained in minutes.
    jit = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"], jit_compile=jit)
    return model


def accuracy(model, pair):
    return 100 * model.evaluate(*pair, batch_size=1000, verbose=0)[1]


def batches(args, train):
    return data.Shifted(*train, args.batch_size, args.shift, args.seed)


def train_dense(args, network, train, validation):
    """Adam with a rate that falls to zero, under the same L1 as later: a dense net that is ready to be thinned."""
    model = compiled(network(args.l1), args.learning_rate)
    steps = args.dense_epochs * len(train[0]) // args.batch_size
    model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    model.fit(batches(args, train), epochs=args.dense_epochs, validation_data=validation, verbose=2)
    return model


def compress(args, network, weights, rate, admm_epochs, retrain_epochs, train, validation):
    """One `fit` from the dense weights to `rate` times fewer."""
    model = compiled(network(args.l1), args.learning_rate)
    model.set_weights(weights)
    retrain = keras.optimizers.schedules.CosineDecay(args.learning_rate, retrain_epochs)
    prune = ka.ADMMPrune(
        sparsity=1 - 1 / rate,
        recipe="paper",  # whose moves of Z and U are one an epoch
        path="geometric",
        admm_epochs=admm_epochs,
        retrain_epochs=retrain_epochs,
        penalty=ka.penalties.NAMED[args.penalty](
            rho=args.rho, rho_growth=args.rho_growth, penalize_kept=args.penalize_kept
        ),
        learning_rate={"retrain": retrain},
        verbose=1,
    )
    model.fit(
        batches(args, train),
        epochs=admm_epochs + retrain_epochs,
        validation_data=validation,
        callbacks=[prune],
        verbose=2,
    )
    return model


def options(argv=None, **defaults):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="path of mnist.npz; without it Keras downloads it")
    parser.add_argument("--rate", type=float, nargs="+", default=[300, 167, 71], help="dense weights per kept weight")
    parser.add_argument("--dense-epochs", type=int, default=12)
    parser.add_argument("--admm-epochs", type=int, nargs="+", default=[60, 25, 14], help="one for each rate")
    parser.add_argument("--retrain-epochs", type=int, nargs="+", default=[20, 12, 8], help="one for each rate")
    parser.add_argument("--penalize-kept", action="store_true", help="pull kept weights too, as the papers do")
    parser.add_argument("--penalty", default="proximal", choices=["gradient", "proximal", "loss"])
    parser.add_argument("--rho", type=float, default=0.01)
    parser.add_argument("--rho-growth", type=float, default=1.0)
    parser.add_argument("--l1", type=float, default=3e-5, help="of Keras's own L1 regularizer, on the kernels")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit", type=int, help="train on so many images only, to compare settings quickly")
    parser.add_argument("--validation", type=int, default=5000, help="images of the training set to choose by")
    parser.add_argument("--shift", type=int, default=1, help="pixels by which training images are moved at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense-weights", help="path of an .npz of dense weights: read if it is there, else written")
    parser.add_argument("--save", help="a folder for the pruned models, such as lenet5_300x.keras")
    parser.set_defaults(**defaults)
    return parser.parse_args(argv)


def dense_model(args, network, train, validation):
    if args.dense_weights and os.path.exists(args.dense_weights):
        model = compiled(network(args.l1), args.learning_rate)
        with np.load(args.dense_weights) as file:
            model.set_weights([file[key] for key in file.files])
        return model
    model = train_dense(args, network, train, validation)
    if args.dense_weights:
        np.savez(args.dense_weights, *model.get_weights())
    return model


def main(network=lenet5, title="LeNet-5", **defaults):
    args = options(**defaults)
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    train = tuple(part[: args.limit] for part in train)
    began = time.time()
    dense = dense_model(args, network, train, validation)
    size = ka.report(dense).total.weights
    lines = [("dense", accuracy(dense, validation), accuracy(dense, test), size, time.time() - began)]
    for rate, *epochs in zip(args.rate, args.admm_epochs, args.retrain_epochs, strict=False):
        keras.utils.set_random_seed(args.seed)
        began = time.time()
        model = compress(args, network, dense.get_weights(), rate, *epochs, train, validation)
        table = ka.report(model)
        print(f"\n{table}\n", flush=True)
        kept = table.total.kept
        if args.save:
            os.makedirs(args.save, exist_ok=True)
            model.save(os.path.join(args.save, f"{model.name}_{rate:g}x.keras"))
        figures = accuracy(model, validation), accuracy(model, test), kept, time.time() - began
        print(f"{size / kept:.1f}x: validation {figures[0]:.2f}%, test {figures[1]:.2f}%", flush=True)
        lines.append((f"{size / kept:.1f}x", *figures))
    kind = f"shifts of {args.shift}, penalty {args.penalty}, kept weights {'pulled' if args.penalize_kept else 'free'}"
    print(f"{title} on MNIST, {keras.backend.backend()} backend, seed {args.seed}, {kind}")
    print(show.rates(lines))


if __name__ == "__main__":
    main()
