"""Write a trained network for other programs: the same as `gpunet export`."""

import sys

from gpunet.cli import main

raise SystemExit(main(["export", *sys.argv[1:]]))
