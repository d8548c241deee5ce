"""The benchmarks are programs that stand beside each other in one folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
