"""The command line: `keras-admm` and `python -m keras_admm`, commands on models in files."""

import os
import re
import sys

from keras_admm.cli.parser import UsageError, parser

NOT_TYPED = {"run", "parser", "model", "models", "a", "b"}


def main(argv=None):
    """Runs one command.

    Args:
        argv: list of str, the words after the program's name; by default those of this process.

    Returns:
        int, the exit code: 0 done, 1 failed. Wrong usage leaves by `SystemExit` with code 2, as argparse does. A pipe
        that its reader has closed is no failure.

    Example:

    ```
    main(["report", "model.keras", "--markdown"])
    ```
    """
    args = parser().parse_args(argv)
    try:
        args.run(args)
        if sys.stdout is not None:  # as under pythonw, or `>&-`
            sys.stdout.flush()
    except UsageError as error:
        args.parser.error(_as_typed(args, str(error)))
    except BrokenPipeError:
        # What is still buffered would raise once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, ImportError, OSError) as error:
        return _failed(args, str(error))
    except Exception as error:  # of the backend, whose exceptions have no class in common
        from keras_admm.errors import reason

        return _failed(args, f"{type(error).__name__}: {reason(error)}")
    return 0


def _failed(args, sentence):
    print(f"keras-admm: {_as_typed(args, sentence)}", file=sys.stderr)
    return 1


def _as_typed(args, sentence):
    """A sentence of the package with its arguments as the options that were typed."""
    options = {name: f"--{name.replace('_', '-')}" for name in vars(args).keys() - NOT_TYPED}
    for name, option in options.items():
        sentence = re.sub(rf"`{name}`|(?<![\w-]){name}(?==)", option, sentence)
    return re.sub("`?representative_data`?", "--data", sentence)
