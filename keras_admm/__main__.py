"""`python -m keras_admm`: the command line."""

import sys

from keras_admm.cli import main

if __name__ == "__main__":
    sys.exit(main())
