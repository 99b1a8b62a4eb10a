"""All the ways out for a pruned LeNet-5: `python examples/export_lenet5.py --data mnist.npz`.

Takes the model of `mnist_lenet5.py --save`, or prunes one quickly (20x, on 20,000 images). Each way writes a .tflite
file; what the table says of it was found in the file itself: its zeros in its buffers, its accuracy by LiteRT's
interpreter on all test images, its speed in pairs of runs with the dense float32 file, one image and one thread.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import tempfile
from pathlib import Path

import data
import keras
import mnist_lenet5
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from show import machine, table

import keras_admm as ka
from keras_admm.export import litert

PACKAGES = ("keras", "tensorflow", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert")
QUICK = {"limit": 20_000, "dense_epochs": 5, "admm_epochs": 6, "retrain_epochs": 4}


def quick(args, train, validation):
    """A dense LeNet-5 and one with `--rate` times fewer weights, in a few minutes."""
    settings = mnist_lenet5.options([], dense_epochs=args.dense_epochs)
    train = tuple(part[: args.limit] for part in train)
    dense = mnist_lenet5.train_dense(settings, mnist_lenet5.lenet5, train, validation)
    how = args.rate, args.admm_epochs, args.retrain_epochs, train, validation
    return dense, mnist_lenet5.compress(settings, mnist_lenet5.lenet5, dense.get_weights(), *how)


def aware(model, scheme, train, epochs):
    """The model as TFMOT makes it quantization-aware, trained, and stripped."""
    import tf_keras

    twin = ka.export.tfmot(model, scheme=scheme)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    twin.compile(tf_keras.optimizers.Adam(1e-4), loss, metrics=["accuracy"])
    twin.fit(*train, batch_size=64, epochs=epochs, verbose=2)
    return ka.export.strip_tfmot(twin)


def ways(args, dense, pruned, train):
    """Names, and functions of a path that write a file there."""
    seen = train[0][:500]
    if dense is not None:
        yield "dense, float32", lambda path: litert(dense, path, sparse=False)
    else:
        yield "float32", lambda path: litert(pruned, path, sparse=False)
    yield "pruned, float32, zeros stored", lambda path: litert(pruned, path, sparse=False)
    yield "pruned, float32, zeros left out", lambda path: litert(pruned, path, sparse=True)
    yield "pruned, float16", lambda path: litert(pruned, path, quantize="float16")
    yield "pruned, dynamic int8", lambda path: litert(pruned, path, quantize="dynamic_int8")
    yield "pruned, int8", lambda path: litert(pruned, path, quantize="int8", representative_data=seen)
    yield "pruned, int4 weights", lambda path: litert(pruned, path, quantize="int4", check_data=seen)
    yield (
        "tf_keras twin, int8",
        lambda path: litert(ka.export.tfmot(pruned), path, quantize="int8", representative_data=seen),
    )
    for scheme in args.schemes:
        trained = aware(pruned, scheme, train, args.aware_epochs)
        yield f"TFMOT {scheme}, int8", lambda path, trained=trained: litert(trained, path, check_data=seen[:64])


def accuracy(path, images, labels):
    """In percent, by the interpreter, image by image."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    right = 0
    for image, label in zip(images, labels, strict=True):
        interpreter.set_tensor(into["index"], image[None])
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_tensor(out["index"])) == label)
    return 100 * right / len(labels)


def zeros(report):
    """Zeros in the buffers of the file's kernels."""
    return sum(tensor.zeros for tensor in report.weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="path of mnist.npz; without it Keras downloads it")
    parser.add_argument("--model", help="a .keras file of a pruned LeNet-5; by default one is made")
    parser.add_argument("--rate", type=float, default=20, help="of the one that is made")
    for name, value in QUICK.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--schemes", nargs="*", default=["qat", "pqat"], help="of TFMOT")
    parser.add_argument("--aware-epochs", type=int, default=1, help="of training after TFMOT's rewriting")
    parser.add_argument("--runs", type=int, default=300, help="pairs of runs that are timed")
    parser.add_argument("--validation", type=int, default=5000, help="images of the training set to choose by")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    train, validation, test = data.mnist(args.data, args.validation)
    dense, pruned = (None, keras.models.load_model(args.model)) if args.model else quick(args, train, validation)
    train = tuple(part[: args.limit] for part in train)
    table_of_model = ka.report(pruned)
    print(f"\n{table_of_model}\n\n{machine(*PACKAGES)}, seed {args.seed}")
    keras_accuracy = mnist_lenet5.accuracy(pruned, test)
    rows, base = [], None
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, write) in enumerate(ways(args, dense, pruned, train)):
            path = Path(folder) / f"{i}.tflite"
            report = write(path)
            base = base or path
            timed = ka.latency(str(base), str(path), test[0][:1], runs=args.runs)
            sizes = f"{report.bytes:,}", f"{report.gzip_bytes:,}", f"{zeros(report):,}"
            speed = f"{timed.ratio:.2f}", "{:.2f}..{:.2f}".format(*timed.quartiles)
            rows.append((name, *sizes, f"{accuracy(path, *test):.2f}%", *speed))
    print(f"\nKeras: {keras_accuracy:.2f}% on the test set, {table_of_model.total.zeros:,} zeros\n")
    print(table(("way", "bytes", "gzip", "zeros", "test", "faster", "quartiles"), rows))
    print("zeros: in the kernels' buffers of the file; faster: time of the first file by this one's, median of pairs")


if __name__ == "__main__":
    main()
