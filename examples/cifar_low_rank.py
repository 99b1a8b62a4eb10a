"""Low rank on CIFAR-10: what `cifar_resnet20.py --low-rank 0.5` compares, that share of the MACs being left.

ADMM chooses and trains the ranks of all kernels for that budget; `factorize` makes two layers of one, and these are
trained on. Its rival has the same budget, epochs and learning rates: one truncated SVD, and all epochs in the factors.
TRP trains to ranks of its own, and is cut to the budget after as many epochs as ADMM.
"""

import time

import keras

import keras_admm as ka


def compare(args, dense, fit, steps, accuracy):
    """The lines of the table: each method from the same dense model.

    Args:
        args: of `cifar_resnet20.py`.
        dense: the trained model.
        fit: function of a model, a learning rate, epochs and callbacks that compiles and trains it.
        steps: int, how many training steps an epoch has.
        accuracy: function of a model that returns its validation and test accuracy.
    """
    budget = {"macs": args.low_rank}
    first = {
        f"ADMM, {args.scheme}": [ka.ADMMLowRank(budget=budget, scheme=args.scheme, verbose=1)],
        f"TRP, {args.scheme}": [ka.TRP(scheme=args.scheme, period=5)],
        f"truncated SVD, {args.scheme}": None,
    }
    for name, callbacks in first.items():
        keras.utils.set_random_seed(args.seed)
        began, model = time.time(), keras.models.clone_model(dense)
        model.set_weights(dense.get_weights())
        epochs = args.retrain_epochs if callbacks else args.admm_epochs + args.retrain_epochs
        if callbacks:
            fit(model, args.compress_rate, args.admm_epochs, callbacks)
        small = ka.factorize(model, budget=budget, scheme=args.scheme)
        fit(small, keras.optimizers.schedules.CosineDecay(args.compress_rate, epochs * steps), epochs)
        yield name, *accuracy(small), ka.report(small).total.weights, time.time() - began
