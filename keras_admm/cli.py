"""The command line: `keras-admm` and `python -m keras_admm`, four commands on models in files."""

import argparse
import json
import sys
from pathlib import Path

from absl.flags import argparse_flags

CALIBRATION = 500  # samples: more change the ranges little and take long

ABOUT = """\
Compression of Keras models by ADMM: the parts of it that need no training.

commands:
  report MODEL       what each layer kept: zeros, values, MACs, bytes
  prune MODEL        zero the smallest weights at once, without training
  export MODEL       to LiteRT, tf_keras or a SavedModel
  latency A B        two models timed in turn

`keras-admm COMMAND --help` tells more of each. A MODEL is a .keras file, an .h5 file, or the folder of a tf_keras
SavedModel. Opening one runs no Python code from the file: a model with a Lambda layer is refused. But a SavedModel
folder is a TensorFlow program; open only those that you trust.

examples:
  keras-admm report model.keras --html=report.html
  keras-admm prune model.keras --sparsity=.9 -o pruned.keras
  keras-admm export pruned.keras --to=litert --quantize=int8 --data=train.npz:x -o pruned.tflite
  keras-admm latency model.keras pruned.tflite --data=test.npy

exit codes: 0 done, 1 failed (with a sentence that says why), 2 wrong usage
"""
DATA = "FILE.npy, or FILE.npz:NAME for the array of that name; the first axis is the samples"


class UsageError(ValueError):
    """What is wrong with the command line, not with the work."""


def main(argv=None):
    """Runs one command.

    Args:
        argv: list of str, the words after the program's name; by default those of this process.

    Returns:
        int, the exit code: 0 done, 1 failed. Wrong usage leaves by `SystemExit` with code 2, as argparse does.

    Example:

    ```
    main(["report", "model.keras", "--markdown"])
    ```
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except UsageError as error:
        args.parser.error(str(error))
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"keras-admm: {error}", file=sys.stderr)
        return 1
    return 0


def _parser():
    # No command uses absl's own flags; in the help they would bury ours.
    parser = argparse_flags.ArgumentParser(
        prog="keras-admm",
        usage="keras-admm COMMAND ...",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        inherited_absl_flags=None,
    )
    commands = parser.add_subparsers(prog="keras-admm", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    _report_arguments(_command(commands, "report", _report, "What each layer of a model kept."))
    _prune_arguments(
        _command(
            commands,
            "prune",
            _prune,
            "Zeroes the smallest weights at once. No training and no data: the accuracy is not looked at, and falls. "
            "To keep it, train with the callback keras_admm.ADMMPrune instead.",
        )
    )
    _export_arguments(_command(commands, "export", _export, "Exports a model to LiteRT, tf_keras or a SavedModel."))
    _latency_arguments(_command(commands, "latency", _latency, "Times two models in turn, run by run."))
    return parser


def _command(commands, name, run, description):
    command = commands.add_parser(name, description=description, inherited_absl_flags=None)
    command.set_defaults(run=run, parser=command)
    return command


def _report_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help=".keras, .h5 or the folder of a tf_keras SavedModel")
    parser.add_argument("--html", metavar="PATH", help="also write one page with the table and its pictures")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    form.add_argument("--json", action="store_true", help="print the numbers as JSON")


def _prune_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help=".keras, .h5 or the folder of a tf_keras SavedModel")
    parser.add_argument("--sparsity", type=float, required=True, help="the share of zeros, 0 <= sparsity < 1")
    parser.add_argument(
        "--allocation",
        default="global",
        help="how the zeros are divided over the layers: global (one threshold; the default), uniform, erk or lamp",
    )
    parser.add_argument("--layers", metavar="NAMES", help="which layers, such as 'conv*,head'; by default all kernels")
    parser.add_argument("--exclude", metavar="NAMES", help="which layers to leave as they are")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="a .keras file; tf_keras: or a folder")


def _export_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help=".keras, .h5 or the folder of a tf_keras SavedModel")
    parser.add_argument("--to", required=True, choices=["litert", "tf_keras", "savedmodel"], help="the format")
    parser.add_argument(
        "--quantize", metavar="HOW", help="litert only: int8 (needs --data), dynamic_int8, int4, float16; default none"
    )
    parser.add_argument(
        "--data", help=f"litert only: samples that show the ranges of the activations. {DATA}; {CALIBRATION} are taken"
    )
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the file or folder to write")


def _latency_arguments(parser):
    parser.add_argument("a", metavar="A", help="a model's file or folder, or a .tflite file")
    parser.add_argument("b", metavar="B", help="the model to compare it with")
    parser.add_argument("--data", required=True, help=f"inputs to run. {DATA}")
    parser.add_argument("--batch", type=int, default=1, help="how many of the samples one run takes; default 1")
    parser.add_argument("--threads", type=int, default=1, help="threads of a .tflite model; default 1")


def _report(args):
    from keras_admm.files import check_place, load_model
    from keras_admm.reporting import report

    if args.html:
        check_place(args.html)
    counted = report(load_model(args.model))
    if args.html:
        counted.to_html(args.html)
    if args.json:
        print(json.dumps(counted.to_dict(), indent=2))
    else:
        print(counted.to_markdown() if args.markdown else counted)


def _prune(args):
    from keras_admm.engine import Engine
    from keras_admm.files import load_model, save_model
    from keras_admm.plan import Plan, Step, pruning_targets
    from keras_admm.reporting import report

    try:
        steps = [
            Step(target=target, admm_epochs=1, retrain_epochs=0)
            for target in pruning_targets("prune", args.sparsity, allocation=args.allocation)
        ]
    except ValueError as error:
        raise UsageError(str(error)) from error
    _check_output(args)
    model = load_model(args.model)
    engine = Engine(model, Plan(steps=steps), _names(args.layers), _names(args.exclude), optimizer=None, name="prune")
    engine.project()
    save_model(model, args.output)
    print(report(model, _names(args.layers), _names(args.exclude)))
    print(
        f"\nPruned at once by magnitude, without data or training: the accuracy was not looked at.\n"
        f"Written without an optimizer: {args.output}"
    )


def _export(args):
    from keras_admm.files import load_array, load_model, save_model, save_saved_model

    _check_output(args)
    if args.to != "litert" and (args.quantize or args.data):
        raise UsageError(f"--quantize and --data are for --to=litert. Received: --to={args.to}. Leave them out.")
    data = load_array(args.data)[:CALIBRATION] if args.data else None
    model = load_model(args.model)
    if args.to == "litert":
        from keras_admm.export import litert

        print(litert(model, args.output, quantize=args.quantize, representative_data=data))
    elif args.to == "tf_keras":
        from keras_admm.export import to_tf_keras

        save_model(to_tf_keras(model), args.output)
    else:
        save_saved_model(model, args.output)
    print(f"Written: {args.output}")


def _latency(args):
    from keras_admm.files import load_array, load_model
    from keras_admm.timing import latency

    data = load_array(args.data)[: args.batch]
    a, b = (path if path.endswith(".tflite") else load_model(path) for path in (args.a, args.b))
    print(latency(a, b, data, threads=args.threads))


def _names(text):
    return text.split(",") if text else None


def _check_output(args):
    from keras_admm.files import check_place

    output = Path(args.output)
    if output.exists() and Path(args.model).exists() and output.samefile(args.model):
        raise UsageError(f"{output}: the output must not be the input. Received: the same path twice. Choose another.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: the folder to write into must exist. Received: a path in none. Make it first.")
    check_place(output)
