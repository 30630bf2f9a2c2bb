"""Sweep hyper-parameters: the same as `gpunet sweep`."""

import sys

from gpunet.cli import main

if __name__ == "__main__":  # the processes of --workers import this file again
    raise SystemExit(main(["sweep", *sys.argv[1:]]))
