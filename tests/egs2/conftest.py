"""A recipe's programs share modules with the benchmarks, which stand in a folder of their own."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
