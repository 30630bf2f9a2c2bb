"""Write a page to try a trained network in a browser: the same as `gpunet demo`."""

import sys

from gpunet.cli import main

raise SystemExit(main(["demo", *sys.argv[1:]]))
