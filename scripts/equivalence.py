"""Hold a backend against NumPy in float64: the same as `gpunet equivalence`."""

import sys

from gpunet.cli import main

raise SystemExit(main(["equivalence", *sys.argv[1:]]))
