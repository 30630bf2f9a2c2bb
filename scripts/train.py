"""Train a network: the same as `gpunet train`."""

import sys

from gpunet.cli import main

raise SystemExit(main(["train", *sys.argv[1:]]))
