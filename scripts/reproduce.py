"""Reproduce both course reports: the same as `gpunet reproduce`."""

import sys

from gpunet.cli import main

raise SystemExit(main(["reproduce", *sys.argv[1:]]))
