"""Check and measure everything that needs a GPU: the same as benchmarks/gpu_check.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from gpu_check import main  # noqa: E402

raise SystemExit(main())
