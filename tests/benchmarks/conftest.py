"""The benchmarks are scripts beside each other: their folder is on the path while they run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
