"""Prune a TF Hub module to 90% zeros, with a classifier on top, and serve it: `python examples/tfhub_compress.py`.

Without `--module` two small modules are made first, for nothing is downloaded here: one for images (trained on half of
scikit-learn's digits), one for sentences, with an embedding. Each is loaded by `hub.KerasLayer(trainable=True)` in
tf_keras, gets a classifier, and is pruned in one `fit`; its own variables and the classifier's are chosen by name and
rank. The image module goes through Keras 3 as well, by `keras.layers.TFSMLayer`. What was saved is then loaded in a
fresh process, which counts the zeros and classifies the test set.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from show import table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_admm as ka

SPARSITY = 0.9
SERVE = """
import json, sys
import numpy as np, tensorflow as tf
folder, data = sys.argv[1:]
model = tf.saved_model.load(folder)
with np.load(data) as file:
    x, y = file["x"], file["y"]
x = tf.constant(x.astype(str)) if x.dtype.kind in "US" else tf.constant(x)
found = (model.serve if hasattr(model, "serve") else model)(x).numpy().argmax(-1)
kernels = [v.numpy() for v in model.variables if len(v.shape) > 1]
kept = sum(int((k != 0).sum()) for k in kernels)
print(json.dumps({"kept": kept, "accuracy": float((found == y).mean())}))
"""


def tensorflow_hub():
    """tensorflow_hub 0.16 asks pkg_resources, which setuptools 82 took away, for one function; here it is."""
    try:
        import pkg_resources  # noqa: F401
    except ModuleNotFoundError:
        from packaging.version import parse

        sys.modules["pkg_resources"] = types.ModuleType("pkg_resources")
        sys.modules["pkg_resources"].parse_version = parse
    import tensorflow_hub

    return tensorflow_hub


def digits(size=None):
    """Train, validation and test images with labels; with a size, resized and in three channels."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
    if size:
        x = np.repeat(tf.image.resize(x, (size, size)).numpy(), 3, axis=-1)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    return (x, y), (x_test, y_test)


def sentences(count=1500, seed=0):
    """Sentences of words from a lexicon, labelled by whether the good ones outnumber the bad: made up."""
    rng = np.random.default_rng(seed)
    scores = rng.choice([-1, 0, 0, 1], 400)
    words = np.array([f"word{i}" for i in range(len(scores))])
    chosen = rng.integers(0, len(words), (count, 12))
    x, y = np.array([" ".join(line) for line in words[chosen]]), (scores[chosen].sum(axis=1) > 0).astype(int)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0)
    return (x, y), (x_test, y_test)


def make_image_module(folder, data):
    """A reusable SavedModel, as tf_keras writes it: a conv net without its head, trained on half of the images."""
    (x, y), _ = data
    layers = tf_keras.layers
    trunk = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="features"),
        ]
    )
    head = compiled(tf_keras.Sequential([trunk, layers.Dense(10)]), tf_keras)
    head.fit(x[: len(x) // 2], y[: len(y) // 2], epochs=10, verbose=0)
    trunk.compile()
    trunk.save(folder, save_format="tf")
    return folder


def make_text_module(folder, buckets=2000, width=16):
    """A reusable SavedModel written by hand, as those of TF Hub are: the mean of the words' embeddings."""
    module = tf.train.Checkpoint()
    module.embeddings = tf.Variable(tf.random.stateless_normal((buckets, width), (0, 1), 0, 0.1), name="embeddings")
    module.variables = module.trainable_variables = [module.embeddings]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def call(text):
        words = tf.strings.to_hash_bucket_fast(tf.strings.split(text), buckets)
        return tf.reduce_mean(tf.ragged.map_flat_values(tf.gather, module.embeddings, words), axis=1)

    module.__call__ = call
    tf.saved_model.save(module, folder)
    return folder


def compiled(model, library):
    loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(library.optimizers.Adam(5e-3), loss, metrics=["accuracy"])
    return model


def in_tf_keras(module, shape, dtype, classes):
    layer = tensorflow_hub().KerasLayer(str(module), trainable=True)
    return compiled(
        tf_keras.Sequential([tf_keras.Input(shape, dtype=dtype), layer, tf_keras.layers.Dense(classes)]), tf_keras
    )


def in_keras(module, shape, classes):
    layer = keras.layers.TFSMLayer(str(module), call_endpoint="__call__", trainable=True)
    model = compiled(keras.Sequential([keras.Input(shape), layer, keras.layers.Dense(classes)]), keras)
    # Inside a compiled step Keras cannot name the slots of variables called `kernel:0`, as a SavedModel's are.
    model.optimizer.build(model.trainable_variables)
    return model


def compress(model, data, folder, args):
    """Trains, prunes and saves a model; returns what a fresh process finds in what was saved."""
    (x, y), (x_test, y_test) = data
    as_input = tf.constant if x.dtype.kind == "U" else np.asarray
    model.fit(as_input(x), y, epochs=args.dense_epochs, verbose=0)
    dense = model.evaluate(as_input(x_test), y_test, verbose=0)[1]
    pull = ka.penalties.ProximalPenalty(rho=0.01, rho_growth=1.0, penalize_kept=False)
    prune = ka.ADMMPrune(SPARSITY, recipe="paper", path="geometric", penalty=pull)
    model.fit(as_input(x), y, epochs=args.epochs, verbose=0, callbacks=[prune])
    print(f"{ka.report(model)}\n")
    if isinstance(model, keras.Model):
        model.export(str(folder), verbose=False)
    else:
        model.save(str(folder), save_format="tf")
    np.savez(folder / "test.npz", x=x_test, y=y_test)
    command = [sys.executable, "-c", SERVE, str(folder), str(folder / "test.npz")]
    served = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    total = ka.report(model).total
    accuracies = f"{100 * dense:.2f}%", f"{100 * served['accuracy']:.2f}%"
    return f"{total.weights:,}", f"{total.kept:,}", f"{served['kept']:,}", *accuracies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", type=Path, help="folder of a TF2 image module; by default small ones are made")
    parser.add_argument("--size", type=int, default=32, help="pixels of the images that --module takes")
    parser.add_argument("--dense-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=40, help="of the one fit that prunes")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images = digits(args.size if args.module else None)
        module = args.module or make_image_module(folder / "images", images)
        shape = images[0][0].shape[1:]
        models = {
            "images, hub.KerasLayer": (in_tf_keras(module, shape, "float32", 10), images),
            "images, TFSMLayer": (in_keras(module, shape, 10), images),
        }
        if not args.module:
            words = make_text_module(folder / "words")
            models["sentences, hub.KerasLayer"] = in_tf_keras(words, (), "string", 2), sentences()
        rows = []
        for i, (name, (model, data)) in enumerate(models.items()):
            print(name)
            rows.append((name, *compress(model, data, folder / f"pruned{i}", args)))
        print(table(("module", "weights", "kept", "kept, served", "dense", "pruned, served"), rows))
        print("dense and pruned: accuracy on the test set; served: by a fresh process, from the SavedModel")


if __name__ == "__main__":
    main()
