"""What may be typed: the commands, their options, and what their help says."""

import argparse

from absl.flags import argparse_flags

from keras_admm.cli import commands

ABOUT = """\
Compression of Keras models by ADMM: the parts of it that need no training.

commands:
  report MODEL       what each layer kept: zeros, values, MACs, bytes
  prune MODEL        zero the smallest weights at once, without training
  shrink MODEL       take out the channels and layers that are dead
  pack MODEL         one small file of everything, weights bit for bit
  unpack MODEL       the .keras file of a packed one
  export MODEL       to LiteRT, tf_keras or a SavedModel
  latency A B        two models timed in turn
  dashboard A B ...  a page of what models look at, before and after compression

`keras-admm COMMAND --help` tells more of each. A MODEL is a .keras file, an .h5 file, a packed .kadmm file, or the
folder of a tf_keras SavedModel. Opening one runs no Python code from the file: a model with a Lambda layer is refused.
But a SavedModel folder is a TensorFlow program; open only those that you trust.

examples:
  keras-admm report model.keras --html=report.html
  keras-admm prune model.keras --sparsity=.9 -o pruned.keras
  keras-admm pack pruned.keras -o pruned.kadmm
  keras-admm export pruned.kadmm --to=litert --quantize=int8 --data=train.npz:x -o pruned.tflite
  keras-admm latency model.keras pruned.tflite --data=test.npy
  keras-admm dashboard model.keras pruned.kadmm --data=test.npz --alphabet=ACGT -o dashboard.html

exit codes: 0 done, 1 failed (with a sentence that says why), 2 wrong usage
"""
MODEL = ".keras, .h5, .kadmm or the folder of a tf_keras SavedModel"
DATA = (
    "FILE.npy, FILE.npz:NAME for the array of that name, or FILE.npz with an array for each input, by the inputs' "
    "names; the first axis is the samples"
)
# No command uses absl's own flags; in the help they, and its --helpfull, would bury ours.
OURS_ALONE = {"inherited_absl_flags": None, "add_help": False}
QUANTIZE = ("int8", "dynamic_int8", "int4", "float16")

UsageError = commands.UsageError


def parser():
    """The parser of every command."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse_flags.ArgumentParser(
        prog="keras-admm", usage="keras-admm COMMAND ...", description=ABOUT, formatter_class=form, **OURS_ALONE
    )
    _help(made)
    made.add_argument("--version", action="version", version=commands.version())
    each = made.add_subparsers(prog="keras-admm", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    _report(_command(each, "report", commands.report, "What each layer of a model kept."))
    about = (
        "Zeroes the smallest weights at once. No training and no data: the accuracy is not looked at, and falls. "
        "To keep it, train with the callback keras_admm.ADMMPrune instead."
    )
    _prune(_command(each, "prune", commands.prune, about))
    about = "Takes out channels, units, heads and layers that are dead. The outputs stay the same."
    _shrink(_command(each, "shrink", commands.shrink, about))
    _pack(_command(each, "pack", commands.pack, "Writes a model into one small file, its weights bit for bit."))
    _unpack(_command(each, "unpack", commands.unpack, "Writes the .keras file of a packed model."))
    _export(_command(each, "export", commands.export, "Exports a model to LiteRT, tf_keras or a SavedModel."))
    _latency(_command(each, "latency", commands.latency, "Times two models in turn, run by run."))
    about = "Writes a page of what models look at: saliency, scores over time, motifs; and how alike they are."
    _dashboard(_command(each, "dashboard", commands.dashboard, about))
    return made


def _command(each, name, run, description):
    command = each.add_parser(name, description=description, **OURS_ALONE)
    _help(command)
    command.set_defaults(run=run, parser=command)
    return command


def _help(command):
    command.add_argument("-h", "--help", action="help", help="show this help and exit")


def _report(command):
    _model(command)
    command.add_argument("--html", metavar="PATH", help="also write one page with the table and its pictures")
    command.add_argument("--details", action="store_true", help="all columns of the table, not eight alone")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    _json(form)


def _prune(command):
    _model(command)
    command.add_argument("--sparsity", type=float, required=True, help="the share of zeros, 0 <= sparsity < 1")
    command.add_argument(
        "--allocation",
        default="global",
        help="how the zeros are divided over the layers: global (one threshold; the default), uniform, erk or lamp",
    )
    command.add_argument("--layers", metavar="NAMES", help="which layers, such as 'conv*,head'; by default all kernels")
    command.add_argument("--exclude", metavar="NAMES", help="which layers to leave as they are")
    _json(command)
    _output(command, "a .keras file; tf_keras: or a folder")


def _shrink(command):
    _model(command)
    command.add_argument("--round-to", type=_at_least(1), default=1, help="widths become multiples of it; default 1")
    _json(command)
    _output(command, "a .keras file")


def _pack(command):
    _model(command)
    _json(command)
    _output(command, "a .kadmm file")


def _unpack(command):
    command.add_argument("model", metavar="MODEL", help="a .kadmm file")
    _output(command, "a .keras file")


def _export(command):
    _model(command)
    command.add_argument("--to", required=True, choices=["litert", "tf_keras", "savedmodel"], help="the format")
    command.add_argument(
        "--quantize",
        metavar="HOW",
        choices=QUANTIZE,
        help="litert only: int8 (needs --data), dynamic_int8, int4, float16; default none",
    )
    most = commands.CALIBRATION
    command.add_argument(
        "--data", help=f"litert only: samples that show the ranges of the activations. {DATA}; {most} are taken"
    )
    _json(command)
    _output(command, "the file or folder to write")


def _latency(command):
    command.add_argument("a", metavar="A", help=f"a .tflite file, or a model: {MODEL}")
    command.add_argument("b", metavar="B", help="the model to compare it with")
    command.add_argument("--data", required=True, help=f"inputs to run. {DATA}")
    command.add_argument("--batch", type=_at_least(1), default=1, help="how many samples one run takes; default 1")
    command.add_argument("--threads", type=_at_least(1), default=1, help="threads of a .tflite model; default 1")
    _json(command)


def _dashboard(command):
    command.add_argument("models", metavar="MODEL", nargs="+", help=f"the first one is the dense one: {MODEL}")
    command.add_argument("--data", required=True, help="FILE.npz of two arrays: x, the samples, and y, their classes")
    command.add_argument("--alphabet", help="letters of one-hot sequences, such as ACGT")
    command.add_argument("--motifs", metavar="FILE", help="known motifs in the MEME format, to name filters by")
    command.add_argument("--samples", type=_at_least(1), default=20, help="how many samples are drawn; default 20")
    command.add_argument("--steps", type=_at_least(0), default=500, help="of optimised inputs; default 500, 0 for none")
    _json(command)
    command.add_argument("-o", "--output", metavar="OUT", default="dashboard.html", help="default dashboard.html")


def _model(command):
    command.add_argument("model", metavar="MODEL", help=MODEL)


def _output(command, what):
    command.add_argument("-o", "--output", metavar="OUT", required=True, help=what)


def _json(command):
    command.add_argument("--json", action="store_true", help="print the numbers as JSON")


def _at_least(least):
    def count(text):
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be an integer >= {least}. Received: {text}")
        return int(text)

    return count
