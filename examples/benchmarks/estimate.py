"""How well and how fast the size of a packed file is estimated while a model trains to a budget in bytes:
`python examples/benchmarks/estimate.py --data DATA`, the folder of `mnist.npz` and `resnet20_cifar10_torch.npz`.

LeNet-300-100 and LeNet-5 are trained for two epochs, ResNet-20 is as others trained it; then all kernels are pruned at
once, by one threshold on the magnitudes or by LAMP's scores, and both are asked for the size of the file: what
`ADMMPrune(budget={"bytes": ...})` asks at each move, and the packer. The values are float32, as training leaves them.
Times are of the processor, the best of a few, of one estimate of the several at a move: biases and the like, which stay
as they are, were read and counted before the first of them. A packer's time is of one call.
"""

import argparse
import functools
import os
import shlex
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))

import cifar_given
import data
import keras
import mnist_lenet5
import mnist_lenet300
import show

import keras_admm as ka
from keras_admm import packed, weights

PACKAGES = ("keras", "tensorflow", "numpy", "constriction")


def trained(network, args):
    model = mnist_lenet5.compiled(network(), 1e-3)
    (x, y), *_ = data.mnist(Path(args.data, "mnist.npz"))
    model.fit(x[: args.images], y[: args.images], batch_size=64, epochs=args.epochs, verbose=0)
    return model


def kernels(model):
    return {name: v for name, v in weights.select(model).items() if len(v.shape) > 1}


def pruned(dense, sparsity, how):
    """The kernels of a model of that sparsity."""
    counts = ka.allocate(dense, sparsity, how)
    return {name: ka.constraints.Sparse(1 - counts[name] / w.size)(w) for name, w in dense.items()}


def timed(call, times):
    """What a call gives, and the least of its times."""
    took = []
    for _ in range(times):
        began = time.process_time()
        given = call()
        took.append(time.process_time() - began)
    return given, min(took)


def rows(title, model, args):
    chosen = kernels(model)
    amount = packed.PackedBytes().of(model, chosen)
    dense = {name: weights.read(v) for name, v in chosen.items()}
    for sparsity in args.sparsity:
        for how in ("global", "lamp"):
            arrays = pruned(dense, sparsity, how)
            about, quick = timed(functools.partial(amount.estimator(), arrays), args.times)
            exactly, slow = timed(functools.partial(amount.measure, arrays), 1)
            error = f"{100 * (about / exactly - 1):+.2f}%"
            figures = f"{exactly:,}", f"{about:,.0f}", error, f"{1e3 * quick:.1f}", f"{1e3 * slow:,.0f}"
            yield f"{title}, {how}", f"{sparsity:g}", *figures, f"{slow / quick:.0f}x"


def main(args):
    print(f"{show.machine(*PACKAGES)}\nseed {args.seed}; {shlex.join(['python', *sys.argv])}\n")
    keras.utils.set_random_seed(args.seed)
    models = {
        "LeNet-300-100": lambda: trained(mnist_lenet300.lenet300, args),
        "LeNet-5": lambda: trained(mnist_lenet5.lenet5, args),
        "ResNet-20": lambda: cifar_given.given(20, args.data),
    }
    head = ("", "sparsity", "bytes", "estimate", "error", "ms", "packer, ms", "faster")
    print(show.table(head, [row for name, make in models.items() for row in rows(name, make(), args)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of mnist.npz and resnet20_cifar10_torch.npz")
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.5, 0.9, 0.95, 0.98, 0.99, 0.997])
    parser.add_argument("--images", type=int, default=20_000, help="that the LeNets are trained on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--times", type=int, default=5, help="of estimates; the best counts")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
