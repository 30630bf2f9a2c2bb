"""Say what a trained network sees in images: the same as `gpunet predict`."""

import sys

from gpunet.cli import main

raise SystemExit(main(["predict", *sys.argv[1:]]))
